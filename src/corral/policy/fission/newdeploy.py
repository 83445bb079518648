"""Fission's new-deploy: one deployment for each function, sized by Kubernetes' autoscaler from its cpu.

1. A call to a deployment at zero brings one instance. More calls bring no more: only cpu does.
2. Without a call for the idle timeout, at the reaper's tick: down to `min`.
3. Between: the autoscaler's arithmetic on cpu (policy/hpa.py), between max(1, `min`) and `max`.
Source: Fission, pkg/executor/executortype/newdeploy and pkg/executor/reaper/idle."""

from corral.policy.fission.reaper import Reaper
from corral.policy.fission.settings import FissionSettings
from corral.policy.hpa import Hpa, Target
from corral.policy.scaler import Decision, Situation, Terms


class NewDeploy:
    def __init__(self, terms: Terms, settings: FissionSettings, seen: Situation, now: float) -> None:
        self._terms, self._settings = terms, settings
        self._reaper = Reaper(now, settings.idle_timeout_s)
        self._hpa = Hpa(seen.have, now)
        self._replicas = max(seen.have, terms.min)
        self._why = f"{self._replicas} stand"

    def retune(self, terms: Terms, settings: FissionSettings) -> None:
        self._terms, self._settings = terms, settings
        self._reaper.retune(settings.idle_timeout_s)

    def decide(self, seen: Situation, now: float) -> Decision:
        self._learn(seen, now)
        called = self._reaper.used(now) > 0
        if self._replicas == 0 and seen.waiting:
            self._replicas, self._why = 1, "a call waits"
        elif not called:
            self._replicas, self._why = self._terms.min, f"idle for {self._settings.idle_timeout_s:g} s"
        elif now >= self._hpa.sync_at:
            self._why = self._sync(seen, now)
        next_at = self._reaper.next_at(now) if self._replicas > self._terms.min else None
        return Decision(self._replicas, next_at, self._why, self._inputs(seen, called))

    def _learn(self, seen: Situation, now: float) -> None:
        if seen.usage is not None:
            self._hpa.measure(seen.usage)
        if seen.waiting or seen.joined or (seen.second is not None and seen.second.peak):
            self._reaper.saw(1, now)

    def _sync(self, seen: Situation, now: float) -> str:
        target = Target("cpu", self._settings.target_cpu_percent, self._terms.cpu)
        least = max(1, self._terms.min)
        self._replicas = self._hpa.sync(self._replicas, seen.ready, target, least, self._terms.max, now)
        load = self._hpa.load
        if load is None:
            return f"{self._replicas}; no cpu was measured"
        return f"{load.used / load.measured:.0f} % cpu in each, {self._settings.target_cpu_percent:g} aimed at"

    def _inputs(self, seen: Situation, called: bool) -> dict[str, float]:
        load = self._hpa.load
        return {
            "cpu_percent": 0.0 if load is None else round(load.used / load.measured, 3),
            "target": self._settings.target_cpu_percent,
            "measured": 0 if load is None else load.measured,
            "waiting": seen.waiting,
            "ready": seen.ready,
            "starting": seen.starting,
            "called": float(called),
        }
