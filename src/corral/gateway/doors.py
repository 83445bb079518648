"""What all client connections share, and the sweep that ends those whose client is too slow."""

import asyncio
import contextlib
from collections.abc import Mapping
from email.utils import formatdate
from time import monotonic

from corral.config import Gateway
from corral.gateway.call import Explain
from corral.gateway.door import Door, Handler
from corral.gateway.http import RequestIds
from corral.gateway.limits import HeadLimits
from corral.gateway.stats import Stats


class Doors:
    """What all connections share: handlers by path, limits, the date, and the sweep that ends slow ones."""

    def __init__(
        self,
        config: Gateway,
        handlers: Mapping[bytes, Handler],
        explain: Explain,
        ids: RequestIds,
        stats: Stats,
    ) -> None:
        self.config = config
        self.explain = explain
        self.ids = ids
        self.stats = stats
        self.connections: set[Door] = set()
        self.draining = False
        """No connection takes another request."""
        self._empty = asyncio.Event()
        self._has_some = asyncio.Event()
        self.fixed = b""
        """`server` and `date` lines, renewed each second."""
        self.head_limits = HeadLimits(config)
        self._exact = {path: handler for path, handler in handlers.items() if not path.endswith(b"/")}
        self._prefixes = tuple((path, handler) for path, handler in handlers.items() if path.endswith(b"/"))
        stats.connections.labels().source = lambda: len(self.connections)
        self.renew_date()

    def make(self) -> Door:
        return Door(self)

    def handler(self, path: bytes) -> Handler | None:
        for prefix, handler in self._prefixes:
            if path.startswith(prefix):
                return handler
        return self._exact.get(path)

    def renew_date(self) -> None:
        self.fixed = b"server: corral\r\ndate: %b\r\n" % formatdate(usegmt=True).encode("ascii")

    async def drain(self, most_s: float) -> None:
        """Close idle connections, let the others finish their request; return when all are closed, or in `most_s`."""
        self.draining = True
        for door in list(self.connections):
            door.drain()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(most_s):
                    await self._empty.wait()

    def entered(self, door: Door) -> None:
        """A connection begins."""
        if not self.connections:
            self.renew_date()  # nobody has, while there was none
            self._has_some.set()
        self.connections.add(door)

    def left(self, door: Door) -> None:
        """Its connection ended."""
        self.connections.discard(door)
        if self.draining and not self.connections:
            self._empty.set()

    def close(self) -> None:
        """End all connections at once."""
        for door in list(self.connections):
            door.abort()

    async def run(self) -> None:
        """Keeps the date and ends connections whose client is too slow; for ever, and only while there are any."""
        while True:
            await self._has_some.wait()
            # Finer only where a short limit asks for it; a sweep of 10,000 connections takes about 1 ms.
            await asyncio.sleep(min(1.0, self.config.header_timeout_s / 4, self.config.idle_s / 4))
            self.renew_date()
            now = monotonic()
            for door in list(self.connections):
                door.sweep(now)
            if not self.connections:
                self._has_some.clear()
