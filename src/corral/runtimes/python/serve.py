"""Serve calls: how, depends on what the function can do."""

import socket

from . import blocking, looping, threads
from .styles import Handler


def serve(listener: socket.socket, handler: Handler, concurrency: int, ready: bytes) -> None:
    """For ever. `ready` follows our HELLO on each connection. Raises frames.Broken."""
    listener.setblocking(True)
    if handler.is_async:
        looping.serve(listener, handler, ready)
    elif concurrency > 1:
        threads.serve(listener, handler, ready)
    else:
        blocking.serve(listener, handler, ready)
