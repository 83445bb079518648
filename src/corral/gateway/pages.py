"""The two pages the gateway answers itself: /healthz and /metrics."""

import asyncio

from corral.errors import CorralError
from corral.gateway.call import Answer, Explain, Reply
from corral.gateway.http import Request
from corral.gateway.relay import Relay
from corral.gateway.routes import Routes
from corral.gateway.stats import Stats
from corral.observe.metrics import page

_TEXT = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"


def healthz(request: Request, answer: Answer) -> None:
    """200 as soon as the gateway serves."""
    answer.reply(Reply(200, b"content-type: text/plain; charset=utf-8\r\n", b"ok\n"))


class Metrics:
    """The gateway's own metrics and behind them the engine's; with the engine away the gateway's only."""

    def __init__(self, stats: Stats, routes: Routes, relay: Relay, explain: Explain) -> None:
        self._stats = stats
        self._routes = routes
        self._relay = relay
        self._explain = explain
        self._fetching: set[asyncio.Task[None]] = set()

    def __call__(self, request: Request, answer: Answer) -> "Scrape | None":
        try:
            if self._routes.everything_private:
                self._routes.admit_any(request.authorization)
        except CorralError as fault:
            answer.reply(self._explain(fault, request.request_id))
            return None
        scrape = Scrape(answer)
        task = asyncio.get_running_loop().create_task(self._fetch(scrape), name="fetch the engine's metrics")
        self._fetching.add(task)
        task.add_done_callback(self._fetching.discard)
        return scrape

    async def _fetch(self, scrape: "Scrape") -> None:
        theirs = await self._relay.fetch(b"/metrics")
        scrape.give(await page(self._stats.lines()) + (theirs or b""))

    def close(self) -> None:
        for task in self._fetching:
            task.cancel()


class Scrape:
    """A door's Taker for a request whose body does not matter."""

    body_max = 0

    def __init__(self, answer: Answer) -> None:
        self._answer: Answer | None = answer

    def give(self, page: bytes) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.reply(Reply(200, _TEXT, page))

    def left(self) -> None:
        self._answer = None

    def whole(self, body: bytes) -> None: ...
    def open(self) -> None: ...
    def data(self, part: bytes) -> None: ...
    def end(self) -> None: ...
    def drained(self) -> None: ...
