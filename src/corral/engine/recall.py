"""What was written down of functions' idle times, told to rules that go by them: after a restart of the engine, and
when a function that serves gets such a rule."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping

from corral.engine.demand import DAYS, Demand
from corral.errors import StoreFailed
from corral.model import FunctionKey

log = logging.getLogger("corral.engine.recall")

Tell = Callable[[FunctionKey, str, Mapping[int, int]], None]
"""(function, engine, whole minutes -> how often it was idle for so long)."""


class Recall:
    """`run` does it behind the calls, one function after the other. Each is told once to each engine's rule, which
    learns by itself from then on."""

    def __init__(self, demand: Demand, tell: Tell) -> None:
        self._demand, self._tell = demand, tell
        self._known: dict[FunctionKey, set[str]] = {}
        """Engines that were told, or are about to be."""
        self._due: dict[tuple[FunctionKey, str], None] = {}
        self._has_work = asyncio.Event()

    def due(self, key: FunctionKey, engine: str) -> None:
        """The function is scaled by this engine. Again is nothing."""
        known = self._known.setdefault(key, set())
        if engine not in known:
            known.add(engine)
            self._due[key, engine] = None
            self._has_work.set()

    def forget(self, key: FunctionKey) -> None:
        """It was deleted."""
        for engine in self._known.pop(key, ()):
            self._due.pop((key, engine), None)

    async def run(self) -> None:
        """Ends only by cancellation."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._due:
                key, engine = next(iter(self._due))
                del self._due[key, engine]
                await self._recall(key, engine)

    async def _recall(self, key: FunctionKey, engine: str) -> None:
        try:
            days = await self._demand.of(key, DAYS)
        except StoreFailed as fault:
            fields = {"function": key, "why": fault.message}
            log.warning(
                "what was seen of a function's idle times could not be read: its rule learns anew", extra=fields
            )
            return
        idle_minutes = sum((Counter(dict(day.idle_times)) for day in days), Counter[int]())
        # It may have been deleted meanwhile, and the next one of its name has nothing to do with this.
        if idle_minutes and engine in self._known.get(key, ()):
            self._tell(key, engine, dict(idle_minutes))
