"""What users may set of the default engine."""

from typing import Annotated

from msgspec import Meta

from corral.policy.settings import Settings


class CorralSettings(Settings, frozen=True, kw_only=True):
    second_gib_min: Annotated[float, Meta(ge=0, le=1_000_000)] = 100.0
    """What one second of waiting is worth: GiB-minutes of idle memory. Not used by functions that set `idle_s`."""
    utilization_percent: Annotated[float, Meta(ge=10, le=100)] = 70.0
    """How much of an instance's concurrency a steady load may take; the rest is for calls that arrive together."""
    double_after_s: Annotated[float, Meta(ge=0.001, le=60)] = 0.05
    """Seconds the oldest call waits before the starts in progress are doubled."""
