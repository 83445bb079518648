"""The gateway's end of the link: what the engine says goes to routes and activator, what they say goes to it.

The engine may be away at any time: warm calls go on, and after each connect the gateway says what it holds and which
calls wait, and treats what the engine names as a difference against what it has."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from corral import link
from corral.gateway.activator import Activator
from corral.gateway.routes import Routes
from corral.link import Hello, Link, Message, ToGateway
from corral.model import GatewayId

REPORT_S = 1.0


class EngineLink:
    """See the module. `tell` may be given away before `serve` says whom the messages go to."""

    def __init__(self, path: str, gateway: GatewayId) -> None:
        self._path = path
        self._hello = Hello("gateway", gateway)
        self._link: Link[Any] | None = None
        self._lost = asyncio.Event()
        self._synced = asyncio.Event()
        self._routes: Routes | None = None
        self._activator: Activator | None = None
        self._takers: dict[type[Message], Callable[[Any], None]] = {}

    def tell(self, message: Message) -> None:
        """Send, or drop while the engine is away."""
        if self._link is not None:
            self._link.send(message)

    def serve(self, routes: Routes, activator: Activator) -> None:
        self._routes, self._activator = routes, activator
        self._takers = {
            link.RevisionPut: routes.put_revision,
            link.RevisionDrop: routes.drop_revision,
            link.RoutePut: routes.put,
            link.RouteDrop: routes.drop,
            link.TokenPut: routes.put_token,
            link.Assign: activator.assign,
            link.Release: activator.release,
            link.Retire: activator.retire,
            link.Gone: activator.gone,
            link.Block: activator.block,
            link.Queued: activator.queued,
            link.Watch: activator.watched.watch,
            link.Record: activator.watched.record,
        }

    async def synced(self, timeout_s: float) -> None:
        """Return at the first Synced, or after `timeout_s` without one."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._synced.wait()
        except TimeoutError:
            pass

    async def run(self) -> None:
        """Keep the link up; for ever."""
        await link.keep_connected(self._path, self._make, self._lost)

    async def report(self) -> None:
        """Tell each second what was seen; for ever."""
        assert self._activator is not None
        while True:
            await self._activator.has_seen.wait()
            await asyncio.sleep(REPORT_S)
            self._activator.report(monotonic())

    def _make(self) -> Link[Any]:
        return Link(ToGateway, hello=self._hello, opened=self._opened, receive=self._receive, closed=self._closed)

    def _opened(self, opened: Link[Any], hello: Hello) -> None:
        assert self._routes is not None and self._activator is not None
        self._link = opened
        self._routes.opened()
        self._activator.watched.opened()
        for message in self._activator.sync():
            self.tell(message)
        self._activator.wants()

    def _receive(self, _: Link[Any], message: Any) -> None:
        if isinstance(message, link.Synced):
            assert self._routes is not None
            self._routes.synced()
            self._synced.set()
        else:
            self._takers[type(message)](message)

    def _closed(self, closed: Link[Any]) -> None:
        if self._link is closed:
            self._link = None
        self._lost.set()
