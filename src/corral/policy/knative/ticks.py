"""When Knative decides: every two seconds, counted from the first question."""

from math import floor

from corral.policy.knative.autoscaler import TICK_S


class Ticks:
    """Moments two seconds apart, whether or not anybody is asked at each."""

    def __init__(self, begun: float) -> None:
        self._begun, self._number = begun, 1

    @property
    def next_at(self) -> float:
        return self._begun + self._number * TICK_S

    @property
    def last_at(self) -> float:
        return self._begun + (self._number - 1) * TICK_S

    def skip(self, now: float) -> None:
        """To the first one that is not past."""
        self._number = max(self._number, floor((now - self._begun) / TICK_S))
        while self.next_at < now:
            self._number += 1

    def at_or_after(self, moment: float) -> float:
        later = Ticks(self._begun)
        later.skip(moment)
        return later.next_at

    def take(self, now: float) -> None:
        """Those up to now are done."""
        self.skip(now)
        if self.next_at <= now:
            self._number += 1
