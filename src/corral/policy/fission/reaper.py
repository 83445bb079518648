"""Fission's idle reaper: every five seconds it ends what has had no call for the idle timeout.

How long each instance was idle is not known here, but how many were needed at once is: calls go to the instance with
fewest calls, and of those to the one that began first, so of n that stand exactly the first k had calls when at most k
came together. The others were idle for as long as that holds."""

from math import ceil, floor

from corral.policy.windows import PeakWindow

TICK_S = 5.0
ROUNDING = 1e-6


class Reaper:
    """Its ticks count from its first question on."""

    def __init__(self, begun: float, idle_timeout_s: float) -> None:
        self._begun = begun
        self._used = PeakWindow(idle_timeout_s)

    def retune(self, idle_timeout_s: float) -> None:
        self._used.span = idle_timeout_s

    def saw(self, calls: int, now: float) -> None:
        """So many were in flight together; or so many instances are new, which counts as a call of each."""
        self._used.add(calls, now)

    def used(self, now: float) -> int:
        """Instances that were not idle for too long at its last tick."""
        self._used.expire(self._begun + self._ticks(now) * TICK_S)
        return self._used.highest

    def next_at(self, now: float) -> float | None:
        """The tick at which there may be something to end; None: none will be. Ask `used` before."""
        expires_at = self._used.expires_at
        if expires_at is None:
            return None
        due = ceil((expires_at - self._begun) / TICK_S - ROUNDING)
        return self._begun + max(due, self._ticks(now) + 1) * TICK_S

    def _ticks(self, now: float) -> int:
        """How many there were."""
        return floor((now - self._begun) / TICK_S + ROUNDING)
