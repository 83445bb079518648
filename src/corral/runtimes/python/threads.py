"""Serve several calls at once for a function that is not async: one thread for each, one more that reads.

Threads are made when first needed and kept; the gateway never sends more calls than the instance allows."""

import contextlib
import queue
import socket
import threading
from typing import Dict, List, NoReturn, Optional

from . import frames, respond
from .request import Event
from .styles import Handler

RECEIVE_BYTES = 65_536


def serve(listener: socket.socket, handler: Handler, ready: bytes) -> NoReturn:
    server = Server(handler)
    while True:
        connection, _ = listener.accept()
        connection.setblocking(True)  # whatever default timeout the function set
        with connection:
            server.run(connection, ready)


class Call:
    """One call, its request still arriving or its answer on its way."""

    def __init__(self, number: int, event: Event, session: "Session") -> None:
        self.number = number
        self.event = event
        self._session = session
        self._parts: List[bytes] = []
        self._consumed = 0
        self._window = frames.WINDOW
        self._changed = threading.Condition()
        self._cancelled = False

    def add_body(self, payload: bytes) -> int:
        """How much credit to give back now."""
        self._parts.append(payload)
        self._consumed += len(payload)
        if self._consumed < frames.CREDIT_AT:
            return 0
        given, self._consumed = self._consumed, 0
        return given

    def close_body(self) -> None:
        self.event.body = b"".join(self._parts)

    def add_credit(self, count: int) -> None:
        with self._changed:
            self._window += count
            self._changed.notify()

    def wake(self, cancelled: bool) -> None:
        with self._changed:
            self._cancelled = self._cancelled or cancelled
            self._changed.notify()

    def reserve(self, count: int) -> None:
        with self._changed:
            while self._window < count:
                if self._cancelled:
                    raise respond.Cancelled("cancelled")
                if self._session.is_lost:
                    raise respond.ConnectionLost
                self._changed.wait()
            self._window -= count

    def send(self, data: bytes) -> None:
        self._session.send(data)


class Session:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self.is_lost = False

    def send(self, data: bytes) -> None:
        try:
            with self._sending:
                self._connection.sendall(data)
        except OSError as exc:
            raise respond.ConnectionLost from exc

    def receive(self) -> bytes:
        """Empty: the connection is lost."""
        try:
            return self._connection.recv(RECEIVE_BYTES)
        except OSError:
            return b""


class Server:
    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._work: "queue.SimpleQueue[Call]" = queue.SimpleQueue()
        self._idle_threads = 0
        self._arriving: Dict[int, Call] = {}
        # Of this connection, by number. Guarded by _guard, as are the two below.
        self._running: Dict[int, Call] = {}
        self._left = 0
        """Calls of earlier connections that still run."""
        self._session: Optional[Session] = None
        self._guard = threading.Lock()

    def run(self, connection: socket.socket, ready: bytes) -> None:
        """Serve one connection until it is lost. Raises Broken."""
        session = Session(connection)
        try:
            with self._guard:
                # Under the guard, so that each call counted here ends by an END after this HELLO.
                session.send(frames.hello(self._left) + ready)
                self._session = session
            self._read(session)
        except respond.ConnectionLost:
            pass
        finally:
            self._leave(session)

    def _leave(self, session: Session) -> None:
        with self._guard:
            session.is_lost = True
            self._session = None
            running, self._running = self._running, {}
            self._left += len(running)
        self._arriving.clear()
        for call in running.values():
            call.wake(cancelled=False)

    def _read(self, session: Session) -> None:
        decoder = frames.Decoder()
        while True:
            received = session.receive()
            if not received:
                return
            for kind, flags, number, payload in decoder.feed(received):
                self._take(session, kind, flags, number, payload)

    def _take(self, session: Session, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.HEAD:
            call = Call(number, Event(payload), session)
            self._arriving[number] = call
            if flags & frames.LAST:
                self._begin(call)
        elif kind == frames.HELLO:
            frames.check_hello(payload)
        elif number in self._arriving:
            self._take_arriving(self._arriving[number], kind, flags, payload)
        else:
            self._take_running(kind, number, payload)

    def _take_arriving(self, call: Call, kind: int, flags: int, payload: bytes) -> None:
        if kind == frames.CANCEL:
            del self._arriving[call.number]
            call.send(frames.failure(call.number, respond.Cancelled("cancelled before it began")))
            return
        if kind == frames.CREDIT:
            call.add_credit(frames.read_u32(payload))
            return
        credit = call.add_body(payload if kind == frames.BODY else b"")
        if flags & frames.LAST:
            self._begin(call)
        elif credit:
            call.send(frames.credit(call.number, credit))

    def _take_running(self, kind: int, number: int, payload: bytes) -> None:
        with self._guard:
            call = self._running.get(number)
        if call is None:
            return
        if kind == frames.CREDIT:
            call.add_credit(frames.read_u32(payload))
        elif kind == frames.CANCEL:
            call.wake(cancelled=True)

    def _begin(self, call: Call) -> None:
        del self._arriving[call.number]
        call.close_body()
        call.send(frames.ack(call.number))
        with self._guard:
            self._running[call.number] = call
            needs_thread = self._idle_threads == 0
            if not needs_thread:
                self._idle_threads -= 1
        if needs_thread:
            threading.Thread(target=self._work_for_ever, name="call", daemon=True).start()
        self._work.put(call)

    def _work_for_ever(self) -> None:
        while True:
            call = self._work.get()
            with contextlib.suppress(respond.ConnectionLost):
                respond.answer(call.number, call.event, self._handler, call.send, call.reserve)
            self._end(call)
            del call

    def _end(self, call: Call) -> None:
        with self._guard:
            self._idle_threads += 1
            if self._running.get(call.number) is call:
                del self._running[call.number]
                return
            self._left -= 1
            session = self._session
            if session is None:
                return
            try:
                session.send(frames.frame(frames.END, frames.LAST, 0))
            except respond.ConnectionLost:
                return
