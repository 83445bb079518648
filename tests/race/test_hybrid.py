"""The engine `hybrid` with the production Pool and Roster: what it learns survives that nothing of a function runs."""

from typing import Any

import pytest

from corral.race.coldstart import fixed
from corral.race.race import race
from corral.race.score import Score
from corral.race.trace import Calls, Durations, Function, Trace

MINUTE_S = 60.0


def raced(moments: list[float], minutes: int, **settings: Any) -> Score:
    counts = [0] * minutes
    for moment in moments:
        counts[int(moment // MINUTE_S)] += 1
    function = Function(
        name="f",
        app="a",
        owner="o",
        trigger="timer",
        memory_mib=1024.0,
        counts=counts,
        durations=Durations(100.0, (100.0,) * 7),
        calls=Calls(moments, [0.1] * len(moments)),
    )
    trace = Trace(functions=(function,), first_minute=0, minutes=minutes, sha256={}, source="a test")
    [score] = race(trace, {"hybrid": {"engine": "hybrid", **settings}}, cold_start=fixed(500.0))
    return score


def test_timer_of_half_an_hour_finds_its_instance_loaded_again_each_time() -> None:
    every = [30.0 + 1800.0 * number for number in range(16)]
    score = raced(every, minutes=480)
    assert (score.calls, score.cold_calls, score.starts) == (16, 1, 16)
    # Kept after the first call, as nothing is known; then from 29 x 0.9 minutes on, and for 30 x 1.1 after the last.
    assert score.idle_gb_min == pytest.approx(30 + 14 * 3.9 + 3.4, abs=0.6)


def test_call_that_comes_before_it_was_expected_is_cold_and_no_harm() -> None:
    early = [30.0, 1830.0, 3630.0, 4530.0, 6330.0]
    score = raced(early, minutes=120)
    assert (score.cold_calls, score.refused) == (2, 0)
