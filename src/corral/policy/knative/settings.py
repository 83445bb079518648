"""What users may set of Knative's autoscaler. Each key is the annotation or the entry of config-autoscaler that means
the same, with its unit in the name; ranges and defaults are Knative's where it has any."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from corral.policy.settings import Settings

Seconds = Annotated[int, Meta(ge=0, le=3600)]
Rate = Annotated[float, Meta(gt=1, le=1_000_000)]
Class = Literal["kpa", "hpa"]
Metric = Literal["concurrency", "rps", "cpu", "memory"]
METRICS: dict[Class, tuple[Metric, ...]] = {"kpa": ("concurrency", "rps"), "hpa": ("cpu", "memory")}
"""Of each class, its default first."""

CONCURRENCY_TARGET, RPS_TARGET = 100.0, 200.0
"""Of an instance, when neither the function nor its settings say anything."""
UTILIZATION_PERCENT = 70.0
TARGET_LEAST = 0.01


OF_KPA = (
    "target_utilization_percent", "target_burst_capacity", "window_s", "panic_window_percent",
    "panic_threshold_percent", "max_scale_up_rate", "max_scale_down_rate", "scale_to_zero", "grace_s", "retention_s",
    "scale_down_delay_s", "activation_scale", "aggregation", "activation_timeout_s",
)  # fmt: skip
OF_HPA = ("stabilization_window_s",)
"""What the other class does not go by."""


class KnativeSettings(Settings, frozen=True, kw_only=True):
    class_: Class = msgspec.field(default="kpa", name="class")
    """Knative's own autoscaler, or Kubernetes'."""
    metric: Metric | None = None
    """Calls at once (waiting ones too), or calls that arrive in a second; of class hpa: cpu, or memory. Not set:
    concurrency, or cpu."""
    target: Annotated[float, Meta(ge=TARGET_LEAST, le=1_000_000)] | None = None
    """Of the metric, for one instance. Not set: the instance's concurrency, 200 calls a second, or 80 percent of its
    cpu; of memory it has to be said, in MiB."""
    target_utilization_percent: Annotated[float, Meta(ge=1, le=100)] = UTILIZATION_PERCENT
    """How much of the target is aimed at."""
    target_burst_capacity: Annotated[float, Meta(ge=-1, le=1_000_000)] = 211.0
    """Calls at once that must find room unannounced; -1: any number. Excess burst capacity is reckoned from it."""
    window_s: Annotated[int, Meta(ge=6, le=3600)] = 60
    """The stable window, seconds: what is averaged, and how long a panic and a revision's activity last at least."""
    panic_window_percent: Annotated[float, Meta(ge=1, le=100)] = 10.0
    """Of the stable window: the panic window, in whole seconds and at least one."""
    panic_threshold_percent: Annotated[float, Meta(ge=110, le=1000)] = 200.0
    """Of the instances that are ready: when the panic window needs so many, there is a panic."""
    max_scale_up_rate: Rate = 1000.0
    """Times the ready instances, in one decision."""
    max_scale_down_rate: Rate = 2.0
    """The ready instances through it are the fewest after one decision."""
    scale_to_zero: bool = True
    """Otherwise one instance stays."""
    grace_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """Seconds the last instance stays while calls are rerouted; shortened when they took the other way already."""
    retention_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """Seconds the last instance stays at least after the revision fell idle."""
    scale_down_delay_s: Seconds = 0
    """Seconds for which the highest decision holds."""
    activation_scale: Annotated[int, Meta(ge=2, le=1000)] | None = None
    """Instances that a first call brings at least."""
    aggregation: Literal["linear", "weighted-exponential"] = "linear"
    """How the seconds of a window are averaged: all alike, or the newest most."""
    activation_timeout_s: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    """Seconds (and 30 more) after which instances that never became ready are given up."""
    stabilization_window_s: Seconds | None = None
    """Class hpa: seconds for which the highest wish holds on the way down and the lowest on the way up. Not set: 300
    down and 0 up."""

    def conflicts(self, least: int, most: int) -> Iterator[str]:
        if -1 < self.target_burst_capacity < 0:
            yield f"target_burst_capacity = {self.target_burst_capacity:g}, must be -1, or 0 or more"
        if self.activation_scale is not None and not least <= self.activation_scale <= most:
            yield f"activation_scale = {self.activation_scale}, must be between min = {least} and max = {most}"
        other, names = ("hpa", OF_HPA) if self.class_ == "kpa" else ("kpa", OF_KPA)
        for name, value in self.said(names):
            yield f"{name} = {value}, only counts with class = {other}, not with {self.class_}"
        metrics = METRICS[self.class_]
        if self.metric is not None and self.metric not in metrics:
            yield f"metric = {self.metric}, must be one of {', '.join(metrics)} with class = {self.class_}"
        elif self.metric == "memory" and self.target is None:
            yield "target is not set, metric = memory needs one: MiB of an instance"

    @property
    def keeps(self) -> int:
        return 0 if self.scale_to_zero and self.class_ == "kpa" else 1

    @property
    def needs_usage(self) -> bool:
        return self.class_ == "hpa"

    @property
    def panic_window_s(self) -> int:
        """Half a second is rounded up."""
        return max(1, int(self.window_s * self.panic_window_percent / 100 + 0.5))


def resolve_target(settings: KnativeSettings, concurrency: int | None) -> tuple[float, float]:
    """(aimed at, in all) of the metric, for one instance. `concurrency` is how many calls it takes at once at most;
    None: any number."""
    if settings.metric == "rps":
        total = RPS_TARGET if settings.target is None else settings.target
    elif concurrency is None:
        total = CONCURRENCY_TARGET if settings.target is None else settings.target
    else:
        total = concurrency if settings.target is None else min(settings.target, concurrency)
    return max(TARGET_LEAST, total * settings.target_utilization_percent / 100), total
