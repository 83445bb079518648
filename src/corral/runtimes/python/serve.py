"""Serve calls: how, depends on what the function can do."""

import _socket
import socket
from typing import Dict

from . import blocking, frames, looping, threads
from .load import Loaded
from .styles import Handler


def serve(listener_fd: int, handler: Handler, concurrency: int, ready: bytes) -> None:
    """For ever. `ready` follows our HELLO on each connection. Raises frames.Broken."""
    if not handler.is_async and concurrency == 1:
        blocking.serve(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, listener_fd), handler, ready)
    listener = socket.socket(fileno=listener_fd)
    listener.setblocking(True)  # whatever default timeout the function set
    if handler.is_async:
        looping.serve(listener, handler, ready)
    threads.serve(listener, handler, ready)


def introduction(loaded: Loaded, concurrency: int, stamps: Dict[str, float]) -> bytes:
    """READY, and CODE before it where that was asked for."""
    handler = loaded.handler
    ready = frames.as_json(
        frames.READY,
        {"style": handler.style, "is_async": handler.is_async, "concurrency": concurrency, "stamps": stamps},
    )
    if 0 < len(loaded.code) <= frames.PAYLOAD_MAX:
        return frames.frame(frames.CODE, 0, 0, loaded.code) + ready
    return ready
