"""A minimal client of `frame` (docs/frame.md): what a call costs when nothing stands between the caller and the
instance. One call at a time, the same call each time."""

import socket
import struct

from corral.bench.wires import RECEIVE_BYTES, Answer

HEADER = struct.Struct("!BBHI")
HELLO, READY, FAILED, HEAD, BODY, END, ACK = 1, 2, 3, 4, 5, 6, 7
LAST, ERROR = 1, 2
DEADLINE_MS = 60_000


def frame(kind: int, flags: int, call: int, payload: bytes = b"") -> bytes:
    return HEADER.pack(kind, flags, len(payload), call) + payload


class FrameWire:
    """A connection to an instance's socket. Raises OSError when the instance is not there or does not come up."""

    def __init__(self, path: str, head: bytes, body: bytes) -> None:
        """`head` is the request line and the header lines; `body` may not be empty."""
        self._head = struct.pack("!I", DEADLINE_MS) + head
        self._body = body
        self._call = 0
        self._status = 0
        self._parts: list[bytes] = []
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(10.0)
        self._socket.connect(path)
        self._socket.sendall(frame(HELLO, 0, 0, b'{"version": 1, "in_flight": 0}'))
        self._await_ready()
        self._socket.setblocking(False)

    def _await_ready(self) -> None:
        while True:
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("the instance closed its connection before it was ready")
            self._buffer += data
            for kind, _, _, payload in self._frames():
                if kind == FAILED:
                    raise ConnectionError(f"the function did not load: {payload.decode(errors='replace')}")
                if kind == READY:
                    return

    def _frames(self) -> list[tuple[int, int, int, bytes]]:
        """Every whole frame that has arrived: kind, flags, call, payload."""
        found, at, data = [], 0, self._buffer
        while len(data) - at >= HEADER.size:
            kind, flags, length, call = HEADER.unpack_from(data, at)
            end = at + HEADER.size + length
            if len(data) < end:
                break
            found.append((kind, flags, call, data[at + HEADER.size : end]))
            at = end
        self._buffer = data[at:]
        return found

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self, request: bytes) -> None:
        """`request` is not used: the call was given at construction."""
        self._call += 1
        self._socket.send(frame(HEAD, 0, self._call, self._head) + frame(BODY, LAST, self._call, self._body))

    def heard(self) -> Answer | None:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("the instance closed its connection")
        self._buffer += data
        for kind, flags, call, payload in self._frames():
            if call == self._call and self._is_over(kind, flags, payload):
                body, self._parts = b"".join(self._parts), []
                return Answer(self._status, body)
        return None

    def _is_over(self, kind: int, flags: int, payload: bytes) -> bool:
        if kind == HEAD:
            self._status = int.from_bytes(payload[:2], "big")
        elif kind == BODY:
            self._parts.append(payload)
        if flags & ERROR:
            raise OSError(f"the function failed: {payload.decode(errors='replace')}")
        return bool(flags & LAST)

    def close(self) -> None:
        self._socket.close()
