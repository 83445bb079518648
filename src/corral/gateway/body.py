"""A request's body on its way in: where it ends, how much of it waits to go on, and whether it comes fast enough."""

from typing import Protocol

from corral.config import Gateway
from corral.errors import BadRequest
from corral.gateway.http import Refused

COLLECT_MAX = 64 * 1024
"""A body is collected until it is whole or this much of it is here, and only then goes anywhere: to hold an instance a
slow sender must send this much first, and then go on at config.body_rate_kib_s."""
QUIET_MAX = 16 * 1024
"""Bytes of chunk sizes, extensions and trailers without any body between them."""
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


class ChunkEnds:
    """Finds where a chunked message may end, so that llhttp is not fed what may be the next one."""

    def __init__(self) -> None:
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


class Body:
    """One body. `length` in bytes; -1: chunked, so its end shows only as it comes."""

    __slots__ = (
        "_behind_s", "_came", "_ends", "_is_open", "_left", "_quiet", "_size", "_weighed", "parts", "size_max",
    )  # fmt: skip

    def __init__(self, length: int) -> None:
        self._left = length
        self._ends = ChunkEnds() if length < 0 else None
        self.parts: list[bytes] = []
        """What was collected and has not gone on."""
        self._size = 0
        self._came = 0
        """Bytes of body and its framing so far."""
        self._quiet = 0
        """Those of them since there was body among them."""
        self._weighed = 0
        """Those of them that the sweep has seen."""
        self._behind_s = 0.0
        """How much longer it takes than config.body_rate_kib_s allows."""
        self._is_open = False
        """It goes on in parts; else it is still being collected."""
        self.size_max: int | None = None
        """The most bytes its taker accepts in parts."""

    def cut(self, data: bytes) -> tuple[bytes, bytes]:
        """What of `data` belongs to this body, and the rest."""
        if self._ends is not None:
            part, data = self._ends.cut(data)
        else:
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
        self._came += len(part)
        self._quiet += len(part)
        return part, data

    def add(self, part: bytes) -> None:
        """llhttp found this in what was cut."""
        self.parts.append(part)
        self._size += len(part)
        self._quiet = 0

    def check(self) -> None:
        """Raises BadRequest for framing without end."""
        if self._quiet > QUIET_MAX and self._ends is not None:
            raise BadRequest(f"more than {QUIET_MAX} bytes of chunk framing or trailers without body between them")

    def check_size(self) -> None:
        """Raises Refused when it is more than its taker accepts."""
        most = self.size_max
        if most is not None and self._size > most:
            raise Refused(413, "body_too_large", f"the body exceeds {most} bytes, the most for this function")

    def take(self) -> bytes:
        """All parts in one; they are gone from here."""
        parts = self.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return body

    def pass_on(self, taker: Taker | None, complete: bool) -> None:
        """To its taker; the first of it when it is worth it. None: it was answered before it was here."""
        if not complete and not self._is_open and self._came <= COLLECT_MAX:
            return
        data = self.take()
        if taker is None:
            return
        if complete and not self._is_open:
            taker.whole(data)
            return
        if not self._is_open:
            self._is_open = True
            taker.open()
        if data:
            taker.data(data)
        if complete:
            taker.end()

    def lateness(self, seconds: float, reading: bool, config: Gateway) -> Refused | None:
        """Called with the `seconds` since the last time: each costs itself, and each KiB buys its share of one. While
        we do not read, time stands still. A fault once it is too far behind."""
        rate, most = config.body_rate_kib_s, config.body_idle_s
        came, self._weighed = self._came - self._weighed, self._came
        if reading:
            self._behind_s = max(self._behind_s + seconds - came / (rate * 1024), 0.0)
        if self._behind_s <= most:
            return None
        pause = f"the body paused for {most:g} s, or came slower than {rate:g} KiB/s for longer"
        return Refused(408, "body_timeout", pause)
