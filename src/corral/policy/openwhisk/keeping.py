"""How long containers stay without an activation: OpenWhisk's pause grace, idle time and keeping."""

from corral.policy.openwhisk.settings import OpenWhiskSettings
from corral.policy.scaler import Situation
from corral.policy.windows import PeakWindow


class Keeping:
    """Calls go to the container used last, so those above the most that were needed at once in a span of time were
    idle for as long. A new one counts as needed."""

    def __init__(self, settings: OpenWhiskSettings) -> None:
        self._needed, self._kept = PeakWindow(0.0), PeakWindow(0.0)
        self.retune(settings)

    def retune(self, settings: OpenWhiskSettings) -> None:
        self._keeping = settings.keeping
        self._needed.span = settings.idle_s
        self._kept.span = settings.idle_s + settings.keeping_s

    def learn(self, seen: Situation, now: float) -> None:
        needed = 0
        if seen.second is not None:
            needed = -(-seen.second.peak // seen.concurrency)
        if seen.waiting:
            needed = max(needed, -(-(seen.waiting + seen.executing) // seen.concurrency))
        if seen.joined:
            needed = max(needed, seen.have)
        self._needed.expire(now)
        self._kept.expire(now)
        if needed:
            self.need(needed, now)

    def need(self, containers: int, now: float) -> None:
        """So many are needed at once, also those that are only about to start."""
        # Both, also while none is kept: `keeping` may be set for those that stand.
        self._needed.add(containers, now)
        self._kept.add(containers, now)

    @property
    def least(self) -> int:
        """Containers that stay."""
        return max(self._needed.highest, min(self._keeping, self._kept.highest) if self._keeping else 0)

    @property
    def expires_at(self) -> float | None:
        """When it may be less; None: nothing stays."""
        ends = (self._needed.expires_at, self._kept.expires_at if self._keeping else None)
        return min((at for at in ends if at is not None), default=None)
