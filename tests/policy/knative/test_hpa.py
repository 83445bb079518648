"""Class hpa behind the seam: its targets, and what it does over time."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.model import Observation
from corral.policy import Usage
from corral.policy.hpa import SYNC_S, Target
from corral.policy.knative.hpa import target_of
from corral.policy.knative.settings import KnativeSettings

from ..stage import BEGUN, Stage


def hpa(least: int = 0, most: int = 50, *, ready: int = 0, every_s: float | None = None, **options: Any) -> Stage:
    return Stage({"engine": "knative", "class": "hpa", **options}, least, most, ready=ready, every_s=every_s)


def burn(stage: Stage, seconds: int, cores: float, mib: float = 0.0) -> None:
    """So much in each second, by all ready instances together."""
    for _ in range(seconds):
        stage.pass_time(1.0)
        while stage.starting:
            stage.join(0)
        stage.ask(usage=Usage(stage.ready, cores, mib))


@pytest.mark.parametrize(
    ("said", "target"),
    [
        pytest.param({}, Target("cpu", 80.0, 0.5), id="nothing said"),
        pytest.param({"metric": "cpu"}, Target("cpu", 80.0, 0.5), id="cpu"),
        pytest.param({"target": 50.2}, Target("cpu", 51.0, 0.5), id="percent are rounded up"),
        pytest.param({"metric": "memory", "target": 99.5}, Target("memory", 100.0), id="MiB are rounded up"),
    ],
)
def test_target(said: dict[str, Any], target: Target) -> None:
    assert target_of(KnativeSettings(class_="hpa", **said), 0.5) == target


def test_load_on_processors_brings_instances_at_the_next_sync() -> None:
    stage = hpa(target=50, ready=1)
    burn(stage, 14, 0.9)
    assert stage.desired == 1
    burn(stage, 1, 0.9)
    assert stage.changes == [(BEGUN, 1), (BEGUN + 15, 2)]
    assert stage.decisions[-1][1].why == "90 percent of its cpu in each of 1, 50 aimed at"
    assert stage.decisions[-1][1].inputs == {"used": 90, "target": 50, "measured": 1, "ready": 2}


def test_memory_brings_instances() -> None:
    stage = hpa(metric="memory", target=100, ready=2)
    burn(stage, 16, 0.0, mib=480.0)
    assert stage.desired == 5


def test_wishes_hold_for_the_window_that_is_said_both_ways() -> None:
    stage = hpa(target=50, stabilization_window_s=60)
    burn(stage, 15, 0.1)
    burn(stage, 60, 2.0)
    burn(stage, 60, 0.1)
    # What was wished at 15 s holds until 75 s, and what was wished at 75 s until 135 s.
    assert stage.changes == [(BEGUN, 1), (BEGUN + 75, 4), (BEGUN + 135, 1)]


def test_one_instance_stays_and_idle_ones_that_nobody_measures_cost_nothing() -> None:
    stage = hpa()
    assert (stage.desired, stage.next_at) == (1, None)
    burn(stage, 40, 0.0)
    stage.pass_time(30.0)
    assert (stage.desired, stage.next_at) == (1, None)


def test_another_class_begins_with_the_instances_it_finds() -> None:
    stage = hpa(target=50, ready=4)
    burn(stage, 16, 2.0)
    assert stage.desired == 4
    kpa = Stage({"engine": "knative", "target": 10, "target_utilization_percent": 100})
    stage.settings = kpa.settings
    stage.scaler.retune(stage.terms())
    stage.ask(joined=True)
    assert stage.desired == 4
    for _ in range(90):
        stage.pass_time(1.0)
        stage.ask(second=Observation(arrived=20, concurrency_s=20.0, peak=20))
    assert stage.desired == 2
    stage.settings = hpa().settings
    stage.scaler.retune(stage.terms())
    stage.ask(joined=True)
    assert stage.desired == 2


@given(
    events=st.lists(st.tuples(st.integers(0, 30), st.floats(0, 4), st.sampled_from([0.4, 14.0, 100.0])), max_size=12),
    ready=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_skipped_syncs_would_have_changed_nothing(events: list[tuple[int, float, float]], ready: int) -> None:
    skipping, ticking = hpa(target=50, ready=ready), hpa(target=50, ready=ready, every_s=SYNC_S)
    for stage in (skipping, ticking):
        for seconds, cores, silence_s in events:
            burn(stage, seconds, cores)
            stage.pass_time(silence_s)
    assert skipping.changes == ticking.changes
    assert len(skipping.decisions) <= len(ticking.decisions)
