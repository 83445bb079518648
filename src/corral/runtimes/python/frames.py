"""The `frame` protocol (docs/frame.md), the instance's side: constants, and bytes to frames and back."""

import struct
from typing import Any, Dict, Iterator, List, Tuple

from . import jsontext

VERSION = 1
HELLO, READY, FAILED, HEAD, BODY, END, ACK, CREDIT, CANCEL = 1, 2, 3, 4, 5, 6, 7, 8, 9
CODE = 12
LAST, ERROR = 1, 2
PAYLOAD_MAX = 65_528
WINDOW = 256 * 1024
"""Body bytes that may be on their way in each direction of a call before credit is needed."""
CREDIT_AT = WINDOW // 2
"""Consumed bytes are given back in portions of this size: a frame for every other 128 KiB."""
ERROR_MAX = 1000

_HEADER = struct.Struct(">BBHI")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
HEADER_SIZE = _HEADER.size
unpack_header = _HEADER.unpack_from

Frame = Tuple[int, int, int, bytes]
"""kind, flags, call, payload"""


class Broken(Exception):
    """The peer broke the rules of the protocol."""


def frame(kind: int, flags: int, call: int, payload: bytes = b"") -> bytes:
    return _HEADER.pack(kind, flags, len(payload), call) + payload


def ack(call: int) -> bytes:
    return _HEADER.pack(ACK, 0, 0, call)


def credit(call: int, count: int) -> bytes:
    return _HEADER.pack(CREDIT, 0, 4, call) + _U32.pack(count)


def read_u32(payload: bytes) -> int:
    if len(payload) < 4:
        raise Broken("a frame of %d bytes, must be at least 4" % len(payload))
    number: int = _U32.unpack_from(payload)[0]
    return number


def head(call: int, status: int, lines: bytes, body: bytes, last: bool) -> bytes:
    """A response's beginning: HEAD, then `body` (at most one frame of it) when there is any. `last`: it is all."""
    if not body:
        return _HEADER.pack(HEAD, LAST if last else 0, 2 + len(lines), call) + _U16.pack(status) + lines
    return b"".join(
        (
            _HEADER.pack(HEAD, 0, 2 + len(lines), call),
            _U16.pack(status),
            lines,
            _HEADER.pack(BODY, LAST if last else 0, len(body), call),
            body,
        )
    )


def failure(call: int, exc: BaseException) -> bytes:
    """END of a call whose function raised."""
    try:
        text = "%s: %s" % (type(exc).__name__, exc)
    except Exception:  # an exception whose own __str__ raises
        text = type(exc).__name__
    return frame(END, LAST | ERROR, call, text.encode("utf-8", "replace")[:ERROR_MAX])


def as_json(kind: int, value: Dict[str, Any]) -> bytes:
    return frame(kind, 0, 0, jsontext.write(value).encode("utf-8", "replace"))


def hello(in_flight: int) -> bytes:
    return as_json(HELLO, {"version": VERSION, "in_flight": in_flight})


HELLO_IDLE = hello(0)
"""Of an instance with no calls in flight."""


def failed(error: str, traceback: str) -> bytes:
    """The end of the traceback, as much of it as a frame holds: that is where the cause stands."""
    while True:
        payload = jsontext.write({"error": error, "traceback": traceback}).encode("utf-8", "replace")
        if len(payload) <= PAYLOAD_MAX:
            return frame(FAILED, 0, 0, payload)
        traceback = traceback[len(traceback) // 2 :]


def check_hello(payload: bytes) -> None:
    try:
        version = jsontext.read(payload)["version"]
    except (ValueError, KeyError, TypeError):
        raise Broken('a HELLO that is not {"version": n}') from None
    if version != VERSION:
        raise Broken("frame version %r, must be %d" % (version, VERSION))


def pieces(body: bytes) -> Iterator[bytes]:
    """`body` in parts that fit a frame."""
    for start in range(0, len(body), PAYLOAD_MAX):
        yield body[start : start + PAYLOAD_MAX]


class Decoder:
    """Bytes as they come from the socket to whole frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> List[Frame]:
        buffer = self._rest + received if self._rest else received
        frames: List[Frame] = []
        start, size = 0, len(buffer)
        while size - start >= HEADER_SIZE:
            kind, flags, length, call = unpack_header(buffer, start)
            end = start + HEADER_SIZE + length
            if length > PAYLOAD_MAX:
                raise Broken("a frame of %d bytes, must be at most %d" % (length, PAYLOAD_MAX))
            if end > size:
                break
            frames.append((kind, flags, call, buffer[start + HEADER_SIZE : end]))
            start = end
        self._rest = buffer[start:]
        return frames
