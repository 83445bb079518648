"""What holds under every rule in production's own Pool and Roster. A new rule is covered by its row in SCALERS; rows of
SETTINGS may name more of it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.policy import SCALERS

from .stage import Stage
from .test_scalers import every
from .town import Town

Burst = tuple[int, float, float]
bursts = st.lists(
    st.tuples(
        st.integers(0, 12), st.sampled_from([0.003, 0.2, 4.0]), st.sampled_from([0.0, 0.01, 0.6, 3.0, 17.0, 130.0])
    ),
    min_size=2,
    max_size=10,
)
"""(calls that come together, how long each takes, seconds until the next)"""


def play(town: Town, events: list[Burst]) -> Town:
    for calls, service_s, elapsed in events:
        for _ in range(calls):
            town.call(service_s)
        town.run(elapsed)
        assert len(town.alive) <= town.scaling.max
    town.quieten()
    return town


@every
@given(least=st.integers(0, 2), concurrency=st.sampled_from([1, 5]), events=bursts)
@settings(max_examples=5, deadline=None)
def test_bounds_hold_every_call_is_served_and_no_busy_instance_ends(
    said: dict[str, Any], least: int, concurrency: int, events: list[Burst]
) -> None:
    town = play(Town(said, least, 12, concurrency), events)
    stays = max(least, town.scaling.settings.keeps)
    assert len(town.alive) in (least, stays)
    assert town.pool.executing == town.pool.waiting == 0
    assert sorted(town.pool.instances) == sorted(town.alive)


@every
@given(least=st.integers(1, 3), events=bursts)
@settings(max_examples=3, deadline=None)
def test_no_fewer_than_the_minimum_stand_or_are_on_their_way(
    said: dict[str, Any], least: int, events: list[Burst]
) -> None:
    town = Town(said, least, 12)
    for burst in events:
        play(town, [burst])
        assert len(town.alive) >= least


@every
@given(events=bursts)
@settings(max_examples=3, deadline=None)
def test_same_events_bring_the_same_actions(said: dict[str, Any], events: list[Burst]) -> None:
    assert play(Town(said), events).told == play(Town(said), events).told


@every
def test_nothing_is_asked_of_a_function_of_which_nothing_is_heard(said: dict[str, Any]) -> None:
    town = Town(said)
    town.call(0.01)
    town.quieten()
    town.is_measured, asked = False, town.ticks
    town.run(30 * 86_400)
    assert town.ticks == asked


@every
def test_more_calls_that_wait_never_bring_fewer_instances(said: dict[str, Any]) -> None:
    wanted = [Stage(said, concurrency=1).ask(waiting=calls).desired or 0 for calls in (1, 2, 5, 17, 60, 400)]
    assert wanted == sorted(wanted)
    assert wanted[0] >= 1


@every
def test_more_load_never_brings_fewer_instances(said: dict[str, Any]) -> None:
    """Steady calls of 100 ms: after 70 s."""
    standing = []
    for calls_a_second in (1, 5, 20):
        town = Town(said, 0, 40)
        for number in range(70 * calls_a_second):
            town.at(number / calls_a_second, lambda town=town: town.call(0.1))  # type: ignore[misc]
        town.run(70)
        standing.append(len(town.alive))
    assert standing == sorted(standing)
    assert standing[-1] >= 1


@pytest.mark.parametrize("engine", SCALERS)
def test_every_rule_is_among_the_settings_that_are_tried(engine: str) -> None:
    [marks] = [every.mark]
    assert {"engine": engine} in marks.args[1]
