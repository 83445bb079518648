"""A number that changes, and its mean in each minute."""

from collections.abc import Sequence


class Gauge:
    def __init__(self, minutes: int) -> None:
        self.sums = [0.0] * minutes
        """Of each minute, the integral over its seconds."""
        self._number = 0
        self._since = 0.0

    def change(self, by: int, now: float) -> None:
        """`now` never goes back; after the last minute nothing counts."""
        self._pass(now)
        self._number += by

    def close(self, now: float) -> None:
        self._pass(now)

    @property
    def means(self) -> Sequence[float]:
        return [each / 60.0 for each in self.sums]

    def _pass(self, now: float) -> None:
        end = min(now, 60.0 * len(self.sums))
        while self._since < end:
            minute = int(self._since // 60)
            until = min(end, 60.0 * (minute + 1))
            self.sums[minute] += self._number * (until - self._since)
            self._since = until
