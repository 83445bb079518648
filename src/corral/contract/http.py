"""One HTTP/1.1 request to a server behind a unix socket or a TCP address, streamed both ways.

The caller gives header lines it has cleaned; framing is made here, and the response's framing is undone. One
connection for each request: what goes this way is management, not calls."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

import httptools

from corral.errors import BadResponse, Unavailable

WINDOW = 256 * 1024


class Reader(Protocol):
    """Who takes the response. `failed` ends it at any point; nothing follows it."""

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None: ...
    def part(self, data: bytes) -> bool:
        """False: hold back until `Upstream.resume`."""
        ...

    def done(self) -> None: ...
    def failed(self, fault: Unavailable | BadResponse) -> None: ...
    def writable(self, is_writable: bool) -> None:
        """Whether the server keeps up with the request's body."""
        ...


class Upstream(asyncio.Protocol):
    """One request. `start` may come before the connection is made."""

    def __init__(self, reader: Reader) -> None:
        self._reader: Reader | None = reader
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunked = False
        self._started = False
        self._headless = False

    # -- the request ----------------------------------------------------------------------------------------

    def start(self, method: bytes, target: bytes, lines: bytes, length: int) -> None:
        """`lines`: header lines, CRLF at each end, with Host and without framing. `length`: bytes of body, or -1."""
        self._chunked = length < 0
        self._headless = method == b"HEAD"
        framing = b"transfer-encoding: chunked\r\n" if length < 0 else b"content-length: %d\r\n" % length
        self._write(b"%b %b HTTP/1.1\r\n%bconnection: close\r\n%b\r\n" % (method, target, lines, framing))

    def data(self, part: bytes) -> None:
        if part:
            self._write(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)

    def finish(self) -> None:
        if self._chunked:
            self._write(b"0\r\n\r\n")

    def resume(self) -> None:
        if self._transport is not None and self._reader is not None:
            self._transport.resume_reading()

    def abandon(self) -> None:
        """Nobody waits for the answer."""
        self._reader = None
        if self._transport is not None:
            self._transport.abort()

    def refused(self) -> None:
        """No connection could be made."""
        self._fail(Unavailable("the engine is away: try again in a moment"))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
        else:
            self._early.append(data)

    # -- asyncio --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, they only behave as one.
        self._transport = transport = cast(asyncio.Transport, transport)
        if self._reader is None:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=WINDOW)
        transport.write(b"".join(self._early))
        self._early.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._reader is not None:
            self._fail(Unavailable("the engine closed its connection before its answer was whole"))

    def pause_writing(self) -> None:
        if self._reader is not None:
            self._reader.writable(False)

    def resume_writing(self) -> None:
        if self._reader is not None:
            self._reader.writable(True)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._fail(BadResponse(f"the engine's answer is not HTTP/1.1: {exc}"))

    def eof_received(self) -> None:
        """A response without framing ends here, which llhttp calls complete only when told."""
        if self._reader is not None and self._started and self._is_unframed():
            self.on_message_complete()

    def _is_unframed(self) -> bool:
        return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers)

    # -- llhttp ---------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._started:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._headers.clear()  # an interim response
            return
        self._started = True
        if self._reader is not None:
            self._reader.head(status, self._headers)
            if self._headless:
                # llhttp does not know that this response has no body.
                self.on_message_complete()

    def on_body(self, part: bytes) -> None:
        if self._reader is not None and not self._reader.part(part) and self._transport is not None:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if not self._started:
            return
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.done()
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, fault: Unavailable | BadResponse) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.failed(fault)
        if self._transport is not None:
            self._transport.abort()
