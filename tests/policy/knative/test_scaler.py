"""Knative's rule behind the seam, over time: what is seen, when it is asked, what it answers."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.model import Observation
from corral.policy.knative.settings import KnativeSettings

from ..stage import BEGUN, Stage, Step, steps

VARIANTS: list[dict[str, Any]] = [
    {},
    {"window_s": 6, "grace_s": 1, "scale_down_delay_s": 7},
    {"metric": "rps", "target": 2, "max_scale_down_rate": 1.1},
    {"target_burst_capacity": -1, "retention_s": 40},
    {"aggregation": "weighted-exponential", "target_burst_capacity": 0, "activation_scale": 3},
]


def knative(least: int = 0, most: int = 50, **options: Any) -> Stage:
    stage = {name: options.pop(name) for name in ("ready", "every_s") if name in options}
    return Stage({"engine": "knative", **options}, least, most, **stage)


@pytest.mark.parametrize("said", VARIANTS, ids=str)
@given(events=steps, least=st.integers(0, 4), ready=st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_skipped_ticks_would_have_changed_nothing(
    said: dict[str, Any], events: list[Step], least: int, ready: int
) -> None:
    # That an instance or a gateway was lost is not told to scalers: one that is asked more often only sees it earlier.
    events = [each for each in events if each[0] not in ("lose", "unwatch")]
    skipping = knative(least, ready=ready, **said)
    ticking = knative(least, ready=ready, every_s=2.0, **said)
    for stage in (skipping, ticking):
        stage.play([*events, ("join", 0, 0.0), ("second", 3, 90.0), ("want", 0, 300.0)])
    assert skipping.changes == ticking.changes
    assert len(skipping.decisions) <= len(ticking.decisions)


def calls(stage: Stage, seconds: int, concurrency: float) -> None:
    """So many calls at once, for so long."""
    for _ in range(seconds):
        stage.pass_time(1.0)
        while stage.starting:
            stage.join(0)
        stage.ask(second=Observation(arrived=10, concurrency_s=concurrency, peak=10))


def test_first_call_is_counted_once() -> None:
    stage = knative(metric="rps", target=1)
    stage.ask(waiting=1)
    stage.pass_time(0.5)
    stage.ask(second=Observation(arrived=1, concurrency_s=0.2, peak=1))
    stage.pass_time(2.0)
    assert stage.decisions[-1][1].inputs["stable"] == 1, "its second tells of it again"


def test_step_of_load_panics_at_the_next_tick() -> None:
    stage = knative()  # ten calls at once in an instance: aims at 7
    stage.ask(waiting=1)
    calls(stage, 20, 3.0)
    assert stage.desired == 1
    calls(stage, 4, 70.0)
    assert stage.desired > 2, "the panic window is 6 s"
    assert stage.decisions[-1][1].inputs["panicking"] == 1
    assert "panic" in stage.decisions[-1][1].why
    highest = stage.desired
    calls(stage, 50, 3.0)
    assert stage.desired >= highest, "never down in a panic"


def test_load_that_ends_is_followed_by_the_window_and_three_seconds() -> None:
    stage = knative(window_s=6)
    stage.ask(waiting=1)
    calls(stage, 20, 3.0)
    assert (stage.ready, stage.desired) == (1, 1)
    ended = stage.now
    while stage.ready:
        assert stage.next_at is not None
        stage.pass_time(stage.next_at - stage.now)
    assert 6 <= stage.now - ended <= 6 + 2 + 3
    assert stage.decisions[-1][1].desired == 0


def test_grace_lasts_when_there_was_room_for_a_burst() -> None:
    stage = knative(window_s=6, target_burst_capacity=0, grace_s=20)
    stage.ask(waiting=1)
    calls(stage, 20, 3.0)
    ended = stage.now
    while stage.ready:
        assert stage.next_at is not None
        stage.pass_time(stage.next_at - stage.now)
    assert 26 <= stage.now - ended <= 28


def test_minimum_without_calls_is_asked_about_for_a_while_and_then_never() -> None:
    stage = knative(2, window_s=6)
    for _ in range(100):
        stage.join(0)
        if stage.next_at is None:
            break
        stage.pass_time(stage.next_at - stage.now)
    assert (stage.ready, stage.next_at) == (2, None)
    assert stage.now < BEGUN + 60


def test_new_target_counts_at_the_next_tick_with_what_was_seen_before() -> None:
    stage = knative(target=10, target_utilization_percent=100)
    stage.ask(waiting=1)
    calls(stage, 20, 9.0)
    assert stage.desired == 1
    stage.settings = KnativeSettings(target=1, target_utilization_percent=100)
    stage.scaler.retune(stage.terms())
    stage.ask(joined=True)
    stage.pass_time(2.0)
    assert stage.desired == 9


def test_instances_found_by_a_new_scaler_stay_for_a_window() -> None:
    stage = knative(window_s=6, ready=5)
    stage.pass_time(6.0)
    assert stage.ready == 5
    stage.pass_time(30.0)
    assert stage.ready == 0


def test_seconds_that_nobody_watched_are_not_silence() -> None:
    stage = knative(window_s=7, grace_s=1)  # odd: no tick falls on its end, which counts as 0 there
    stage.ask(waiting=1)
    calls(stage, 20, 60.0)
    had = stage.desired
    stage.unwatch(0)
    stage.pass_time(60.0)
    assert (stage.desired, stage.decisions[-1][1].why.split(";")[0]) == (had, "nothing was seen for 7 s")


def test_question_between_two_ticks_puts_nothing_to_sleep_that_the_next_tick_would_end() -> None:
    stage = Stage({"engine": "knative", "window_s": 6, "grace_s": 1})
    stage.pass_time(3.0)
    stage.second(1)
    stage.join(0)
    stage.pass_time(6.9)
    stage.ask(joined=True)
    stage.pass_time(60.0)
    assert (stage.desired, stage.next_at) == (0, None)


@pytest.mark.parametrize("capacity", [-1, 0, 211])
def test_revision_whose_instances_were_lost_while_nobody_watched_costs_nothing_in_the_end(capacity: int) -> None:
    stage = Stage({"engine": "knative", "target_burst_capacity": capacity})
    stage.want(0)
    stage.join(0)
    stage.second(1)
    stage.unwatch(0)
    stage.ready = 0
    stage.ask()
    stage.starting = 0
    stage.pass_time(3600.0)
    assert stage.next_at is None
