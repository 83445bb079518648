"""What was seen of one function's calls, as an engine keeps it: how many in each minute. Moments are drawn from it."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

MINUTE_S = 60.0
DENSE = 12
"""A minute with more calls is taken for one of use throughout: no silence in it is worth a start."""
MOMENTS_MAX = 4_000
"""Of one function, 1 s of reckoning: of one that is called each minute its last three days tell as much as a fortnight,
and of one that is called each five minutes it is a fortnight."""
REGULAR = 0.8
"""A function is called by the clock when this part of its minutes are equally far apart, and has equally many calls."""


class Moment(NamedTuple):
    at: float
    """Seconds since 1970."""
    lasts_s: float


class Past(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    minutes: Sequence[tuple[int, int]]
    """(minute since 1970, calls), rising, of those with calls."""
    until: int
    """The minute in which what was seen ends, this one included."""
    idle_minutes: Mapping[int, int] = {}
    """Whole minutes -> how often it was idle for so long between two calls."""
    memory_mib: float
    start_s: float
    """How long a call waits for a new instance."""
    service_s: float = 0.0
    """How long a call takes."""
    trigger: str = "http"

    @property
    def calls(self) -> int:
        return sum(calls for _, calls in self.minutes)

    @property
    def silences(self) -> int:
        """Idle times between calls."""
        return sum(self.idle_minutes.values())

    def newest(self) -> "Past":
        """Without the oldest minutes of one with more than MOMENTS_MAX moments."""
        room, first = MOMENTS_MAX, len(self.minutes)
        while first and room >= (needed := _moments(self.minutes[first - 1][1])):
            room -= needed
            first -= 1
        return msgspec.structs.replace(self, minutes=self.minutes[first:]) if first else self

    def moments(self) -> Iterator[Moment]:
        """When it was called. Where in a minute is not known: calls by the clock are spread evenly, so that one each
        ten minutes comes each ten minutes; others are drawn, the same each time."""
        rng = random.Random(self.name)
        is_regular = self._is_regular
        for minute, calls in self.minutes:
            if calls > DENSE:
                yield Moment(MINUTE_S * minute, MINUTE_S)
                continue
            if is_regular:
                parts = [number / (calls + 1) for number in range(1, calls + 1)]
            else:
                parts = sorted(rng.random() for _ in range(calls))
            for part in parts:
                yield Moment(MINUTE_S * (minute + part), self.service_s)

    @property
    def _is_regular(self) -> bool:
        gaps = Counter(after - before for (before, _), (after, _) in pairwise(self.minutes))
        counts = Counter(calls for _, calls in self.minutes)
        return all(max(each.values(), default=0) >= REGULAR * each.total() for each in (gaps, counts))

    def quantile_min(self, part: float) -> int:
        """The least length of a silence, in whole minutes, that this part of them does not exceed. There is one."""
        left = part * self.silences
        for minutes in sorted(self.idle_minutes):
            left -= self.idle_minutes[minutes]
            if left <= 0:
                return minutes
        return max(self.idle_minutes)


def _moments(calls: int) -> int:
    return 1 if calls > DENSE else calls
