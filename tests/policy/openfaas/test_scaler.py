"""OpenFaaS' rule behind the seam: its worked examples, and what it does over time."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.model import Observation
from corral.policy import Usage

from ..stage import BEGUN, Stage, Step, steps


def openfaas(least: int = 0, most: int = 50, **options: Any) -> Stage:
    stage = {name: options.pop(name) for name in ("ready", "every_s") if name in options}
    return Stage({"engine": "openfaas", **options}, least, most, **stage)


def arrive(stage: Stage) -> None:
    while stage.starting:
        stage.join(0)


def serve(stage: Stage, seconds: int, **each: Any) -> None:
    """Seconds that are all alike."""
    for _ in range(seconds):
        stage.pass_time(1.0)
        arrive(stage)
        stage.ask(second=Observation(peak=1, **each))


@pytest.mark.parametrize(
    ("said", "ready", "least", "most", "in_flight", "wanted"),
    [
        pytest.param({"target": 5, "proportion": 1}, 1, 1, 20, 15, 3, id="15 in flight, 5 for each"),
        pytest.param({"target": 5, "proportion": 1}, 3, 1, 20, 25, 5, id="25 in flight, three ready"),
        pytest.param({"target": 100, "proportion": 0.7}, 1, 1, 20, 90, 2, id="90 in flight, 70 for each"),
        pytest.param({"target": 5, "proportion": 1}, 4, 2, 20, 0, 2, id="no load: the fewest"),
        pytest.param({"target": 1, "proportion": 1}, 1, 1, 10, 30, 10, id="more than max"),
        pytest.param({"target": 5, "proportion": 1}, 4, 4, 4, 90, 4, id="min and max alike: static"),
    ],
)
def test_worked_examples_by_calls_in_flight(
    said: dict[str, Any], ready: int, least: int, most: int, in_flight: float, wanted: int
) -> None:
    stage = openfaas(least, most, mode="capacity", ready=ready, **said)
    serve(stage, 16, concurrency_s=in_flight)
    assert stage.desired == wanted


def test_pending_calls_by_queue() -> None:
    stage = openfaas(most=10, mode="queue", target=1, proportion=1, ready=1)
    serve(stage, 16, concurrency_s=34.0, executing_s=4.0)
    assert stage.desired == 10
    assert stage.decisions[-1][1].inputs["load"] == 30


def test_highest_wish_of_the_down_window_holds() -> None:
    stage = openfaas(mode="queue", target=1, proportion=1, down_window_s=120, ready=8)
    wanted = []
    for pending in (8, 8, 7, 6, 5, 4, 5, 5, 2, 2, 2, 2):
        serve(stage, 15, concurrency_s=float(pending))
        wanted.append(stage.desired)
    assert wanted == [8] * 9 + [7, 6, 5]


def test_rate_of_completed_calls_by_rps() -> None:
    stage = openfaas(target=10, proportion=1, ready=1)
    serve(stage, 46, completed=42, arrived=100)
    assert stage.desired == 5
    assert stage.decisions[-1][1].inputs["load"] == 42


def test_millicores_by_cpu() -> None:
    stage = openfaas(mode="cpu", target=500, proportion=1, ready=1)
    for _ in range(16):
        stage.pass_time(1.0)
        arrive(stage)
        stage.ask(usage=Usage(stage.ready, 1.75, 64.0))
    assert stage.desired == 4
    assert stage.decisions[-1][1].inputs["load"] == 1750


@pytest.mark.parametrize(
    ("metric", "each", "load"),
    [
        ("failed", {"failed": 4}, 4.0),
        ("service_s", {"service_s": 2.5}, 2.5),
        ("executing", {"concurrency_s": 9.0, "executing_s": 3.0}, 3.0),
        ("oldest_wait_s", {"oldest_wait_s": 0.75}, 0.75),
    ],
)
def test_any_number_of_ours_by_name(metric: str, each: dict[str, float], load: float) -> None:
    stage = openfaas(mode="custom", metric=metric, target=0.5, proportion=1, ready=1)
    serve(stage, 46, **each)
    assert stage.decisions[-1][1].inputs["load"] == pytest.approx(load)
    assert stage.desired == 2 * load + (metric == "oldest_wait_s") * 0.5


def test_first_call_brings_min_awake_at_once() -> None:
    stage = openfaas(zero=True, min_awake=3)
    assert stage.desired == 0
    stage.pass_time(3.3)
    stage.ask(waiting=1)
    assert stage.desired == 3
    assert stage.changes == [(stage.now, 3)]


def test_burst_waits_for_the_next_round() -> None:
    stage = openfaas(mode="capacity", target=1, proportion=1, ready=1)
    for _ in range(14):
        serve(stage, 1, concurrency_s=20.0)
        stage.ask(waiting=19, executing=1)
        assert stage.desired == 1
    serve(stage, 1, concurrency_s=20.0)
    assert stage.desired == 20


def test_zero_comes_in_the_round_after_its_duration() -> None:
    stage = openfaas(zero=True, zero_duration_s=60)
    stage.ask(waiting=1)
    serve(stage, 3, concurrency_s=0.1, completed=1)
    stage.pass_time(71.9)
    assert stage.desired == 1
    stage.pass_time(0.1)
    assert stage.desired == 0
    assert stage.next_at is None
    assert stage.decisions[-1][1].why == "no call for 72 s"


def test_call_that_lasts_longer_than_the_duration_keeps_it_awake() -> None:
    stage = openfaas(zero=True, zero_duration_s=60)
    stage.ask(waiting=1)
    serve(stage, 200, concurrency_s=1.0, executing_s=1.0)
    assert stage.desired == 1


def test_without_zero_the_fewest_stay_from_the_beginning() -> None:
    stage = openfaas(min_awake=2)
    assert (stage.desired, stage.next_at) == (2, None)


def test_alert_adds_steps_until_max_and_goes_back_when_resolved() -> None:
    stage = openfaas(least=1, most=5, mode="alert")
    serve(stage, 150, completed_200=20, completed=20)
    assert [desired for _, desired in stage.changes] == [1, 2, 3, 4, 5]
    assert [round(at - BEGUN) for at, _ in stage.changes] == [0, 20, 50, 80, 110]
    serve(stage, 30, completed=20)
    assert stage.desired == 1, "failures are no good calls"
    assert stage.decisions[-1][1].why == "the alert is resolved: back to 1"


def test_factor_100_goes_to_max_at_once_and_resolved_back_to_min() -> None:
    stage = openfaas(least=2, most=5, mode="alert", factor=100)
    serve(stage, 25, completed_200=20)
    stage.pass_time(60.0)
    assert [desired for _, desired in stage.changes] == [2, 5, 2]


def test_instances_of_an_alert_before_a_restart_are_resolved() -> None:
    stage = openfaas(mode="alert", ready=4)
    stage.pass_time(19.0)
    assert stage.desired == 4
    stage.pass_time(1.0)
    assert stage.desired == 1


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ({"mode": "alert"}, [4, 9]),
        ({"target": 5, "proportion": 1}, [4]),
        ({"mode": "capacity", "target": 2, "proportion": 1}, [4]),
    ],
    ids=str,
)
def test_load_that_goes_on_over_a_restart_keeps_its_instances(said: dict[str, Any], changes: list[int]) -> None:
    stage = openfaas(ready=4, **said)
    serve(stage, 45, completed=20, completed_200=20, concurrency_s=8.0)
    assert [desired for _, desired in stage.changes] == changes


def test_another_mode_counts_from_the_next_decision_and_keeps_what_stands() -> None:
    stage = openfaas(mode="capacity", target=1, proportion=1, ready=1)
    serve(stage, 16, concurrency_s=6.0, completed=100)
    assert stage.desired == 6
    other = openfaas(mode="rps", target=50, proportion=1)
    stage.settings = other.settings
    stage.scaler.retune(stage.terms())
    serve(stage, 1, concurrency_s=6.0, completed=100)
    assert stage.desired == 6
    serve(stage, 45, concurrency_s=6.0, completed=100)
    assert stage.desired == 2


def test_nothing_goes_down_while_no_gateway_says_anything() -> None:
    stage = openfaas(mode="capacity", target=1, proportion=1, ready=1)
    serve(stage, 16, concurrency_s=6.0)
    stage.unwatch(0)
    stage.pass_time(300.0)
    assert stage.desired == 6


VARIANTS: list[dict[str, Any]] = [
    {},
    {"zero": True, "zero_duration_s": 60, "down_window_s": 60},
    {"mode": "capacity", "target": 3, "zero": True},
    {"mode": "queue", "target": 2, "min_awake": 2},
    {"mode": "custom", "metric": "failed", "target": 1, "down_window_s": 300},
    {"mode": "alert", "factor": 40},
    {"mode": "alert", "zero": True, "zero_duration_s": 75},
]


@pytest.mark.parametrize("said", VARIANTS, ids=str)
@given(events=steps, least=st.integers(0, 4), ready=st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_skipped_rounds_would_have_changed_nothing(
    said: dict[str, Any], events: list[Step], least: int, ready: int
) -> None:
    skipping = openfaas(least, ready=ready, **said)
    ticking = openfaas(least, ready=ready, every_s=5.0, **said)
    for stage in (skipping, ticking):
        stage.play([*events, ("join", 0, 0.0), ("second", 30, 90.0), ("want", 0, 300.0), ("second", 1, 2000.0)])
    assert skipping.changes == ticking.changes
    assert len(skipping.decisions) <= len(ticking.decisions)


@given(loads=st.lists(st.integers(0, 200), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_more_load_never_means_fewer(loads: Iterable[int]) -> None:
    desired = []
    for in_flight in sorted(loads):
        stage = openfaas(mode="capacity", target=7, ready=1)
        serve(stage, 16, concurrency_s=float(in_flight))
        desired.append(stage.desired)
    assert desired == sorted(desired)
