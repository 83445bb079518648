"""Knative's autoscalers: its own (KPA), exactly, with windows, panic, burst capacity, activation and the way to zero;
and Kubernetes' (HPA) as Knative sets it."""

from corral.policy.knative.classes import Knative
from corral.policy.knative.settings import KnativeSettings

__all__ = ["Knative", "KnativeSettings"]
