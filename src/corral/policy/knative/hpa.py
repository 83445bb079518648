"""Knative's class hpa behind the Scaler seam: Kubernetes' autoscaler with the target that Knative gives it.

At least one instance stays: Kubernetes' autoscaler knows no zero. Source: serving,
pkg/reconciler/autoscaling/hpa/resources/hpa.go; the arithmetic is policy/hpa.py."""

from math import ceil

from corral.policy.hpa import DOWN_WINDOW_S, Hpa, Target
from corral.policy.knative.settings import KnativeSettings
from corral.policy.scaler import Decision, Situation, Terms

CPU_PERCENT = 80.0
"""Kubernetes' own default, where no target is said."""


class KnativeHpa:
    def __init__(self, terms: Terms) -> None:
        self._hpa: Hpa | None = None
        self._desired = 0
        self._why = "it begins"
        self.retune(terms)

    def retune(self, terms: Terms) -> None:
        assert isinstance(terms.settings, KnativeSettings)
        said = terms.settings.stabilization_window_s
        self._windows = (0.0, DOWN_WINDOW_S) if said is None else (float(said), float(said))
        self._target = target_of(terms.settings, terms.cpu)
        self._most = terms.max
        self._least = min(max(terms.min, 1), terms.max)
        if self._hpa is not None:
            self._hpa.rewindow(*self._windows)

    def decide(self, seen: Situation, now: float) -> Decision:
        if self._hpa is None:
            self._desired = self._bounded(seen.have)
            up_window_s, down_window_s = self._windows
            self._hpa = Hpa(self._desired, now, up_window_s=up_window_s, down_window_s=down_window_s)
        hpa = self._hpa
        if now >= hpa.sync_at:
            self._sync(hpa, seen, now)
        if seen.usage is not None:
            hpa.measure(seen.usage)
        self._desired = self._bounded(self._desired)
        # What changes nothing is skipped: instances that run are measured each second.
        next_at = hpa.sync_at if hpa.is_measured else None
        return Decision(self._desired, next_at, self._why, self._inputs(hpa, seen))

    def _sync(self, hpa: Hpa, seen: Situation, now: float) -> None:
        before = self._desired
        self._desired = hpa.sync(before, seen.ready, self._target, self._least, self._most, now)
        if hpa.load is not None:
            unit = "percent of its cpu" if self._target.resource == "cpu" else "MiB"
            used = hpa.load.used / hpa.load.measured
            self._why = f"{used:.3g} {unit} in each of {hpa.load.measured}, {self._target.value:g} aimed at"

    def _bounded(self, instances: int) -> int:
        return min(max(instances, self._least), self._most)

    def _inputs(self, hpa: Hpa, seen: Situation) -> dict[str, float]:
        measured = 0 if hpa.load is None else hpa.load.measured
        return {
            "used": 0.0 if hpa.load is None else round(hpa.load.used / measured, 3),
            "target": self._target.value,
            "measured": measured,
            "ready": seen.ready,
        }


def target_of(settings: KnativeSettings, cpu: float) -> Target:
    """Whole percent or MiB, rounded up. `cpu`: cores that one instance may take."""
    if settings.metric == "memory" and settings.target is not None:
        return Target("memory", float(ceil(settings.target)))
    return Target("cpu", CPU_PERCENT if settings.target is None else float(ceil(settings.target)), cpu)
