"""HTTP/1.1 on one client connection: bytes in, requests out to a handler, answers back in order.

A head is collected whole before llhttp sees it, and llhttp is never fed past the end of a message. So limits hold
before anything is parsed, and the next request of a pipelining client is parsed only when the previous one is
answered: what it sent ahead waits, unparsed and bounded, and beyond the bound the socket is not read.

    HEAD ──head──> BODY ──all of it──> BUSY ──answered──> HEAD
      └─refused──> DRAIN (what still arrives is thrown away, then the connection ends) ──> CLOSED"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from corral.errors import BadRequest, CorralError, Unavailable
from corral.gateway.call import Answer, Reply
from corral.gateway.http import STATUS_LINES, Head, Refused, Request, read_head

if TYPE_CHECKING:
    from corral.gateway.doors import Doors

HEAD, BODY, BUSY, DRAIN, CLOSED = range(5)
COLLECT_MAX = 64 * 1024
"""A body is collected until it is whole or this much of it is here, and only then goes anywhere: to hold an instance a
slow sender must send this much first, and then go on at config.body_rate_kib_s."""
AHEAD_MAX = 64 * 1024
"""Bytes a client may send ahead of the request that is being answered."""
DRAIN_S = 2.0
"""How long a refused request's body is read and thrown away, so that the client can read its answer."""
DRAIN_MAX = 4 * 1024 * 1024
STRAY_MAX = 16
"""Bytes of line ends between two requests."""
QUIET_MAX = 16 * 1024
"""Bytes of chunk sizes, extensions and trailers without any body between them."""
WRITE_HIGH = 64 * 1024
REFUSED_METHODS = frozenset((b"CONNECT", b"TRACE"))
_END_OF_HEAD = b"\r\n\r\n"


class Taker(Protocol):
    """Who takes a request's body: `whole` when all of it is here, else `open`, `data` … `end`."""

    @property
    def body_max(self) -> int | None:
        """The most bytes a body may have that comes in parts; None: the taker sees to it."""
        ...

    def whole(self, body: bytes) -> None: ...
    def open(self) -> None: ...
    def data(self, part: bytes) -> None: ...
    def end(self) -> None: ...
    def left(self) -> None: ...
    def drained(self) -> None: ...


Handler = Callable[[Request, Answer], Taker | None]
"""Looks at a request's head; None when it has answered already."""


class ChunkEnds:
    """Finds where a chunked message may end, so that llhttp is not fed what may be the next one."""

    def __init__(self) -> None:
        self._tail = b""

    def begin(self) -> None:
        """Another message."""
        self._tail = b""

    def cut(self, data: bytes) -> tuple[bytes, bytes]:
        """A chunked message can end only behind an empty line: `data` up to and with the first one, and the rest.
        An empty line may have begun in what came before."""
        tail = self._tail
        end = (tail + data).find(_END_OF_HEAD)
        if end < 0:
            self._tail = (tail + data)[-3:]
            return data, b""
        end += 4 - len(tail)
        # The line end between two empty lines may belong to both.
        self._tail = b"\r\n"
        return data[:end], data[end:]


