"""HTTP/1.1 on one client connection: bytes in, requests out to a handler, answers back in order.

A head is collected whole before llhttp sees it, and llhttp is never fed past the end of a message. So limits hold
before anything is parsed, and the next request of a pipelining client is parsed only when the previous one is
answered: what it sent ahead waits, unparsed and bounded, and beyond the bound the socket is not read.

    HEAD ──head──> BODY ──all of it──> BUSY ──answered──> HEAD
      └─refused──> DRAIN (what still arrives is thrown away, then the connection ends) ──> CLOSED"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

import httptools

from corral.errors import BadRequest, CorralError, Unavailable
from corral.gateway.body import COLLECT_MAX, Body, Taker
from corral.gateway.call import Answer, Reply
from corral.gateway.http import STATUS_LINES, Head, Refused, Request, read_head
from corral.gateway.writer import Writer

if TYPE_CHECKING:
    from corral.gateway.doors import Doors

HEAD, BODY, BUSY, DRAIN, CLOSED = range(5)
AHEAD_MAX = 64 * 1024
"""Bytes a client may send ahead of the request that is being answered."""
DRAIN_S = 2.0
"""How long a refused request's body is read and thrown away, so that the client can read its answer."""
DRAIN_MAX = 4 * 1024 * 1024
STRAY_MAX = 16
"""Bytes of line ends between two requests."""
REFUSED_METHODS = frozenset((b"CONNECT", b"TRACE"))
_END_OF_HEAD = b"\r\n\r\n"

Handler = Callable[[Request, Answer], Taker | None]
"""Looks at a request's head; None when it has answered already."""


