"""Knative's classes of autoscalers behind one engine."""

from corral.policy.knative.hpa import KnativeHpa
from corral.policy.knative.scaler import Kpa
from corral.policy.knative.settings import Class, KnativeSettings
from corral.policy.scaler import Decision, Scaler, Situation, Terms


class Knative:
    """The class that the settings name. Another one begins with the instances it finds, as another engine would."""

    def __init__(self, terms: Terms) -> None:
        self._class = class_of(terms)
        self._scaler = self._make(terms)

    def decide(self, seen: Situation, now: float) -> Decision:
        return self._scaler.decide(seen, now)

    def retune(self, terms: Terms) -> None:
        if self._class == class_of(terms):
            self._scaler.retune(terms)
            return
        self._class = class_of(terms)
        self._scaler = self._make(terms)

    def _make(self, terms: Terms) -> Scaler:
        return KnativeHpa(terms) if self._class == "hpa" else Kpa(terms)


def class_of(terms: Terms) -> Class:
    assert isinstance(terms.settings, KnativeSettings)
    return terms.settings.class_
