"""Knative's autoscaler (KPA), exactly: windows, panic, burst capacity, activation and the way to zero."""

from corral.policy.knative.scaler import Knative
from corral.policy.knative.settings import KnativeSettings

__all__ = ["Knative", "KnativeSettings"]
