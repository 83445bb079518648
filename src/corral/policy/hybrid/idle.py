"""How long one function was idle, from the end of a call to the next one's arrival: a histogram that is added to."""

from bisect import insort
from collections.abc import Iterable, Mapping
from math import sqrt

import msgspec

MINUTE_S = 60.0
LATEST = 8
"""Idle times remembered one by one: what a forecast is made from where the histogram's range is too short."""


class IdleTimes(msgspec.Struct):
    """Bins of `bin_s`, from 0 to the range `bins` x `bin_s`. Takes what was seen only: a function called by a timer has
    two or three bins."""

    bin_s: float = 60.0
    bins: int = 240
    counts: dict[int, int] = {}
    """Bin -> how often, without those never seen."""
    order: list[int] = []
    """The keys of `counts`, rising."""
    inside: int = 0
    """Sum of the counts."""
    squares: int = 0
    """Sum of their squares."""
    outside: int = 0
    """Idle times beyond the range."""
    latest: list[float] = []
    """The last LATEST, in seconds, the newest at the end; those beyond the range too."""
    last_at: float | None = None
    """When a call was last seen in flight, by whoever adds; None: never."""

    @property
    def seen(self) -> int:
        return self.inside + self.outside

    def add(self, idle_s: float, times: int = 1) -> None:
        self.latest = [*self.latest, *[idle_s] * min(times, LATEST)][-LATEST:]
        self._count(int(idle_s // self.bin_s), times)

    def fit(self, bin_s: float, bins: int) -> None:
        """To another width and range. What was counted is taken to lie in the middle of its bin; what lay beyond the
        range, right behind it."""
        if (bin_s, bins) == (self.bin_s, self.bins):
            return
        counted = [((each + 0.5) * self.bin_s, count) for each, count in self.counts.items()]
        counted.append((self.bins * self.bin_s, self.outside))
        self.bin_s, self.bins = bin_s, bins
        self._clear()
        for idle_s, count in counted:
            self._count(int(idle_s // bin_s), count)

    def recall(self, idle_minutes: Mapping[int, int]) -> None:
        """Of an engine that counted all that was added here, and more before: whole minutes -> how often. Nothing, if
        it counted less."""
        if sum(idle_minutes.values()) < self.seen:
            return
        self._clear()
        for minutes, count in idle_minutes.items():
            self._count(int((minutes + 0.5) * MINUTE_S // self.bin_s), count)

    @property
    def variation(self) -> float:
        """The coefficient of variation of the counts over all bins, those never seen included; 0.0: nothing is inside.
        All in one of n bins is the most, the root of n - 1; evenly spread is 0."""
        if not self.inside:
            return 0.0
        mean = self.inside / self.bins
        return sqrt(max(0.0, self.squares / self.bins - mean * mean)) / mean

    def head_s(self, percent: float) -> float:
        """The lower edge of the bin in which so many of those inside the range are reached, counted from the shortest.
        There is one."""
        return self._reach(self.order, percent * self.inside / 100) * self.bin_s

    def tail_s(self, percent: float) -> float:
        """The upper edge of that bin."""
        # From the longest, where the tail's few lie: the last bin with less than that part of them below it.
        left = self.inside - percent * self.inside / 100
        for each in reversed(self.order):
            left -= self.counts[each]
            if left < 0:
                return (each + 1) * self.bin_s
        return (self.order[0] + 1) * self.bin_s

    def _clear(self) -> None:
        """All but the latest."""
        self.counts, self.order = {}, []
        self.inside = self.squares = self.outside = 0

    def _reach(self, order: Iterable[int], needed: float) -> int:
        found = 0
        for found in order:
            needed -= self.counts[found]
            if needed <= 0:
                break
        return found

    def _count(self, number: int, times: int) -> None:
        if times <= 0:
            return
        if number >= self.bins:
            self.outside += times
            return
        before = self.counts.get(number, 0)
        if not before:
            insort(self.order, number)
        self.counts[number] = before + times
        self.inside += times
        self.squares += times * (2 * before + times)
