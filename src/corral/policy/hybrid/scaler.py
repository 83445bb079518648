"""The hybrid histogram behind the Scaler seam.

1. Calls wait: one start for each that no start is under way for, at once, as the platforms do that the paper is about.
2. While the histogram keeps the function loaded, it keeps each instance so long after its last call: what was needed at
   once within that time. Calls go to the instance used last, so the others were idle for that long.
3. When it unloads the function after its calls, what was needed at once within `idle_s` stays so long, if it was more
   than one: calls that overlap are no silence. Then one comes back before the next call is expected, and goes again."""

from corral.policy.hybrid.idle import IdleTimes
from corral.policy.hybrid.settings import HybridSettings
from corral.policy.hybrid.windows import Windows, foresee
from corral.policy.scaler import Decision, Situation, Terms
from corral.policy.windows import PeakWindow

SECOND_S = 1.0
ACTIVE_S = 1.25
"""So long after the last word of calls they are taken to go on: gateways tell of each second that was not silent."""

IDLE_S = 15.0
"""Where no `idle_s` is set."""

Phase = tuple[int, float | None, str]
"""Instances that the histogram wants, when it may want others (None: never by itself), and why."""


class Hybrid:
    def __init__(self, terms: Terms) -> None:
        self._idle, self._needed = IdleTimes(), PeakWindow(0.0)
        self._active_at = float("-inf")
        """When calls of this revision were last heard of."""
        self._windows: Windows | None = None
        """As of then; None: none ever was."""
        self.retune(terms)

    def retune(self, terms: Terms) -> None:
        assert isinstance(terms.settings, HybridSettings)
        self._settings = terms.settings
        if isinstance(terms.memory, IdleTimes):
            self._idle = terms.memory
        self._idle.fit(terms.settings.bin_s, terms.settings.bins)
        self._idle_s = self._needed.span = IDLE_S if terms.idle_s is None else terms.idle_s
        if self._windows is not None:
            self._foresee()

    def decide(self, seen: Situation, now: float) -> Decision:
        self._learn(seen, now)
        if seen.waiting:
            return self._starts(seen, now)
        desired, until, why = self._phase(now)
        needed = self._needed.highest
        if needed > 1 or (needed and self._windows is None):
            until = _earliest(until, self._needed.expires_at)
            why = f"{needed} needed at once in the last {self._needed.span:.0f} s"
            desired = max(desired, min(needed, seen.have))
        return Decision(desired, until, why, self._inputs(seen))

    # -- what is learnt -------------------------------------------------------------------------------------

    def _learn(self, seen: Situation, now: float) -> None:
        if seen.second is not None:
            self._remember(seen.second.from_idle, now)
            self._needed.add(_instances(seen.second.peak, seen), now)
        if seen.waiting:
            self._needed.add(_instances(seen.waiting + seen.executing, seen), now)
        if seen.waiting or seen.second is not None:
            self._active_at = now
            self._foresee()
        if seen.joined:
            # A new one gets its time to be used, whatever was seen before it.
            self._needed.add(seen.have, now)
        self._needed.expire(now)

    def _foresee(self) -> None:
        self._windows = windows = foresee(self._idle, self._settings)
        self._needed.span = max(self._idle_s, 0.0 if windows.load_s else windows.keep_s)

    def _remember(self, from_idle: int, now: float) -> None:
        """The first call came after a silence that ended at the begin of this second at the earliest; further ones
        came within it."""
        last_at, self._idle.last_at = self._idle.last_at, now
        if not from_idle:
            return
        if last_at is not None:
            self._idle.add(max(0.0, now - SECOND_S - last_at))
        if from_idle > 1:
            self._idle.add(0.0, from_idle - 1)

    # -- deciding -------------------------------------------------------------------------------------------

    def _starts(self, seen: Situation, now: float) -> Decision:
        starts = max(0, _instances(seen.waiting, seen) - seen.starting)
        why = f"{seen.waiting} waiting, {seen.starting} starting"
        until = _earliest(now + ACTIVE_S, self._needed.expires_at)
        return Decision(seen.have + starts, until, why, self._inputs(seen))

    def _phase(self, now: float) -> Phase:
        if self._windows is None:
            return 0, None, f"not called yet, idle for {self._idle_s:g} s"
        idle_at = self._active_at + ACTIVE_S
        if now < idle_at:
            return 1, idle_at, "in use"
        load_at, keep_until = self._active_at + self._windows.load_s, self._active_at + self._windows.keep_s
        if now < load_at:
            return 0, load_at, self._windows.why
        if now < keep_until:
            return 1, keep_until, self._windows.why
        return 0, None, self._windows.why

    def _inputs(self, seen: Situation) -> dict[str, float]:
        inputs: dict[str, float] = {
            "waiting": seen.waiting,
            "ready": seen.ready,
            "starting": seen.starting,
            "needed_lately": self._needed.highest,
            "idle_times": self._idle.seen,
        }
        if self._windows is not None:
            inputs["load_s"] = round(self._windows.load_s, 3)
            inputs["keep_s"] = round(self._windows.keep_s, 3)
        return inputs


def _instances(calls: int, seen: Situation) -> int:
    return -(-calls // seen.concurrency)


def _earliest(*moments: float | None) -> float | None:
    return min((each for each in moments if each is not None), default=None)
