"""What users may set of OpenFaaS' autoscaling: its labels `com.openfaas.scale.*`, with their defaults and units."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from corral.policy.settings import Settings

Mode = Literal["rps", "capacity", "cpu", "queue", "custom", "alert"]
Metric = Literal[
    "arrived", "completed", "completed_200", "failed", "service_s",
    "in_flight", "executing", "waiting", "oldest_wait_s",
    "cpu_millicores", "memory_mib",
]  # fmt: skip
MEASURED = ("cpu_millicores", "memory_mib")


class OpenFaasSettings(Settings, frozen=True, kw_only=True):
    mode: Mode = "rps"
    """What counts as load; `alert` is the free edition's rule, all others are the commercial one's."""
    target: Annotated[float, Meta(gt=0, le=1_000_000)] = 50.0
    """Load for one instance: calls a second, calls in flight, millicores, waiting calls, or of `metric`."""
    proportion: Annotated[float, Meta(gt=0, le=1)] = 0.9
    """How much of the target is aimed at."""
    metric: Metric | None = None
    """What `mode = "custom"` goes by."""
    min_awake: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Fewest instances but at zero, where the function's min is less; a first call brings so many."""
    zero: bool = False
    """Whether it goes to zero when idle; otherwise `min_awake` stay."""
    zero_duration_s: Annotated[float, Meta(ge=60, le=86_400)] = 900.0
    """Seconds without a call until it goes to zero; idleness shows over a minute, so not less."""
    down_window_s: Annotated[float, Meta(ge=0, le=300)] = 0.0
    """Seconds for which the highest wish holds."""
    factor: Annotated[int, Meta(ge=1, le=100)] = 10
    """Percent of the function's max that each firing of the alert adds."""

    def conflicts(self, least: int, most: int) -> Iterator[str]:
        if self.mode == "custom" and self.metric is None:
            yield "metric is not set, mode = custom needs one"
        if self.mode != "custom" and self.metric is not None:
            yield f"metric = {self.metric}, must not be set for mode = {self.mode}, only for custom"
        if self.zero and least:
            yield f"zero = true, must be false with min = {least}, which stay: say min_awake = {least} and min = 0"
        if self.min_awake > most:
            yield f"min_awake = {self.min_awake}, must not be above max = {most}"

    @property
    def needs_usage(self) -> bool:
        return self.mode == "cpu" or self.metric in MEASURED

    @property
    def keeps(self) -> int:
        return 0 if self.zero else self.min_awake
