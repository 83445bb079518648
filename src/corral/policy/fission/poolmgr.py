"""Fission's pool manager: instances are taken from a pool of unbound ones as calls need them.

1. A call that finds no instance with room gets one of its own, however many calls that one can hold. (There an instance
   that starts has no room yet, so that a burst of first calls begins one for each; here it has.)
2. At most `pending_max` start at once, and no more than the function's `max` in all. There a call beyond is refused
   with 429; here it waits, up to its hold limit.
3. The reaper ends what was idle for the idle timeout, but leaves `retain_pods`; the provisioner keeps its own number.
Source: Fission, pkg/executor/fscache/poolcache.go, pkg/executor/reaper/idle, pkg/router/endpointcache."""

from corral.policy.fission.provisioner import Provisioner
from corral.policy.fission.reaper import Reaper
from corral.policy.fission.settings import FissionSettings
from corral.policy.fission.windows import Provision, read_windows
from corral.policy.scaler import Decision, Situation

WAITING_S = 1.5
"""Gateways repeat each second that calls wait: what they said holds a little longer."""


class PoolManager:
    def __init__(self, settings: FissionSettings, now: float) -> None:
        self._settings = settings
        self._reaper = Reaper(now, settings.idle_timeout_s)
        self._provisioner = Provisioner(_provision(settings))
        self._lacking = 0
        """Instances that had to wait until others have started, as far as is known until `_lacking_until`."""
        self._lacking_until = now

    def retune(self, settings: FissionSettings) -> None:
        self._settings = settings
        self._reaper.retune(settings.idle_timeout_s)
        self._provisioner.retune(_provision(settings))

    def decide(self, seen: Situation, now: float) -> Decision:
        self._learn(seen, now)
        starts = self._starts(seen, now)
        used, floor = self._reaper.used(now), self._provisioner.floor(seen, now)
        kept = seen.have if seen.waiting else min(seen.have, max(used, self._settings.retain_pods))
        desired = max(kept + starts, floor)
        # What the reaper may not end it need not be asked about.
        may_end = desired > max(floor, self._settings.retain_pods)
        moments = [self._reaper.next_at(now) if may_end else None, self._provisioner.next_at]
        next_at = min((at for at in moments if at is not None), default=None)
        inputs = {
            "waiting": seen.waiting,
            "ready": seen.ready,
            "starting": seen.starting,
            "lacking": self._lacking,
            "used_lately": used,
            "provisioned": self._provisioner.target,
        }
        why = self._provisioner.why if floor == desired > kept + starts else self._why(seen, desired, starts, used)
        return Decision(desired, next_at, why, inputs)

    def _learn(self, seen: Situation, now: float) -> None:
        if seen.second is not None:
            self._reaper.saw(seen.second.peak, now)
        if seen.joined:
            self._reaper.saw(seen.have, now)
        if seen.waiting:
            # While one waits, those that stand and start have no room: they hold all that is executed.
            needed = -(-seen.executing // seen.concurrency) + seen.waiting
            self._lacking, self._lacking_until = max(0, needed - seen.have), now + WAITING_S
            self._reaper.saw(seen.waiting + seen.executing, now)

    def _starts(self, seen: Situation, now: float) -> int:
        """As many of those that lack as may start now."""
        if now >= self._lacking_until:
            self._lacking = 0
        starts = min(self._lacking, max(0, self._settings.pending_max - seen.starting))
        self._lacking -= starts
        return starts

    def _why(self, seen: Situation, desired: int, starts: int, used: int) -> str:
        if seen.waiting or starts:
            waiting = seen.waiting or starts
            calls = "1 call waits" if waiting == 1 else f"{waiting} calls wait"
            pending = f"; {self._settings.pending_max} start at once at most" if self._lacking else ""
            return f"{calls}, each for an instance of its own{pending}"
        if desired and desired == self._settings.retain_pods:
            return f"{desired} retained"
        timeout_s = self._settings.idle_timeout_s
        return f"{used} used at once in the last {timeout_s:g} s" if used else f"idle for {timeout_s:g} s"


def _provision(settings: FissionSettings) -> Provision:
    return Provision(settings.provisioned, read_windows(settings.windows))
