"""What may be set, and the target that follows. Source of the cases: Knative serving, config_test.go,
annotation_validation_test.go and resources/target_test.go (TestResolveMetricTarget)."""

from typing import Any

import msgspec
import pytest

from corral.errors import Invalid
from corral.policy import read_scaling, scaling_problems
from corral.policy.knative.settings import KnativeSettings, resolve_target

TARGETS: list[tuple[str, dict[str, Any], int | None, tuple[float, float]]] = [
    ("defaults", {"target_utilization_percent": 100}, None, (100, 100)),
    ("default utilization", {"target_utilization_percent": 80}, None, (80, 100)),
    ("concurrency 2", {"target_utilization_percent": 30}, 2, (0.6, 2)),
    ("concurrency 12, utilization set", {"target_utilization_percent": 75}, 12, (9, 12)),
    ("concurrency 10", {"target_utilization_percent": 80}, 10, (8, 10)),
    ("concurrency 1", {"target_utilization_percent": 80}, 1, (0.8, 1)),
    ("concurrency 1, all of it", {"target_utilization_percent": 100}, 1, (1, 1)),
    ("concurrency 10, all of it", {"target_utilization_percent": 100}, 10, (10, 10)),
    ("target 1", {"target_utilization_percent": 100, "target": 1}, None, (1, 1)),
    ("never below 0.01", {"target_utilization_percent": 0.1, "target": 1}, None, (0.01, 1)),
    ("target 1 at 75", {"target_utilization_percent": 75, "target": 1}, None, (0.75, 1)),
    ("target 10 at 75", {"target_utilization_percent": 75, "target": 10}, None, (7.5, 10)),
    ("target below concurrency", {"target_utilization_percent": 100, "target": 1}, 10, (1, 1)),
    ("large target", {"target_utilization_percent": 100, "target": 500}, None, (500, 500)),
    ("target above concurrency", {"target_utilization_percent": 100, "target": 10}, 1, (1, 1)),
    ("rps", {"metric": "rps"}, None, (140, 200)),
    ("rps target 1", {"metric": "rps", "target": 1}, None, (0.7, 1)),
    ("rps utilization", {"metric": "rps", "target_utilization_percent": 75}, None, (150, 200)),
    ("rps target 300", {"metric": "rps", "target": 300}, 1, (210, 300)),
]


@pytest.mark.parametrize(("settings", "concurrency", "resolved"), [r[1:] for r in TARGETS], ids=[r[0] for r in TARGETS])
def test_target(settings: dict[str, Any], concurrency: int | None, resolved: tuple[float, float]) -> None:
    assert resolve_target(KnativeSettings(**settings), concurrency) == pytest.approx(resolved)


@pytest.mark.parametrize(
    ("window_s", "percent", "panic_s"), [(60, 10, 6), (10, 10, 1), (600, 10, 60), (60, 50, 30), (60, 51, 31), (6, 1, 1)]
)
def test_panic_window_is_in_whole_seconds(window_s: int, percent: float, panic_s: int) -> None:
    assert KnativeSettings(window_s=window_s, panic_window_percent=percent).panic_window_s == panic_s


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"metric": "disk"}, "scaling.metric = 'disk', must be one of concurrency, rps, cpu, memory"),
    ({"class": "vpa"}, "scaling.class = 'vpa', must be one of kpa, hpa"),
    ({"class_": "hpa"}, "scaling.class_ is no setting of it, must be one of class, metric, target, "),
    ({"stabilization_window_s": 3601}, "scaling.stabilization_window_s = 3601, must be a whole number between 0 and"),
    ({"target": 0}, "scaling.target = 0, must be a number between 0.01 and 1000000"),
    ({"target": "not a float"}, "scaling.target = 'not a float', must be a number between 0.01 and 1000000"),
    ({"target": float("nan")}, "scaling.target = nan, must be a number between 0.01 and 1000000"),
    ({"target_utilization_percent": -42}, "must be a number between 1 and 100"),
    ({"target_utilization_percent": 142.4}, "must be a number between 1 and 100"),
    ({"target_burst_capacity": -11}, "scaling.target_burst_capacity = -11, must be a number between -1 and 1000000"),
    ({"target_burst_capacity": -0.5}, "scaling.target_burst_capacity = -0.5, must be -1, or 0 or more"),
    ({"window_s": 1}, "scaling.window_s = 1, must be a whole number between 6 and 3600"),
    ({"window_s": 3601}, "scaling.window_s = 3601, must be a whole number between 6 and 3600"),
    ({"window_s": 61.984}, "scaling.window_s = 61.984, must be a whole number between 6 and 3600"),
    ({"panic_window_percent": 0.1}, "must be a number between 1 and 100"),
    ({"panic_window_percent": 110}, "must be a number between 1 and 100"),
    ({"panic_threshold_percent": 109}, "must be a number between 110 and 1000"),
    ({"max_scale_up_rate": 1}, "scaling.max_scale_up_rate = 1, must be a number above 1, at most 1000000"),
    ({"max_scale_down_rate": -55}, "must be a number above 1"),
    ({"scale_to_zero": "yes"}, "scaling.scale_to_zero = 'yes', must be true or false"),
    ({"grace_s": 0}, "scaling.grace_s = 0, must be a number above 0, at most 3600"),
    ({"retention_s": -251}, "must be a number between 0 and 3600"),
    ({"scale_down_delay_s": -83}, "must be a whole number between 0 and 3600"),
    ({"scale_down_delay_s": 61.984}, "must be a whole number between 0 and 3600"),
    ({"activation_scale": 1}, "scaling.activation_scale = 1, must be a whole number between 2 and 1000"),
    ({"activation_scale": 2}, "scaling.activation_scale = 2, must be between min = 3 and max = 10"),
    ({"activation_scale": 11}, "scaling.activation_scale = 11, must be between min = 3 and max = 10"),
    ({"aggregation": "median"}, "must be one of linear, weighted-exponential"),
    ({"windows": 6}, "scaling.windows is no setting of it, must be one of class, metric, target, "),
    ({"metric": "cpu"}, "scaling.metric = cpu, must be one of concurrency, rps with class = kpa"),
    ({"stabilization_window_s": 9}, "stabilization_window_s = 9, only counts with class = hpa, not with kpa"),
    ({"class": "hpa", "window_s": 30}, "scaling.window_s = 30, only counts with class = kpa, not with hpa"),
    ({"class": "hpa", "scale_to_zero": False}, "scaling.scale_to_zero = false, only counts with class = kpa"),
    ({"class": "hpa", "metric": "rps"}, "scaling.metric = rps, must be one of cpu, memory with class = hpa"),
    ({"class": "hpa", "metric": "memory"}, "scaling.target is not set, metric = memory needs one: MiB of an instance"),
]


@pytest.mark.parametrize(("said", "sentence"), REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_impossible_value_is_refused_with_what_is_allowed(said: dict[str, Any], sentence: str) -> None:
    (problem,) = scaling_problems({"engine": "knative", **said}, 3, 10)
    assert sentence in problem


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        read_scaling({"engine": "knative", "target": 0, "window_s": 1, "nonsense": True})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "said", [{"target_burst_capacity": -1}, {"target_burst_capacity": 0}, {"target": None}, {"window_s": 6}, {}]
)
def test_possible_value_is_taken(said: dict[str, Any]) -> None:
    engine, settings = read_scaling({"engine": "knative", **said})
    assert engine == "knative"
    assert msgspec.structs.asdict(settings).items() >= said.items()
