"""The default scaler: start at once for the first waiting call, double while calls wait, settle at what the load needs.

1. Calls wait and nothing is starting: one start, at once.
2. The oldest call has waited more than `double_after_s`: as many starts again as are in progress, never more than there
   are calls waiting, nor more than twice the cores in progress. Unlike a rule that sizes by the queue, a burst that few
   instances can work off does not start one for each of its calls.
3. Steady size = ceil(rate x mean service time / (0.7 x concurrency)): 30 % is left for calls that arrive together;
   `utilization_percent` says how much.
4. What is worth its memory stays (upkeep.py). Where `idle_s` is set instead, what was needed at once at any moment of
   it stays, no more and no less. Calls go to the instance used last, so those above were idle for so long."""

from math import ceil

from corral.policy.corral.habits import Habits
from corral.policy.corral.idle import IdleHold
from corral.policy.corral.odds import Odds
from corral.policy.corral.settings import CorralSettings
from corral.policy.corral.stakes import Stakes
from corral.policy.corral.upkeep import Upkeep
from corral.policy.scaler import Decision, Situation, Terms
from corral.policy.windows import SumWindow

RATE_SPAN_S = 10.0
SECOND_S = 1.0
START_S = 0.01
"""What a start is taken to cost until one was seen."""
START_GAIN = 1 / 8
"""How far each further start moves what one is taken to cost: single ones differ by much."""
GIB = 1 / 16
"""Of an instance of which nothing is known."""
MIB_IN_GIB = 1024


class Corral:
    def __init__(self, terms: Terms) -> None:
        self._load = SumWindow(RATE_SPAN_S)
        self._habits = terms.memory if isinstance(terms.memory, Habits) else Habits()
        self._odds = terms.common if isinstance(terms.common, Odds) else Odds()
        self._hold: Upkeep | IdleHold | None = None
        self._start_s = 0.0
        self.retune(terms)

    def retune(self, terms: Terms) -> None:
        assert isinstance(terms.settings, CorralSettings)
        self._busy = terms.settings.utilization_percent / 100
        self._old_s = terms.settings.double_after_s
        self._second_gib_min = terms.settings.second_gib_min
        self._starts_max = 2 * terms.cores
        if terms.idle_s is None:
            self._load.span_s = RATE_SPAN_S
            self._hold = self._upkeep(terms.trigger)
        else:
            # Not longer than the idle time, or the memory of a rate would outlive the need; not shorter than a second,
            # the time an observation covers.
            self._load.span_s = min(RATE_SPAN_S, max(1.0, terms.idle_s))
            self._hold = self._idle_hold(terms.idle_s)

    def _upkeep(self, trigger: str) -> Upkeep:
        if not isinstance(self._hold, Upkeep):
            return Upkeep(self._habits, self._odds, trigger)
        self._hold.look_again()
        return self._hold

    def _idle_hold(self, idle_s: float) -> IdleHold:
        if not isinstance(self._hold, IdleHold):
            return IdleHold(idle_s)
        self._hold.retune(idle_s)
        return self._hold

    def decide(self, seen: Situation, now: float) -> Decision:
        assert self._hold is not None
        self._learn(seen, now)
        steady = ceil(self._load.rate * self._load.service_s / (self._busy * seen.concurrency))
        room = max(0, self._starts_max - seen.starting)
        kept = self._hold.count(seen.have, self._stakes(seen), now)
        if seen.waiting:
            starts, why = self._starts(seen, room)
            desired = seen.have + starts
        else:
            desired, why = kept, self._hold.why
        is_loaded = steady > max(self._hold.judged, desired)
        if is_loaded:
            desired = max(desired, min(steady, seen.have + room))
            load = f"{self._load.rate:.3g} calls/s of {self._load.service_s * 1000:.3g} ms"
            why = f"{load} need {steady} at {self._busy:.0%} of {seen.concurrency} at once"
        return Decision(desired, self._next_at(is_loaded), why, self._inputs(seen, steady))

    def _inputs(self, seen: Situation, steady: int) -> dict[str, float]:
        assert self._hold is not None
        return {
            "waiting": seen.waiting,
            "oldest_wait_s": round(seen.oldest_wait_s, 4),
            "ready": seen.ready,
            "starting": seen.starting,
            "calls_per_s": round(self._load.rate, 3),
            "service_s": round(self._load.service_s, 6),
            "steady": steady,
            **self._hold.inputs,
        }

    def _learn(self, seen: Situation, now: float) -> None:
        assert self._hold is not None
        if seen.second is not None:
            self._load.add(seen.second, now)
            self._hold.saw(_instances(seen.second.peak, seen), seen.have, now, ago_s=SECOND_S / 2)
        if seen.waiting:
            self._hold.saw(_instances(seen.waiting + seen.executing, seen), seen.have, now)
        if seen.joined:
            # A new one gets its time to be used, whatever was seen before it.
            self._hold.joined(seen.have, now)
            if seen.start_s:
                self._start_s += (seen.start_s - self._start_s) * (START_GAIN if self._start_s else 1.0)
        self._load.expire(now)

    def _stakes(self, seen: Situation) -> Stakes:
        return Stakes(
            gib=seen.memory_mib / MIB_IN_GIB or GIB,
            start_s=self._start_s or seen.start_s or START_S,
            service_s=self._load.service_s,
            second_gib_min=self._second_gib_min,
        )

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

    def _next_at(self, is_loaded: bool) -> float | None:
        """Without news the load only falls: that matters where it is what decides."""
        assert self._hold is not None
        load_at = self._load.expires_at if is_loaded else None
        return min((at for at in (load_at, self._hold.next_at) if at is not None), default=None)


def _instances(calls: int, seen: Situation) -> int:
    return -(-calls // seen.concurrency)
