"""Serve one call at a time on one thread: the least memory and the least time per call.

While a call runs nothing is read. After the connection is lost the next one gets our HELLO when that call has ended,
so `in_flight` is always 0 here. No ACK is sent: the gateway is told by the kernel whether its bytes were taken."""

import _socket
import collections
from typing import Any, Callable, Deque, NoReturn, Optional, Tuple

from . import frames, respond
from .frames import Frame
from .request import Event
from .styles import Handler

RECEIVE_BYTES = 65_536
accept: Callable[[_socket.socket], Tuple[int, Any]] = vars(_socket.socket)["_accept"]


def serve(listener: _socket.socket, handler: Handler, ready: bytes) -> NoReturn:
    """Plain sockets: one of `socket` finds out what it is by three system calls and a dozen functions."""
    listener.setblocking(True)  # whatever default timeout the function set
    while True:
        fd, _ = accept(listener)
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        connection.setblocking(True)
        serve_connection(connection, handler, ready)


def serve_connection(connection: _socket.socket, handler: Handler, ready: bytes) -> None:
    """Until it is lost."""
    try:
        connection.sendall(frames.HELLO_IDLE + ready)
        Session(connection, handler).run()
    except (OSError, respond.ConnectionLost):
        pass
    finally:
        connection.close()


class Session:
    __slots__ = ("_call", "_connection", "_decoder", "_frames", "_handler", "_window")

    def __init__(self, connection: _socket.socket, handler: Handler) -> None:
        self._connection = connection
        self._handler = handler
        self._decoder = frames.Decoder()
        self._frames: Deque[Frame] = collections.deque()
        self._call = 0
        self._window = 0

    def run(self) -> None:
        """Until the connection is lost, which raises ConnectionLost or OSError."""
        while True:
            kind, flags, call, payload = self._next()
            if kind == frames.HEAD:
                self._serve(call, flags, payload)
            elif kind == frames.HELLO:
                frames.check_hello(payload)
            # All others are about calls that ended already.

    def _next(self) -> Frame:
        while not self._frames:
            received = self._connection.recv(RECEIVE_BYTES)
            if not received:
                raise respond.ConnectionLost
            self._frames.extend(self._decoder.feed(received))
        return self._frames.popleft()

    def _serve(self, call: int, flags: int, payload: bytes) -> None:
        event = Event(payload)
        self._call, self._window = call, frames.WINDOW
        if not flags & frames.LAST:
            body = self._collect(call)
            if body is None:
                self._send(frames.failure(call, respond.Cancelled("cancelled before it began")))
                return
            event.body = body
        respond.answer(call, event, self._handler, self._send, self._reserve)

    def _collect(self, call: int) -> Optional[bytes]:
        """The request's body; None: cancelled."""
        parts = []
        consumed = 0
        while True:
            kind, flags, owner, payload = self._next()
            if owner != call:
                continue
            if kind == frames.CANCEL:
                return None
            parts.append(payload if kind == frames.BODY else b"")
            if flags & frames.LAST:
                return b"".join(parts)
            consumed += len(parts[-1])
            if consumed >= frames.CREDIT_AT:
                self._send(frames.credit(call, consumed))
                consumed = 0

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as exc:
            raise respond.ConnectionLost from exc

    def _reserve(self, count: int) -> None:
        while self._window < count:
            self._take_note(*self._next())
        self._window -= count

    def _take_note(self, kind: int, flags: int, call: int, payload: bytes) -> None:
        """A frame that came while the answer is being sent."""
        if call != self._call:
            return
        if kind == frames.CREDIT:
            self._window += frames.read_u32(payload)
        elif kind == frames.CANCEL:
            raise respond.Cancelled("cancelled")
