"""The default scaler: start at once for the first waiting call, double while calls wait, settle at what the load needs.

1. Calls wait and nothing is starting: one start, at once.
2. The oldest call has waited more than `double_after_s`: as many starts again as are in progress, never more than there
   are calls waiting, nor more than twice the cores in progress. Unlike a rule that sizes by the queue, a burst that few
   instances can work off does not start one for each of its calls.
3. Steady size = ceil(rate x mean service time / (0.7 x concurrency)): 30 % is left for calls that arrive together;
   `utilization_percent` says how much.
4. What was needed at once at any moment of the last `idle_s` stays. Calls go to the instance used last, so those
   above that number were idle for that long."""

from math import ceil
from typing import Annotated

from msgspec import Meta

from corral.policy.scaler import Decision, Situation, Terms
from corral.policy.settings import Settings
from corral.policy.windows import PeakWindow, SumWindow

RATE_SPAN_S = 10.0


class CorralSettings(Settings, frozen=True, kw_only=True):
    utilization_percent: Annotated[float, Meta(ge=10, le=100)] = 70.0
    """How much of an instance's concurrency a steady load may take; the rest is for calls that arrive together."""
    double_after_s: Annotated[float, Meta(ge=0.001, le=60)] = 0.05
    """Seconds the oldest call waits before the starts in progress are doubled."""


class Corral:
    def __init__(self, terms: Terms) -> None:
        self._load, self._needed = SumWindow(0.0), PeakWindow(0.0)
        self.retune(terms)

    def retune(self, terms: Terms) -> None:
        assert isinstance(terms.settings, CorralSettings)
        self._busy = terms.settings.utilization_percent / 100
        self._old_s = terms.settings.double_after_s
        self._starts_max = 2 * terms.cores
        self._idle_s = self._needed.span = terms.idle_s
        # Not longer than the idle time, or the memory of a rate would outlive the need; not shorter than a second,
        # the time an observation covers.
        self._load.span_s = min(RATE_SPAN_S, max(1.0, terms.idle_s))

    def decide(self, seen: Situation, now: float) -> Decision:
        self._learn(seen, now)
        steady = ceil(self._load.rate * self._load.service_s / (self._busy * seen.concurrency))
        room = max(0, self._starts_max - seen.starting)
        if seen.waiting:
            starts, why = self._starts(seen, room)
        else:
            starts, why = 0, self._holding(seen)
        kept = seen.have if seen.waiting else min(seen.have, self._needed.highest)
        desired = kept + starts
        if steady > desired:
            desired = max(desired, min(steady, seen.have + room))
            load = f"{self._load.rate:.3g} calls/s of {self._load.service_s * 1000:.3g} ms"
            why = f"{load} need {steady} at {self._busy:.0%} of {seen.concurrency} at once"
        return Decision(desired, self._next_at() if seen.have or desired else None, why, self._inputs(seen, steady))

    def _inputs(self, seen: Situation, steady: int) -> dict[str, float]:
        return {
            "waiting": seen.waiting,
            "oldest_wait_s": round(seen.oldest_wait_s, 4),
            "ready": seen.ready,
            "starting": seen.starting,
            "calls_per_s": round(self._load.rate, 3),
            "service_s": round(self._load.service_s, 6),
            "steady": steady,
            "needed_lately": self._needed.highest,
        }

    def _learn(self, seen: Situation, now: float) -> None:
        if seen.second is not None:
            self._load.add(seen.second, now)
            self._needed.add(_instances(seen.second.peak, seen), now)
        if seen.waiting:
            self._needed.add(_instances(seen.waiting + seen.executing, seen), now)
        if seen.joined:
            # A new one gets its time to be used, whatever was seen before it.
            self._needed.add(seen.have, now)
        self._load.expire(now)
        self._needed.expire(now)

    def _starts(self, seen: Situation, room: int) -> tuple[int, str]:
        calls = "1 call" if seen.waiting == 1 else f"{seen.waiting} calls"
        waiting = f"{calls} waiting, oldest {seen.oldest_wait_s * 1000:.0f} ms"
        if seen.starting == 0:
            return 1, f"{waiting}; first start"
        if seen.oldest_wait_s <= self._old_s:
            return 0, f"{waiting}; {seen.starting} starting"
        # Those in progress count against the calls: a slow start of one call's instance is no reason for another.
        starts = min(seen.starting, _instances(seen.waiting, seen) - seen.starting, room)
        if starts <= 0:
            return 0, f"{waiting}; {seen.starting} starting, {'enough for them' if room else 'the most at once'}"
        return starts, f"{waiting}; doubling {seen.starting} → {seen.starting + starts} starts"

    def _holding(self, seen: Situation) -> str:
        highest = self._needed.highest
        if highest == 0:
            return f"idle for {self._idle_s:g} s"
        return f"at most {highest} needed at once in the last {self._idle_s:g} s"

    def _next_at(self) -> float | None:
        ends = [at for at in (self._load.expires_at, self._needed.expires_at) if at is not None]
        return min(ends, default=None)


def _instances(calls: int, seen: Situation) -> int:
    return -(-calls // seen.concurrency)
