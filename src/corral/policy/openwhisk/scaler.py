"""OpenWhisk's rules behind the Scaler seam: which containers are added, and how long they stay without an activation.

The classic scheduler decides for each activation: one that finds no free container gets a new one at once, while memory
lasts; what is short of memory waits, and the Roster makes room. The newer one decides for the queue; see fpc.py."""

from corral.policy.openwhisk.fpc import Fpc
from corral.policy.openwhisk.keeping import Keeping
from corral.policy.openwhisk.settings import OpenWhiskSettings
from corral.policy.scaler import Decision, Situation, Terms


class OpenWhisk:
    def __init__(self, terms: Terms) -> None:
        self._keeping = Keeping(_settings_of(terms))
        self._fpc: Fpc | None = None
        """None: the classic scheduler decides."""
        self.retune(terms)

    def retune(self, terms: Terms) -> None:
        settings = self._settings = _settings_of(terms)
        self._keeping.retune(settings)
        if settings.scheduler == "classic":
            self._fpc = None
        elif self._fpc is None:
            self._fpc = Fpc(settings, terms.max)
        else:
            self._fpc.retune(settings, terms.max)

    def decide(self, seen: Situation, now: float) -> Decision:
        self._keeping.learn(seen, now)
        if self._fpc is None:
            starts, check_at = self._classic(seen), None
        else:
            starts, check_at = self._fpc.starts(seen, now), self._fpc.check_at
        if starts:
            self._keeping.need(seen.have + starts, now)
        least = self._keeping.least
        desired = starts + (seen.have if seen.waiting or starts else min(seen.have, least))
        moments = [at for at in (check_at, self._keeping.expires_at) if at is not None]
        next_at = min(moments, default=None) if seen.have or desired else check_at
        return Decision(desired, next_at, self._why(seen, starts, least), self._inputs(seen, least))

    def _classic(self, seen: Situation) -> int:
        """A container for each activation that waits. What was told twice, before a start became known to the gateway,
        counts once: no more than all activations need."""
        waiting, at_once = seen.waiting, seen.concurrency
        if not waiting:
            return 0
        lacking = -(-(waiting + seen.executing) // at_once) - seen.have
        starts = max(0, min(-(-waiting // at_once), lacking))
        limit = self._settings.namespace_limit
        return starts if limit is None else max(0, min(starts, limit - seen.in_namespace))

    # -- for people -----------------------------------------------------------------------------------------

    def _why(self, seen: Situation, starts: int, least: int) -> str:
        if self._fpc is not None and self._fpc.queue is not None and starts:
            return self._fpc.why
        if seen.waiting:
            have = f"{seen.waiting} waiting; containers: {seen.ready} running, {seen.starting} starting"
            return f"{have}, {starts} more" if starts else f"{have}, none is added"
        idle_s = self._settings.idle_s
        return f"{least} were needed at once in the last {idle_s:g} s" if least else f"idle for {idle_s:g} s"

    def _inputs(self, seen: Situation, least: int) -> dict[str, float]:
        inputs: dict[str, float] = {
            "waiting": seen.waiting,
            "executing": seen.executing,
            "ready": seen.ready,
            "starting": seen.starting,
            "needed_lately": least,
            "in_namespace": seen.in_namespace,
        }
        return inputs if self._fpc is None else inputs | self._fpc.inputs


def _settings_of(terms: Terms) -> OpenWhiskSettings:
    assert isinstance(terms.settings, OpenWhiskSettings)
    return terms.settings
