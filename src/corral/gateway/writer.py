"""The answers of one client connection on their way out: their framing, and whether the client reads them."""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from corral.gateway.http import Head, Request

if TYPE_CHECKING:
    from corral.gateway.doors import Doors

WRITE_HIGH = 64 * 1024


class Writer:
    """See the module. An answer is `whole`, or `begin`, `part` … `end`."""

    __slots__ = (
        "_bodiless", "_chunked", "_doors", "_moved", "_read", "_transport", "_written", "begun", "closes",
        "is_writable",
    )  # fmt: skip

    def __init__(self, doors: "Doors", transport: asyncio.Transport) -> None:
        self._doors = doors
        self._transport = transport
        self.begun = False
        """The head of an answer whose body comes in parts is written, and its end is not."""
        self._chunked = False
        self._bodiless = False
        self.closes = False
        """The connection ends after this answer."""
        self.is_writable = True
        self._written = 0
        """Bytes of answers that came in parts."""
        self._read = 0
        """How far of them the client was when it was last seen to read; falls with a whole answer's length."""
        self._moved = monotonic()
        """When the client was last seen to read what is written to it."""
        transport.set_write_buffer_limits(high=WRITE_HIGH)

    def whole(self, request: Request, head: Head, body: bytes, extra: bytes) -> None:
        size = b"content-length: %d\r\n\r\n" % len(body)
        if head.bodiless:
            size, body = b"\r\n", b""
        elif request.method == b"HEAD":
            body = b""
        self._transport.write(
            b"".join(
                (
                    head.lines, self._doors.fixed, b"x-request-id: ", request.request_id, b"\r\n",
                    extra, self._connection(request), size, body,
                )
            )
        )  # fmt: skip

    def begin(self, request: Request, head: Head, extra: bytes) -> None:
        self.begun = True
        self._bodiless = head.bodiless or request.method == b"HEAD"
        self._chunked = not self._bodiless and not request.http10
        # Only the connection's end tells a 1.0 client that the body is whole.
        self.closes = self.closes or (request.http10 and not self._bodiless)
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        self._transport.write(
            b"".join(
                (
                    head.lines, self._doors.fixed, b"x-request-id: ", request.request_id, b"\r\n",
                    extra, self._connection(request), framing, b"\r\n",
                )
            )
        )  # fmt: skip

    def _connection(self, request: Request) -> bytes:
        """The connection line, decided when the head is written."""
        if self.closes:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if request.http10 else b""

    def part(self, data: bytes) -> bool:
        """False: the client does not keep up."""
        if not self._bodiless and data:
            self._written += len(data)
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return self.is_writable

    def end(self) -> None:
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self.begun = False

    def is_stuck(self, now: float, most_s: float) -> bool:
        """Called about once a second: whether the client has read nothing for `most_s` of what is written to it."""
        unsent = self._transport.get_write_buffer_size()
        read = self._written - unsent
        if unsent == 0 or read > self._read:
            self._moved = now
        elif now - self._moved > most_s:
            return True
        self._read = read
        return False
