"""A window of one-second buckets, as Knative's autoscaler averages them.

Source: serving, pkg/autoscaler/aggregation (TimedFloat64Buckets, WeightedFloat64Buckets). Seconds are whole, on any
clock that never goes back; values of one second are added up, as those of several gateways must be."""

PRECISION = 6
"""Digits an average is rounded to: what subtraction leaves behind must not count as a call."""
LEAST_SMOOTHING = 0.2
COVERED = 0.9999
"""Of the weights, within the window."""


class Buckets:
    def __init__(self, count: int) -> None:
        self._count = count
        self._values: list[float] = []
        """Empty until the first write: most revisions are idle."""
        self._total = 0.0
        self._first = self._last = 0
        """Seconds of the first and the last write that count."""

    def record(self, second: int, value: float) -> None:
        """Late values count while they are inside the window before the last one; then they are dropped."""
        if not self._values:
            self._values = [0.0] * self._count
            self._first = self._last = second
        elif second - self._last >= self._count:
            self._values = [0.0] * self._count
            self._total, self._first, self._last = 0.0, second, second
        elif second > self._last:
            self._clear_until(second)
        elif second <= self._last - self._count:
            return
        self._first = min(self._first, second)
        self._values[second % self._count] += value
        self._total += value

    def pass_silence(self, second: int) -> None:
        """Every second since the last write until `second`, which was looked at, had the value 0."""
        if not self._values:
            self.record(second, 0.0)
        elif second - self._last >= self._count:
            self._values = [0.0] * self._count
            self._total, self._last = 0.0, second
        elif second > self._last:
            self._clear_until(second)

    def average(self, now: int) -> float:
        """Mean of the seconds from the first write on, at most of the whole window; 0.0 when nothing is in it."""
        silent = now - self._last
        if not self._values or silent >= self._count:
            return 0.0
        written = self._last - self._first + 1
        if silent <= 0:
            return round(self._total / min(written, self._count), PRECISION)
        expired = sum(self._values[second % self._count] for second in range(self._last + 1, now + 1))
        return round((self._total - expired) / min(written, self._count - silent), PRECISION)

    def weighted(self, now: int) -> float:
        """Mean with weights that fall from second to second into the past."""
        silent = max(0, now - self._last)
        if not self._values or silent >= self._count:
            return 0.0
        share = smoothing(self._count)
        weight, average = share * (1 - share) ** silent, 0.0
        for age in range(self._count - silent):
            average += self._values[(self._last - age) % self._count] * weight
            weight *= 1 - share
        return average

    def is_empty(self, now: int) -> bool:
        """Nothing was written for longer than the window."""
        return not self._values or now - self._last > self._count

    @property
    def is_zero(self) -> bool:
        return not any(self._values)

    @property
    def empty_at(self) -> int:
        """The first second at which it is empty, if nothing is written."""
        return self._last + self._count + 1

    def resize(self, count: int) -> None:
        """The newest seconds stay, as many as fit. As there, all that fit count from then on, written or not."""
        if count == self._count:
            return
        old, self._values = self._values, [0.0] * count if self._values else []
        if old:
            kept = range(self._last, self._last - min(count, self._count), -1)
            for second in kept:
                self._values[second % count] = old[second % self._count]
            self._total = sum(self._values)
            self._first = kept[-1]
        self._count = count

    def _clear_until(self, second: int) -> None:
        for expired in range(self._last + 1, second + 1):
            self._total -= self._values[expired % self._count]
            self._values[expired % self._count] = 0.0
        self._last = second


def smoothing(count: int) -> float:
    """The weight of the newest second in a window of `count`."""
    uncovered: float = (1 - COVERED) ** (1 / count)
    return max(1 - uncovered, LEAST_SMOOTHING)
