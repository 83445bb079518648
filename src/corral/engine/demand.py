"""The demand for each function: calls in each minute and idle times, kept for 14 days. For people and for whoever
chooses a scaling rule by what happened; no instance waits for it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import msgspec

from corral.clock import Clock
from corral.engine.tally import MINUTE_S, Tally
from corral.errors import StoreFailed
from corral.model import FunctionKey, Observation
from corral.ports import DemandStore, MinuteSeen

log = logging.getLogger("corral.engine.demand")

DAYS = 14
DAY_MINUTES = 24 * 60
AT_ONCE = 500
"""Functions in one write: a deployment that comes meanwhile waits for some 5 ms, not for all of them."""


class DaySeen(msgspec.Struct, frozen=True, kw_only=True):
    """One day of one function, of those with calls."""

    day: int
    """Since 1970, UTC."""
    minutes: Sequence[tuple[int, int]]
    """(minute of the day, calls), in order, of those with calls."""
    idle_times: Sequence[tuple[int, int]]
    """(whole minutes, how often), in order."""

    @property
    def calls(self) -> int:
        return sum(calls for _, calls in self.minutes)


class Demand:
    """`run` writes once a minute, when there is something; a crash loses the minute that was not over."""

    def __init__(self, store: DemandStore, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._tally = Tally()
        self._has_some = asyncio.Event()

    def seen(self, key: FunctionKey, second: Observation) -> None:
        self._tally.seen(key, second, self._clock.monotonic(), self._clock.wall())
        self._has_some.set()

    def forget(self, key: FunctionKey) -> None:
        self._tally.forget(key)

    async def of(self, key: FunctionKey, days: int) -> Sequence[DaySeen]:
        """The last `days` of them, today included, the oldest first; the minute that is not over as well."""
        today = int(self._clock.wall() // MINUTE_S) // DAY_MINUTES
        first_minute = (today - days + 1) * DAY_MINUTES
        unwritten = self._tally.of(key)  # before the await: what is written meanwhile must not count twice
        seen = [*await self._store.load(key, first_minute), *unwritten]
        return by_day([each for each in seen if each.minute // DAY_MINUTES <= today])

    async def restore(self) -> None:
        """At start."""
        self._tally.restore(await self._store.last_calls(), self._clock.wall(), self._clock.monotonic())

    async def run(self) -> None:
        """Ends only by cancellation. Nothing wakes up while nothing is called."""
        while True:
            await self._has_some.wait()
            await asyncio.sleep(MINUTE_S - self._clock.wall() % MINUTE_S)
            self._has_some.clear()
            await self.write()

    async def write(self) -> None:
        """Everything seen so far."""
        try:
            taken = self._tally.take()
            for first in range(0, len(taken), AT_ONCE):
                await self._store.add(taken[first : first + AT_ONCE])
        except StoreFailed as fault:
            log.warning("a minute's calls were not written down", extra={"why": fault.message})


def by_day(seen: Sequence[MinuteSeen]) -> Sequence[DaySeen]:
    """What was seen of one function, in any order."""
    days = []
    ordered = sorted(seen, key=lambda each: each.minute)
    for day, minutes in groupby(ordered, key=lambda each: each.minute // DAY_MINUTES):
        calls: Counter[int] = Counter()
        idle_times: Counter[int] = Counter()
        for each in minutes:
            calls[each.minute % DAY_MINUTES] += each.calls
            idle_times.update(each.idle_times)
        counted = [(minute, count) for minute, count in sorted(calls.items()) if count]
        days.append(DaySeen(day=day, minutes=counted, idle_times=sorted(idle_times.items())))
    return days