class Door(asyncio.Protocol):
    """One client connection. It is the Answer of the request being answered."""

    def __init__(self, doors: "Doors") -> None:
        self._doors = doors
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else happens
        self._writer: Writer = None  # type: ignore[assignment]  # likewise
        self._parser = httptools.HttpRequestParser(self)
        self._client = b""
        self._state = HEAD
        self._kept = bytearray()
        """Bytes not parsed yet."""
        self._stray = 0
        """Bytes of line ends since the last request."""
        self._since = 0.0
        """When the present state of waiting began, monotonic: idle, a head's first byte, a body's last byte."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._complete = False
        """llhttp saw the message's end."""
        self._request: Request | None = None
        self._taker: Taker | None = None
        self._body = Body(0)
        """Of the latest request that had one."""
        self._collected_for: Handler | None = None
        """Who gets the request once its body is collected."""
        self._reading = True
        self._parsing = False
        self._drained = 0

    # -- asyncio --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, they only behave as one.
        self._transport = transport = cast(asyncio.Transport, transport)
        doors = self._doors
        self._since = monotonic()
        peer = transport.get_extra_info("peername")
        self._client = peer[0].encode("ascii") if isinstance(peer, tuple) else b"unix"
        self._writer = Writer(doors, transport)
        if len(doors.connections) >= doors.config.connections_max:
            self._refuse(Unavailable(f"{len(doors.connections)} connections are open, the most there may be"))
        doors.entered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._doors.left(self)
        self._state = CLOSED
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.left()

    def eof_received(self) -> None:
        """A client that closed its half has left: HTTP/1.1 has no other way to say so. The transport closes."""

    def pause_writing(self) -> None:
        self._writer.is_writable = False

    def resume_writing(self) -> None:
        self._writer.is_writable = True
        if self._taker is not None:
            self._taker.drained()

    def data_received(self, data: bytes) -> None:
        if not self._kept and not self._parsing:
            self._parse(data)
            return
        before = len(self._kept)
        self._kept += data
        if self._state == HEAD and not self._parsing:
            # Looked at from where it grew, so that a head in many pieces costs no more than its length.
            if self._kept.find(_END_OF_HEAD, max(before - 3, 0)) >= 0:
                self._go_on()
            else:
                self._check_part_of_head(before)
        elif len(self._kept) > AHEAD_MAX:
            self._pause()

    # -- parsing --------------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        """Parse as far as may be now; keep the rest."""
        self._parsing = True
        try:
            while data:
                state = self._state
                if state == HEAD:
                    if data[0] in b"\r\n":
                        data = self._skip_line_ends(data)
                        continue
                    end = data.find(_END_OF_HEAD)
                    if end < 0:
                        self._keep_part_of_head(data)
                        break
                    end += 4
                    head, data = data[:end], data[end:]
                    self._take_head(head)
                elif state == BODY:
                    data = self._take_body(data)
                elif state == BUSY:
                    self._kept += data
                    if len(self._kept) > AHEAD_MAX:
                        self._pause()
                    break
                else:
                    self._drain(data)
                    break
            if self._body.parts:
                self._pass_body_on()
        except (CorralError, httptools.HttpParserError) as exc:
            self._refuse(exc if isinstance(exc, CorralError) else BadRequest(f"not HTTP/1.1: {exc}"))
        finally:
            self._parsing = False

    def _skip_line_ends(self, data: bytes) -> bytes:
        """Some clients end a request with line ends too many (RFC 9112, 2.2): a few are passed over."""
        rest = data.lstrip(b"\r\n")
        self._stray += len(data) - len(rest)
        if self._stray > STRAY_MAX:
            raise BadRequest(f"more than {STRAY_MAX} bytes of line ends before a request")
        return rest

    def _keep_part_of_head(self, data: bytes) -> None:
        self._request = None
        self._since = monotonic()
        self._kept += data
        self._check_part_of_head(0)

    def _check_part_of_head(self, start: int) -> None:
        """Refuse a head that cannot become a good one; what is before `start` has been checked."""
        fault = self._doors.head_limits.fault_in_part(self._kept, start)
        if fault is not None:
            self._refuse(fault)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, part: bytes) -> None:
        self._body.add(part)

    def on_message_complete(self) -> None:
        self._complete = True

    def _take_head(self, head: bytes) -> None:
        headers: list[tuple[bytes, bytes]] = []
        self._headers = headers
        self._request = None
        self._complete = False
        now = monotonic()
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            # A wish to change protocols is not granted, and without a body it may be ignored (RFC 9110, 7.8).
            # llhttp ends such a message at its head, so one with a body cannot be followed.
            if any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers):
                raise BadRequest("Upgrade with a body is refused: no other protocol is spoken here") from None
            self._complete = True
        self._stray = 0
        request = read_head(head, headers, self._client, now, self._doors.ids)
        self._request = request
        self._since = now
        self._doors.head_limits.check(request, len(head), len(headers))
        if request.method in REFUSED_METHODS:
            raise Refused(405, "method_not_allowed", f"method {request.method.decode()} is not served")
        handler = self._doors.handler(request.path)
        if handler is None:
            raise Refused(404, "not_found", "nothing is served at this path: functions are at /function/NAME")
        self._writer.closes = not request.keep_alive or self._doors.draining
        if self._complete:
            self._handle_whole(request, handler, b"")
        else:
            self._begin_body(request, handler)

    def _handle_whole(self, request: Request, handler: Handler, body: bytes) -> None:
        self._state = BUSY
        taker = handler(request, self)
        if taker is not None:
            self._taker = taker
            taker.whole(body)

    def _begin_body(self, request: Request, handler: Handler) -> None:
        self._state = BODY
        body = self._body = Body(request.length)
        if 0 < request.length <= COLLECT_MAX and not request.expects_continue:
            self._collected_for = handler
            return
        self._collected_for = None
        taker = handler(request, self)
        if taker is None:
            return
        self._taker = taker
        body.size_max = taker.body_max
        if request.expects_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # -- bodies ---------------------------------------------------------------------------------------------

    def _take_body(self, data: bytes) -> bytes:
        """Feed what belongs to the body; the rest."""
        part, data = self._body.cut(data)
        self._parser.feed_data(part)
        self._body.check()
        if self._complete:
            self._pass_body_on()
        return data

    def _pass_body_on(self) -> None:
        """What has come of the body goes to its taker, the first of it when it is worth it."""
        body, handler = self._body, self._collected_for
        body.check_size()
        if handler is not None:
            if self._complete and self._request is not None:
                self._handle_whole(self._request, handler, body.take())
            return
        if self._complete and self._state == BODY:
            self._state = BUSY
        body.pass_on(self._taker, self._complete)

    def pause_body(self) -> None:
        self._pause()

    def resume_body(self) -> None:
        self._since = monotonic()
        self._resume()

    def _pause(self) -> None:
        if self._reading and self._state != CLOSED:
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and self._state != CLOSED:
            self._reading = True
            self._transport.resume_reading()

    # -- answers (gateway.call.Answer) ----------------------------------------------------------------------

    def whole(self, head: Head, body: bytes, extra: bytes) -> None:
        self._writer.whole(self._answered(), head, body, extra)
        self._done()

    def reply(self, reply: Reply) -> None:
        self.whole(
            Head(reply.status, STATUS_LINES[reply.status] + reply.lines, reply.status in (204, 304)), reply.body, b""
        )

    def begin(self, head: Head, extra: bytes) -> None:
        self._writer.begin(self._answered(), head, extra)

    def part(self, data: bytes) -> bool:
        return self._writer.part(data)

    def end(self) -> None:
        self._writer.end()
        self._done()

    def cut(self) -> None:
        self._taker = None
        self._transport.abort()

    def _answered(self) -> Request:
        """The request whose answer's head is to be written now."""
        assert self._request is not None
        if self._state == BODY:
            # Answered before the body was here: the rest is not worth reading.
            self._writer.closes = True
        return self._request

    def _done(self) -> None:
        """The answer is written: on to the next request."""
        self._taker = None
        if self._writer.closes:
            self._close_gently()
            return
        self._state = HEAD
        self._since = monotonic()
        if self._kept and not self._parsing:
            # Not from here: the answer may have been given from deep inside an instance's read.
            asyncio.get_running_loop().call_soon(self._go_on)
        elif not self._reading:
            self._resume()

    def _go_on(self) -> None:
        if self._state == HEAD and not self._parsing:
            data = bytes(self._kept)
            self._kept.clear()
            self._resume()
            self._parse(data)

    # -- ends -----------------------------------------------------------------------------------------------

    def _refuse(self, fault: CorralError) -> None:
        """Answer a request that no handler saw, or whose body broke the rules, and end the connection."""
        if self._state >= DRAIN:
            return
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.left()
        request = self._request
        if request is None:
            request_id = self._doors.ids.request_id()
            request = self._request = Request(b"GET", b"", b"", b"", [], request_id, monotonic(), self._client)
        code = fault.code if isinstance(fault, Refused) else "bad_request"
        self._doors.stats.refused.labels(code).value += 1
        self._writer.closes = True
        self._body.parts.clear()
        if self._writer.begun:
            self._transport.abort()
        else:
            self.reply(self._doors.explain(fault, request.request_id))

    def _close_gently(self) -> None:
        """Say that nothing more comes, and read on for a moment: closing with bytes unread would reset the
        connection, and the client might never see its answer."""
        self._kept.clear()
        self._since = monotonic()
        if self._state == BUSY and self._reading:
            self._state = DRAIN
            self._transport.close()
            return
        self._state = DRAIN
        self._resume()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _drain(self, data: bytes) -> None:
        self._drained += len(data)
        if self._drained > DRAIN_MAX:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def drain(self) -> None:
        """The gateway stops: no request after this one, and none at all on an idle connection."""
        self._writer.closes = True
        if self._state == HEAD:
            self._state = CLOSED
            self._transport.close()

    def sweep(self, now: float) -> None:
        """Called about once a second: end what waits too long for its client."""
        config = self._doors.config
        if self._writer.is_stuck(now, config.body_idle_s):
            self._transport.abort()  # it does not read its answer
            return
        waited = now - self._since
        if self._state == HEAD:
            if self._kept and waited > config.header_timeout_s:
                most = config.header_timeout_s
                self._refuse(Refused(408, "head_timeout", f"the head was not whole within {most:g} s"))
            elif not self._kept and waited > config.idle_s:
                self._state = CLOSED
                self._transport.close()
        elif self._state == BODY:
            self._since = now
            fault = self._body.lateness(waited, self._reading, config)
            if fault is not None:
                self._refuse(fault)
        elif self._state == DRAIN and waited > DRAIN_S:
            self._transport.close()