class Door(asyncio.Protocol):
    """One client connection. It is the Answer of the request being answered."""

    def __init__(self, doors: "Doors") -> None:
        self._doors = doors
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else happens
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
        self._parts: list[bytes] = []
        self._opened = False
        """The body goes on in parts; else it is still being collected."""
        self._left = 0
        """Bytes of body to come; -1: chunked."""
        self._came = 0
        """Bytes of body and its framing so far."""
        self._weighed = 0
        """Those of them that the sweep has seen."""
        self._behind_s = 0.0
        """How much longer this body takes than config.body_rate_kib_s allows."""
        self._size = 0
        self._size_max: int | None = None
        self._ends = ChunkEnds()
        self._quiet = 0
        self._answered = True
        self._begun = False
        """The head of an answer whose body comes in parts is written."""
        self._chunked = False
        self._bodiless = False
        self._collected_for: Handler | None = None
        self._closes = False
        """The connection ends after this answer."""
        self._reading = True
        self._body_paused = False
        self._writable = True
        self._written = 0
        """Bytes of answers that came in parts."""
        self._read = 0
        """How far of them the client was when it was last seen to read; falls with a whole answer's length."""
        self._moved = 0.0
        """When the client was last seen to read what is written to it."""
        self._parsing = False
        self._drained = 0

    # -- asyncio --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, they only behave as one.
        self._transport = transport = cast(asyncio.Transport, transport)
        doors = self._doors
        self._since = self._moved = monotonic()
        peer = transport.get_extra_info("peername")
        self._client = peer[0].encode("ascii") if isinstance(peer, tuple) else b"unix"
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        if len(doors.connections) >= doors.config.connections_max:
            self._refuse(Unavailable(f"{len(doors.connections)} connections are open, the most there may be"))
        doors.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._doors.left(self)
        self._state = CLOSED
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.left()

    def eof_received(self) -> None:
        """A client that closed its half has left: HTTP/1.1 has no other way to say so. The transport closes."""

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
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
                    if end == len(data):
                        head, data = data, b""
                    else:
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
            if self._parts:
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
        kept, most = self._kept, self._doors.config.target_max_bytes
        fault: CorralError | None = None
        if len(kept) > self._doors.head_max:
            fault = self._head_too_large()
        elif len(kept) > most + 64 and kept.find(b"\n") < 0:
            fault = self._target_too_long()
        elif kept.count(b"\n", start) != kept.count(b"\r\n", max(start - 1, 0)):
            fault = BadRequest("a line of the head ends with a bare line feed, must be CR LF")
        if fault is not None:
            self._refuse(fault)

    def _target_too_long(self) -> Refused:
        most = self._doors.config.target_max_bytes
        return Refused(414, "target_too_long", f"path and query exceed {most} bytes, the most allowed")

    def _head_too_large(self) -> Refused:
        return Refused(431, "headers_too_large", f"the head exceeds {self._doors.head_max} bytes, the most allowed")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        self._quiet = 0

    def on_message_complete(self) -> None:
        self._complete = True

    def _take_head(self, head: bytes) -> None:
        headers: list[tuple[bytes, bytes]] = []
        self._headers = headers
        self._request = None
        self._complete = self._begun = self._bodiless = False
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
        config = self._doors.config
        if len(head) > config.target_max_bytes:
            if len(request.path) + len(request.query) > config.target_max_bytes:
                raise self._target_too_long()
            if len(head) > self._doors.head_max:
                raise self._head_too_large()
        if len(headers) > config.header_max_count:
            most = config.header_max_count
            raise Refused(431, "too_many_headers", f"{len(headers)} header lines, must be at most {most}")
        if request.method in REFUSED_METHODS:
            raise Refused(405, "method_not_allowed", f"method {request.method.decode()} is not served")
        handler = self._doors.handler(request.path)
        if handler is None:
            raise Refused(404, "not_found", "nothing is served at this path: functions are at /function/NAME")
        self._closes = not request.keep_alive or self._doors.draining
        self._answered = self._chunked = False
        self._bodiless = request.method == b"HEAD"
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
        self._left = request.length
        self._size = self._quiet = self._came = self._weighed = 0
        self._behind_s = 0.0
        self._opened = False
        self._size_max = None
        self._ends.begin()
        if 0 < request.length <= COLLECT_MAX and not request.expects_continue:
            self._collected_for = handler
            return
        self._collected_for = None
        taker = handler(request, self)
        if taker is None:
            return
        self._taker = taker
        self._size_max = taker.body_max
        if request.expects_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # -- bodies ---------------------------------------------------------------------------------------------

    def _take_body(self, data: bytes) -> bytes:
        """Feed what belongs to the body; the rest."""
        if self._left >= 0:
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
        else:
            part, data = self._ends.cut(data)
        self._came += len(part)
        self._quiet += len(part)
        self._parser.feed_data(part)
        if self._quiet > QUIET_MAX and self._left < 0:
            raise BadRequest(f"more than {QUIET_MAX} bytes of chunk framing or trailers without body between them")
        if self._complete:
            self._pass_body_on()
        return data

    def _pass_body_on(self) -> None:
        """What has come of the body goes to its taker, the first of it when it is worth it."""
        parts, handler, request = self._parts, self._collected_for, self._request
        if self._size_max is not None and self._size > self._size_max:
            raise Refused(413, "body_too_large", f"the body exceeds {self._size_max} bytes, the most for this function")
        if not self._complete and not self._opened and (handler is not None or self._came <= COLLECT_MAX):
            return
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        if handler is not None:
            assert request is not None
            self._handle_whole(request, handler, body)
            return
        if self._complete and self._state == BODY:
            self._state = BUSY
        taker = self._taker
        if taker is None:
            return  # answered before its body was here
        if self._complete and not self._opened:
            taker.whole(body)
            return
        if not self._opened:
            self._opened = True
            taker.open()
        if body:
            taker.data(body)
        if self._complete:
            taker.end()

    def pause_body(self) -> None:
        self._body_paused = True
        self._pause()

    def resume_body(self) -> None:
        self._body_paused = False
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
        request = self._request
        assert request is not None
        lines, size = head.lines, b"content-length: %d\r\n\r\n" % len(body)
        if head.bodiless:
            size, body = b"\r\n", b""
        elif self._bodiless:
            body = b""
        self._transport.write(
            b"".join(
                (
                    lines,
                    self._doors.fixed,
                    b"x-request-id: ",
                    request.request_id,
                    b"\r\n",
                    extra,
                    self._connection(),
                    size,
                    body,
                )
            )
        )
        self._done()

    def reply(self, reply: Reply) -> None:
        self.whole(
            Head(reply.status, STATUS_LINES[reply.status] + reply.lines, reply.status in (204, 304)), reply.body, b""
        )

    def begin(self, head: Head, extra: bytes) -> None:
        request = self._request
        assert request is not None
        self._begun = True
        self._bodiless = self._bodiless or head.bodiless
        framing = b""
        if self._bodiless:
            pass
        elif request.http10:
            # Only the connection's end tells a 1.0 client that the body is whole.
            self._closes = True
        else:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        self._transport.write(
            b"".join(
                (
                    head.lines, self._doors.fixed, b"x-request-id: ", request.request_id, b"\r\n",
                    extra, self._connection(), framing, b"\r\n",
                )
            )
        )  # fmt: skip

    def part(self, data: bytes) -> bool:
        if not self._bodiless and data:
            self._written += len(data)
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return self._writable

    def end(self) -> None:
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self._done()

    def cut(self) -> None:
        self._taker = None
        self._transport.abort()

    def _connection(self) -> bytes:
        """The connection line of an answer, decided when its head is written."""
        request = self._request
        if self._state == BODY:
            # Answered before the body was here: the rest is not worth reading.
            self._closes = True
        if self._closes:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if request is not None and request.http10 else b""

    def _done(self) -> None:
        """The answer is written: on to the next request."""
        self._answered = True
        self._taker = None
        if self._body_paused:
            self._body_paused = False
        if self._closes:
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
        self._closes = True
        self._parts.clear()
        if self._begun:
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
        self._closes = True
        if self._state == HEAD:
            self._state = CLOSED
            self._transport.close()

    def sweep(self, now: float) -> None:
        """Called about once a second: end what waits too long for its client."""
        config = self._doors.config
        unsent = self._transport.get_write_buffer_size()
        read = self._written - unsent
        if unsent == 0 or read > self._read:
            self._moved = now
        elif now - self._moved > config.body_idle_s:
            self._transport.abort()  # it does not read its answer
            return
        self._read = read
        waited = now - self._since
        if self._state == HEAD:
            if self._kept and waited > config.header_timeout_s:
                most = config.header_timeout_s
                self._refuse(Refused(408, "head_timeout", f"the head was not whole within {most:g} s"))
            elif not self._kept and waited > config.idle_s:
                self._state = CLOSED
                self._transport.close()
        elif self._state == BODY:
            self._weigh_body(now, waited)
        elif self._state == DRAIN and waited > DRAIN_S:
            self._transport.close()

    def _weigh_body(self, now: float, waited: float) -> None:
        """Each second costs a second, and each KiB buys its share of one. While we do not read, time stands still."""
        rate, most = self._doors.config.body_rate_kib_s, self._doors.config.body_idle_s
        came, self._weighed = self._came - self._weighed, self._came
        self._since = now
        if self._reading:
            self._behind_s = max(self._behind_s + waited - came / (rate * 1024), 0.0)
        if self._behind_s > most:
            fault = f"the body paused for {most:g} s, or came slower than {rate:g} KiB/s for longer"
            self._refuse(Refused(408, "body_timeout", fault))
