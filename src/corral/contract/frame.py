"""The contract of Corral's own runtimes, the gateway's side of it: docs/frame.md is the whole story.

`Connection` owns one instance's socket. It knows frames and calls' numbers and nothing of HTTP, pools or deadlines:
a call is an `Exchange`, the instance's owner a `Holder`. Everything runs on the loop that reads the socket."""

import asyncio
import socket
import struct
from typing import Annotated, Protocol, cast

import msgspec

from corral.errors import CorralError
from corral.model import Style

HELLO, READY, FAILED, HEAD, BODY, END, ACK, CREDIT, CANCEL, UPGRADE, LOG, CODE = range(1, 13)
LAST = 1
ERROR = 2
PAYLOAD_MAX = 65_528
WINDOW = 256 * 1024
"""Body bytes each direction of a call may send before it is given credit."""
NUMBER_MAX = 2**32 - 2
CONCURRENCY_MAX = 1000
STRAY_MAX = 1000
"""Frames of calls that are over which one connection may send: some may cross our own, a flood is an attack."""
WRITE_HIGH = 1024 * 1024
"""Bytes not taken by the instance beyond which bodies are held back, whatever credit it gave."""

HEADER = struct.Struct("!BBHI")
U16 = struct.Struct("!H")
U32 = struct.Struct("!I")
_HELLO = b'{"version": 1, "in_flight": 0}'


class FrameBroken(CorralError):
    """The instance broke the rules of docs/frame.md: its connection ends, and with it the instance."""


class HelloBody(msgspec.Struct, frozen=True):
    version: int
    in_flight: Annotated[int, msgspec.Meta(ge=0, le=CONCURRENCY_MAX)] = 0


class ReadyBody(msgspec.Struct, frozen=True):
    style: Style
    is_async: bool
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=CONCURRENCY_MAX)]
    stamps: dict[str, float]


class FailedBody(msgspec.Struct, frozen=True):
    error: str
    traceback: str = ""


class Exchange(Protocol):
    """A call's side of the wire. `answered`, `ended` and `raised` are the last word: the number is free then."""

    def acknowledged(self) -> None:
        """An ACK came."""
        ...

    def taken_up(self) -> None:
        """The instance has begun, as one may tell without an ACK."""
        ...

    def answered(self, head: bytes, body: bytes) -> None:
        """The whole answer at once: the usual case."""
        ...

    def began_with(self, head: bytes) -> None: ...
    def continued(self, part: bytes) -> None:
        """Raises FrameBroken when no head came before."""
        ...

    def ended(self, trailers: bytes) -> None: ...
    def raised(self, error: bytes) -> None: ...
    def credited(self, count: int) -> None: ...
    def writable(self) -> None:
        """The instance takes what is written to it again."""
        ...


class Holder(Protocol):
    """Who holds the instance."""

    def said_hello(self, in_flight: int) -> None: ...
    def said_ready(self, ready: ReadyBody) -> None: ...
    def said_failed(self, failed: FailedBody) -> None: ...
    def said_code(self, code: bytes) -> None: ...
    def freed(self) -> None:
        """A call of an earlier connection ended."""
        ...

    def exhausted(self) -> None:
        """No call number is left: give no more calls."""
        ...

    def lost(self, why: str) -> None:
        """The connection ended, once, and all that came was heard. `why` is empty, or a sentence when the instance
        broke the rules: then what came behind that was not."""
        ...


def frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    return HEADER.pack(kind, flags, len(payload), number) + payload


def request_head(remaining_s: float, lines: bytes) -> bytes:
    """A HEAD's payload: `lines` are the request line and header lines, each ended by CRLF."""
    return U32.pack(min(max(int(remaining_s * 1000), 0), 0xFFFFFFFF)) + lines


