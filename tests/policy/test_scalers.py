"""What holds for every scaler. A new one is covered by its row in SCALERS; `SETTINGS` may name more of it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.policy import SCALERS

from .stage import Stage, Step, steps

SETTINGS: list[dict[str, Any]] = [
    *({"engine": engine} for engine in SCALERS),
    {"engine": "corral", "utilization_percent": 10, "double_after_s": 0.001},
    {"engine": "knative", "window_s": 6, "grace_s": 1, "max_scale_down_rate": 1.1, "scale_down_delay_s": 9},
    {"engine": "knative", "metric": "rps", "target": 1, "target_burst_capacity": -1, "retention_s": 40},
    {"engine": "knative", "aggregation": "weighted-exponential", "scale_to_zero": False, "target_burst_capacity": 0},
    {"engine": "knative", "class": "hpa"},
    {"engine": "openfaas", "zero": True, "zero_duration_s": 60, "down_window_s": 45},
    {"engine": "openfaas", "mode": "capacity", "target": 1, "proportion": 1, "zero": True},
    {"engine": "openfaas", "mode": "alert", "factor": 30, "min_awake": 2},
    {"engine": "openfaas", "mode": "custom", "metric": "waiting", "target": 0.5},
    {"engine": "hybrid", "range_s": 60, "bin_s": 1, "learn_samples": 3, "learn_s": 20},
    {"engine": "hybrid", "cv_threshold": 0, "head_percentile": 99, "margin_percent": 0},
    {"engine": "fission", "pending_max": 2, "idle_timeout_s": 3, "windows": "0 0 30 2 * for 1h keep 5"},
    {"engine": "fission", "once_only": True, "idle_timeout_s": 20, "requests_per_pod": 1},
    {"engine": "fission", "executor": "newdeploy", "idle_timeout_s": 40},
    {"engine": "openwhisk", "scheduler": "fpc"},
    {"engine": "openwhisk", "scheduler": "fpc", "concurrency": 7, "keeping": 2, "namespace_limit": 20},
    {"engine": "openwhisk", "namespace_limit": 3, "idle_container_s": 1, "pause_grace_s": 0},
]
every = pytest.mark.parametrize("said", SETTINGS, ids=lambda said: "-".join(str(each) for each in said.values()))


def idle_for_long(stage: Stage) -> None:
    """Whatever was on its way comes, and then nothing."""
    stage.watch(0)
    for _ in range(60):
        stage.join(0)
    for _ in range(2000):
        if stage.next_at is None:
            return
        stage.pass_time(stage.next_at - stage.now)
        stage.join(0)
    raise AssertionError(f"it is still asked: {stage.decisions[-1]}")


@every
@given(events=steps, least=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_idle_revision_comes_to_its_minimum_and_costs_nothing(
    said: dict[str, Any], events: list[Step], least: int
) -> None:
    stage = Stage(said, least)
    stage.play(events)
    idle_for_long(stage)
    assert stage.desired in (least, max(least, stage.settings.keeps))


@every
@given(events=steps)
@settings(max_examples=40, deadline=None)
def test_same_history_gives_the_same_decisions(said: dict[str, Any], events: list[Step]) -> None:
    first, second = Stage(said), Stage(said)
    first.play(events)
    second.play(events)
    assert first.decisions == second.decisions


@every
@given(events=steps)
@settings(max_examples=40, deadline=None)
def test_every_decision_is_a_number_with_a_reason_and_its_inputs(said: dict[str, Any], events: list[Step]) -> None:
    stage = Stage(said)
    stage.play(events)
    for _, decision in stage.decisions:
        assert decision.desired is None or decision.desired >= 0
        assert decision.why
        assert all(isinstance(value, (int, float)) for value in decision.inputs.values())


@every
@given(events=steps)
@settings(max_examples=20, deadline=None)
def test_new_settings_and_limits_count_and_fail_no_decision(said: dict[str, Any], events: list[Step]) -> None:
    stage = Stage(said)
    stage.play(events)
    stage.least, stage.most = 2, 3
    stage.scaler.retune(stage.terms())
    stage.ask(joined=stage.ready + stage.starting > 0)
    assert 2 <= stage.ready + stage.starting <= 3 or not stage.is_watched
    stage.play(events)
    idle_for_long(stage)
    assert stage.desired == 2


@every
def test_waiting_call_of_a_revision_at_zero_starts_an_instance_at_once(said: dict[str, Any]) -> None:
    stage = Stage(said)
    stage.pass_time(1.7)
    assert (stage.ask(waiting=1).desired or 0) >= 1


@every
def test_load_brings_instances_and_its_end_takes_them(said: dict[str, Any]) -> None:
    stage = Stage(said)
    stage.ask(waiting=1)
    for _ in range(120):
        stage.pass_time(1.0)
        for _ in range(50):
            stage.join(0)
        stage.second(30)
        if not stage.ready:
            stage.want(29)
    assert stage.desired >= 1
    idle_for_long(stage)
    assert stage.desired <= max(1, stage.settings.keeps, said.get("min_awake", 1))
