"""The connections the generator speaks over: HTTP/1.1 by hand, because a client library would cost more than what is
measured, and the bare socketpair of a floor."""

import select
import socket
from collections.abc import Callable
from typing import NamedTuple, Protocol

RECEIVE_BYTES = 65_536


class Answer(NamedTuple):
    """`status` is HTTP's; 200 from a floor."""

    status: int
    body: bytes


class Wire(Protocol):
    """One connection, one call at a time. Reading and writing never wait."""

    def fileno(self) -> int: ...

    def ask(self, request: bytes) -> None:
        """Send one call. Raises OSError when the connection is gone."""
        ...

    def heard(self) -> Answer | None:
        """Take what has arrived; the answer when it is whole. Raises OSError when the connection ended instead."""
        ...

    def close(self) -> None: ...


Door = Callable[[], Wire]
"""Opens one more connection to a contender."""


def request(
    method: str, path: str, host: str, body: bytes = b"", content_type: str = "application/json", token: str = ""
) -> bytes:
    """The bytes of one HTTP/1.1 request; `host` is the Host field."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}"]
    if token:
        lines.append(f"authorization: Bearer {token}")
    if body:
        lines += [f"content-type: {content_type}", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


ASK_S = 60.0


def ask_once(wire: Wire, request: bytes) -> Answer:
    """One call, waited for. Raises OSError without an answer in ASK_S."""
    poll = select.poll()
    poll.register(wire.fileno(), select.POLLIN)
    wire.ask(request)
    while poll.poll(ASK_S * 1000):
        answer = wire.heard()
        if answer is not None:
            return answer
    raise OSError(f"no answer within {ASK_S:g} s")


class HttpWire:
    """A keep-alive connection. Understands answers with a content-length and chunked ones."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=5.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._buffer = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self, request: bytes) -> None:
        # The requests of a bench fit into any socket buffer: a partial write means the server has stopped reading.
        if self._socket.send(request) != len(request):
            raise OSError("the server does not read its requests")

    def heard(self) -> Answer | None:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._buffer += data
        answer = parse(self._buffer)
        if answer is not None:
            self._buffer = b""
        return answer

    def close(self) -> None:
        self._socket.close()


def parse(data: bytes) -> Answer | None:
    """The answer in `data` when it is whole. Raises OSError on what is not HTTP."""
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    if not head.startswith(b"HTTP/1.1 "):
        raise OSError(f"an answer begins with {data[:40]!r}, must be HTTP/1.1")
    status = int(head[9:12])
    fields = head.lower()
    at = fields.find(b"\r\ncontent-length:")
    if at >= 0:
        length = int(fields[at + 17 :].partition(b"\r\n")[0])
        return Answer(status, rest[:length]) if len(rest) >= length else None
    if b"\r\ntransfer-encoding:" in fields:
        body = _dechunk(rest)
        return Answer(status, body) if body is not None else None
    return Answer(status, b"")


def _dechunk(data: bytes) -> bytes | None:
    """None: more is to come. Trailers are dropped."""
    chunks: list[bytes] = []
    at = 0
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(data[at:line].partition(b";")[0], 16)
        begin, at = line + 2, line + 2 + size + 2
        if size == 0:
            return b"".join(chunks) if data.endswith(b"\r\n\r\n") else None
        if len(data) < at:
            return None
        chunks.append(data[begin : begin + size])


class PairWire:
    """The socketpair to a floor's process: one byte for one byte."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self, request: bytes) -> None:
        self._socket.send(request)

    def heard(self) -> Answer | None:
        if not self._socket.recv(16):
            raise ConnectionResetError("the floor's process has ended")
        return Answer(200, b"")

    def close(self) -> None:
        self._socket.close()