class Connection(asyncio.Protocol):
    """See the module. Calls may be sent before the connection is made: they are written when it is."""

    def __init__(self, holder: Holder) -> None:
        self._holder: Holder | None = holder
        self._exchanges: dict[int, Exchange] = {}
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self._kept = b""
        self._why = ""
        self.is_writable = True
        """False: send no more of any body until `Exchange.writable`."""
        self._stray = 0
        """Frames of calls that were over."""
        self._greeted = False
        self._ready = False
        self._earlier = 0
        """Calls of an earlier connection that still run."""
        self.is_serial = False
        """Its READY said concurrency 1: it sends no ACK, see `_settle`."""
        self._spare: socket.socket | None = None
        """A second descriptor of the socket, to read what is left when the loop has given it up; see hear_out."""
        self._early: list[bytes] = [frame(HELLO, 0, 0, _HELLO)]
        self._write = self._early.append

    # -- towards the instance -------------------------------------------------------------------------------

    def send(self, exchange: Exchange, head: bytes, body: bytes, last: bool) -> int:
        """Send a call's head with the body there is so far (at most WINDOW bytes); its number on this connection."""
        self._number = number = self._number + 1
        if number >= NUMBER_MAX and self._holder is not None:
            self._holder.exhausted()
        self._exchanges[number] = exchange
        if last and not body:
            self._write(HEADER.pack(HEAD, LAST, len(head), number) + head)
        elif last and len(body) <= PAYLOAD_MAX:
            # Head and body in one write: one system call, and mostly one read on the other side.
            first = HEADER.pack(HEAD, 0, len(head), number)
            self._write(b"".join((first, head, HEADER.pack(BODY, LAST, len(body), number), body)))
        else:
            self._write(HEADER.pack(HEAD, 0, len(head), number) + head)
            self.send_body(number, body, last)
        return number

    def send_body(self, number: int, body: bytes, last: bool) -> None:
        """More of a request's body. The caller keeps account of the call's credit."""
        size = len(body)
        if last and size == 0:
            self._write(HEADER.pack(BODY, LAST, 0, number))
        for start in range(0, size, PAYLOAD_MAX):
            part = body[start : start + PAYLOAD_MAX]
            flags = LAST if last and start + PAYLOAD_MAX >= size else 0
            self._write(HEADER.pack(BODY, flags, len(part), number) + part)

    def give_credit(self, number: int, count: int) -> None:
        self._write(HEADER.pack(CREDIT, 0, 4, number) + U32.pack(count))

    def cancel(self, number: int) -> None:
        self._write(HEADER.pack(CANCEL, 0, 0, number))

    def keep(self, spare: socket.socket) -> None:
        """Takes a duplicate of the connected socket, before the connection is made."""
        if self._spare is not None:
            self._spare.close()
        self._spare = spare

    def hear_out(self, unread: bool = False) -> None:
        """Take in what the instance said before its end. A write to a dead instance fails before its last words were
        read, and an ACK among them decides whether its call may be sent elsewhere. `unread`: the loop has seen the
        kernel say that the instance left some of what we sent unread."""
        spare, self._spare = self._spare, None
        if spare is None:
            return
        with spare:
            try:
                while data := spare.recv(65_536, socket.MSG_DONTWAIT):
                    self.data_received(data)
            except OSError:
                # A reset: it ended with bytes of ours unread. Or it is not at its end and has not accepted us yet.
                return
        if not unread:
            self._settle()

    def _settle(self) -> None:
        """The instance took all we sent out of its socket. For one that has one call at a time this stands for the ACK:
        it saves a write, and a wake-up here, for each call."""
        if self.is_serial:
            for exchange in list(self._exchanges.values()):
                exchange.taken_up()

    def close(self) -> None:
        """Give the instance up, without a look at what it may still say. `lost` follows from the loop."""
        if self._spare is not None:
            self._spare.close()
            self._spare = None
        self._write = _discard
        if self._transport is not None:
            self._transport.abort()

    @property
    def in_flight(self) -> int:
        return len(self._exchanges)

    # -- asyncio --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, they only behave as one.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        transport.write(b"".join(self._early))
        self._early.clear()
        self._write = transport.write

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        # A write fails with EPIPE when nobody can read it any more; a read is reset when something was left unread.
        self.hear_out(unread=isinstance(exc, (ConnectionResetError, BrokenPipeError)))
        self._write = _discard
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.lost(self._why)

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        for exchange in list(self._exchanges.values()):
            exchange.writable()

    def data_received(self, data: bytes) -> None:
        if self._kept:
            data = self._kept + data
            self._kept = b""
        try:
            self._read(data)
        except (FrameBroken, msgspec.MsgspecError, struct.error, RecursionError) as exc:
            self._why = f"the instance broke the frame rules: {exc}"
            self.close()

    def _read(self, data: bytes) -> None:
        at, size = 0, len(data)
        exchanges = self._exchanges
        while size - at >= 8:
            kind, flags, length, number = HEADER.unpack_from(data, at)
            end = at + 8 + length
            if end > size:
                break
            payload = data[at + 8 : end]
            at = end
            if number == 0:
                self._of_connection(kind, payload)
                continue
            exchange = exchanges.get(number)
            if exchange is None:
                self._stray += 1
                if number > self._number or self._stray > STRAY_MAX:
                    raise FrameBroken(f"frame {self._stray} of a call that is over or was never sent ({number})")
                continue
            if kind == ACK:
                exchange.acknowledged()
            elif kind == HEAD:
                # The usual answer is a head and one body in one read: they go on as one.
                if not flags and size - at >= 8:
                    kind2, flags2, length2, number2 = HEADER.unpack_from(data, at)
                    if kind2 == BODY and flags2 == LAST and number2 == number and at + 8 + length2 <= size:
                        body = data[at + 8 : at + 8 + length2]
                        at += 8 + length2
                        del exchanges[number]
                        exchange.answered(payload, body)
                        continue
                if flags & LAST:
                    del exchanges[number]
                    exchange.answered(payload, b"")
                else:
                    exchange.began_with(payload)
            else:
                self._of_call(kind, flags, number, exchange, payload)
        self._kept = data[at:]

    def _of_call(self, kind: int, flags: int, number: int, exchange: Exchange, payload: bytes) -> None:
        """The less frequent frames of a call."""
        if kind == BODY:
            if payload:
                exchange.continued(payload)
            if flags & LAST:
                del self._exchanges[number]
                exchange.ended(b"")
        elif kind == END:
            del self._exchanges[number]
            if flags & ERROR:
                exchange.raised(payload)
            else:
                exchange.ended(payload)
        elif kind == CREDIT:
            exchange.credited(U32.unpack(payload)[0])
        else:
            raise FrameBroken(f"a frame of kind {kind} for a call, must be HEAD, BODY, END, ACK or CREDIT")

    def _of_connection(self, kind: int, payload: bytes) -> None:
        """Frames of the connection: each comes once, but for END, which comes once for each earlier call."""
        holder = self._holder
        if holder is None:
            return
        if kind == END:
            self._earlier -= 1
            if self._earlier < 0:
                raise FrameBroken("END of an earlier call beyond those that HELLO told of")
            holder.freed()
        elif kind == HELLO and not self._greeted:
            self._greeted = True
            hello = msgspec.json.decode(payload, type=HelloBody)
            if hello.version != 1:
                raise FrameBroken(f"HELLO with version {hello.version}, must be 1")
            self._earlier = hello.in_flight
            holder.said_hello(hello.in_flight)
        elif kind == READY and not self._ready:
            self._ready = True
            ready = msgspec.json.decode(payload, type=ReadyBody)
            self.is_serial = ready.concurrency == 1
            holder.said_ready(ready)
        elif kind == FAILED and not self._ready:
            holder.said_failed(msgspec.json.decode(payload, type=FailedBody))
        elif kind == CODE and not self._ready:
            holder.said_code(payload)
        else:
            raise FrameBroken(f"a frame of kind {kind} for the connection, which may not come now")


def _discard(data: bytes) -> None:
    """Writing to a lost connection: what was written is lost with it."""


def parse_error(payload: bytes) -> str:
    """The sentence of an END with ERROR: `TypeName: message`, at most 1,000 bytes."""
    return payload[:1000].decode("utf-8", "replace")
