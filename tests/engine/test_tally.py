"""What a function was asked for, second by second, as exact minutes and idle times."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.engine.demand import by_day
from corral.engine.tally import Tally
from corral.model import FunctionKey, Observation
from corral.ports import IDLE_MINUTES_MAX, MinuteSeen

F = FunctionKey("default/f")
DAY_S = 86_400.0
WALL = 20_000 * DAY_S
"""Midnight of a day."""


def tally_of(*seconds: tuple[float, int, int]) -> Tally:
    """Observed: (seconds since midnight, arrived, of them from idle). Both clocks run together."""
    tally = Tally()
    for at, arrived, from_idle in seconds:
        tally.seen(F, Observation(arrived=arrived, from_idle=from_idle, peak=1), at, WALL + at)
    return tally


CASES = {
    "first call of all ends no idle time": ([(5.0, 1, 1)], {0: 1}, {}),
    "calls of one second": ([(5.0, 9, 3)], {0: 9}, {0: 2}),
    "a second later": ([(5.0, 1, 1), (6.0, 1, 1)], {0: 2}, {0: 1}),
    "just under a minute": ([(5.0, 1, 1), (64.9, 1, 1)], {0: 1, 1: 1}, {0: 1}),
    "a minute": ([(5.0, 1, 1), (65.0, 1, 1)], {0: 1, 1: 1}, {1: 1}),
    "three hours and 59 minutes": ([(0.0, 1, 1), (239 * 60 + 59.0, 1, 1)], {0: 1, 239: 1}, {239: 1}),
    "four hours": ([(0.0, 1, 1), (240 * 60.0, 1, 1)], {0: 1, 240: 1}, {IDLE_MINUTES_MAX: 1}),
    "a day": ([(0.0, 1, 1), (DAY_S - 1, 1, 1)], {0: 1, 1439: 1}, {IDLE_MINUTES_MAX: 1}),
    "one call for ten minutes is not idle": (
        [(0.0, 1, 1), *((60.0 * minute, 0, 0) for minute in range(1, 10)), (600.0, 1, 1)],
        {0: 1, 10: 1},
        {1: 1},
    ),
    "long silence, then many": ([(0.0, 1, 1), (600.0, 50, 7)], {0: 1, 10: 50}, {10: 1, 0: 6}),
}


@pytest.mark.parametrize("case", CASES)
def test_minutes_and_idle_times(case: str) -> None:
    seconds, calls, idle_times = CASES[case]
    [day] = by_day(tally_of(*seconds).take())
    assert dict(day.minutes) == calls
    assert dict(day.idle_times) == idle_times
    assert day.day == 20_000


def test_what_was_taken_is_not_taken_again_and_its_end_is_remembered() -> None:
    tally = tally_of((0.0, 1, 1))
    assert [each.calls for each in tally.take()] == [1]
    assert tally.take() == []
    tally.seen(F, Observation(arrived=1, from_idle=1), 120.0, WALL + 120)
    assert tally.take() == [MinuteSeen(key=F, minute=20_000 * 1440 + 2, calls=1, idle_times={2: 1})]


def test_idle_time_over_a_restart_counts_from_the_end_of_the_last_written_minute() -> None:
    tally = Tally()
    tally.restore({F: 20_000 * 1440}, wall=WALL + 600, now=7.0)
    tally.seen(F, Observation(arrived=1, from_idle=1), 7.0 + 60, WALL + 660)
    assert tally.take()[0].idle_times == {10: 1}


def test_wall_clock_that_jumps_makes_no_idle_time_and_no_row_of_its_own() -> None:
    tally = Tally()
    for now, wall in ((0.0, WALL), (1.0, WALL + 10 * DAY_S), (2.0, WALL + 2), (3.0, 0.0), (4.0, WALL + 4)):
        tally.seen(F, Observation(arrived=1, from_idle=1), now, wall)
    taken = tally.take()
    assert sum((Counter(each.idle_times) for each in taken), Counter()) == {0: 4}
    assert {each.minute: each.calls for each in taken} == {20_000 * 1440: 3, 20_010 * 1440: 1, 0: 1}


def test_clock_that_was_ahead_before_a_restart_gives_no_negative_time() -> None:
    tally = Tally()
    tally.restore({F: 30_000 * 1440}, wall=WALL, now=7.0)
    tally.seen(F, Observation(arrived=1, from_idle=1), 8.0, WALL + 1)
    assert tally.take()[0].idle_times == {0: 1}


def test_deleted_function_leaves_nothing() -> None:
    tally = tally_of((0.0, 1, 1))
    tally.forget(F)
    assert tally.of(F) == tally.take() == []
    tally.seen(F, Observation(arrived=1, from_idle=1), 600.0, WALL + 600)
    assert tally.take()[0].idle_times == {}, "the new one of its name was never called"


@given(st.lists(st.tuples(st.floats(0.001, 40_000), st.integers(0, 5), st.integers(0, 5)), max_size=60), st.integers())
def test_no_call_and_no_idle_time_is_lost_however_often_it_is_taken(
    steps: list[tuple[float, int, int]], seed: int
) -> None:
    chance, tally, taken = random.Random(seed), Tally(), []
    now = arrived = ends = 0.0
    for number, (gap, calls, from_idle) in enumerate(steps):
        now += gap
        from_idle = min(calls, from_idle)
        tally.seen(F, Observation(arrived=calls, from_idle=from_idle), now, WALL + now)
        arrived += calls
        ends += max(0, from_idle - (number == 0))
        if chance.random() < 0.3:
            taken += tally.take()
    days = by_day([*taken, *tally.take()])
    assert sum(day.calls for day in days) == arrived
    assert sum(count for day in days for _, count in day.idle_times) == ends
    assert all(0 <= minutes <= IDLE_MINUTES_MAX for day in days for minutes, _ in day.idle_times)
    assert [day.day for day in days] == sorted({day.day for day in days})
    assert all(0 <= minute < 1440 for day in days for minute, _ in day.minutes)
