"""Instances that stay for a fixed time, because their owner said so."""

from corral.policy.corral.stakes import Stakes
from corral.policy.windows import PeakWindow


class IdleHold:
    """What was needed at once at any moment of the last `idle_s` stays."""

    judged = 0
    """Instances that a load does not keep, as each of them is judged by itself."""

    def __init__(self, idle_s: float) -> None:
        self._needed = PeakWindow(idle_s)

    def retune(self, idle_s: float) -> None:
        self._needed.span = idle_s

    def saw(self, instances: int, have: int, now: float, ago_s: float = 0.0) -> None:
        self._needed.add(instances, now)

    def joined(self, have: int, now: float) -> None:
        self._needed.add(have, now)

    def count(self, have: int, stakes: Stakes, now: float) -> int:
        self._needed.expire(now)
        return min(have, self._needed.highest)

    @property
    def next_at(self) -> float | None:
        return self._needed.expires_at

    @property
    def why(self) -> str:
        highest = self._needed.highest
        if highest == 0:
            return f"idle for {self._needed.span:g} s"
        return f"at most {highest} needed at once in the last {self._needed.span:g} s"

    @property
    def inputs(self) -> dict[str, float]:
        return {"needed_lately": self._needed.highest}
