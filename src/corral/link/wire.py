"""How messages travel between processes, whatever they say: u32 length (big-endian), then MessagePack."""

import asyncio
import contextlib
import logging
import struct
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import msgspec

from corral.errors import CorralError

log = logging.getLogger("corral.link")

VERSION = 1
MESSAGE_MAX_BYTES = 16 * 1024 * 1024

Incoming = TypeVar("Incoming")
_encoder = msgspec.msgpack.Encoder()


class Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all messages; the tag is the class name."""


class Hello(Message, frozen=True):
    """First on every connection, both ways."""

    role: str
    """`engine`, `gateway` or `keeper`."""
    id: str
    """Of this process; another id means it was restarted and remembers nothing."""
    version: int = VERSION


class LinkBroken(CorralError):
    """The other side closed, or sent what this version does not know."""


class Link(asyncio.Protocol, Generic[Incoming]):
    """One end of a link. `receive` is called in order, on the loop, for every message but Hello, which goes to
    `opened`. `closed` is called once. A message that cannot be read closes the link: both sides start anew."""

    def __init__(
        self,
        types: object,
        *,
        hello: Hello,
        opened: "Callable[[Link[Incoming], Hello], None]",
        receive: "Callable[[Link[Incoming], Incoming], None]",
        closed: "Callable[[Link[Incoming]], None]",
    ) -> None:
        self._decoder: msgspec.msgpack.Decoder[Incoming | Hello] = msgspec.msgpack.Decoder(
            cast(type[Incoming | Hello], types)
        )
        self._hello = hello
        self._opened, self._receive, self._closed = opened, receive, closed
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.peer: Hello | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport, they only behave as one.
        self._transport = transport = cast(asyncio.Transport, transport)
        # A peer that stops reading must not make us wait: link messages are small and bounded in number.
        transport.set_write_buffer_limits(high=64 * 1024 * 1024)
        self.send(self._hello)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= 4:
                (size,) = struct.unpack_from("!I", buffer, start)
                if size > MESSAGE_MAX_BYTES:
                    raise LinkBroken(f"a message of {size} bytes, must be at most {MESSAGE_MAX_BYTES}")
                if len(buffer) - start - 4 < size:
                    break
                message = self._decoder.decode(bytes(buffer[start + 4 : start + 4 + size]))
                start += 4 + size
                self._take(message)
        except (msgspec.MsgspecError, LinkBroken) as exc:
            role = "unknown" if self.peer is None else self.peer.role
            log.warning("link broken", extra={"peer": role, "why": str(exc)})
            # What it sends from now on is not read: it goes on from a state that we do not share.
            start = len(buffer)
            self.close()
        finally:
            del buffer[:start]

    def _take(self, message: "Incoming | Hello") -> None:
        if isinstance(message, Hello):
            if message.version != VERSION:
                raise LinkBroken(f"{message.role} speaks link version {message.version}, must be {VERSION}")
            self.peer = message
            self._opened(self, message)
        else:
            self._receive(self, message)

    def send(self, message: Message) -> None:
        """Queue one message. On a closed link it is dropped: the state is sent whole after the next connect."""
        if self._transport is not None:
            body = _encoder.encode(message)
            self._transport.write(struct.pack("!I", len(body)) + body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and self.peer is not None


async def keep_connected(path: str, make: Callable[[], Link[Incoming]], lost: asyncio.Event) -> None:
    """Connect to the unix socket `path` for ever: `make` gives a fresh Link for each attempt, `lost` is set by its
    `closed`. Retries after 1 ms, doubling to 100 ms. Ends only by cancellation."""
    delay = 0.001
    loop = asyncio.get_running_loop()
    while True:
        lost.clear()
        with contextlib.suppress(OSError):
            await loop.create_unix_connection(make, path)
            delay = 0.001
            await lost.wait()
        await asyncio.sleep(delay)
        delay = min(delay * 2, 0.1)
