"""Calls inside a minute: as many as the trace says, inside it, in order, and the same for the same seed."""

from itertools import pairwise
from statistics import fmean

import pytest

from corral.race.arrivals import ARRIVALS, Arrivals, Calls, Duration
from corral.race.score import rank
from corral.race.trace import Calls as Known
from corral.race.trace import Durations, Function


def function(name: str = "f", counts: tuple[int, ...] = (3, 0, 1, 200), calls: Known | None = None) -> Function:
    return Function(
        name=name,
        app="a",
        owner="o",
        trigger="http",
        memory_mib=64,
        counts=counts,
        durations=Durations(10, (0, 1, 5, 8, 12, 100, 1000)),
        calls=calls,
    )


def drawn(seed: int, arrivals: Arrivals, of: Function | None = None) -> list[tuple[list[float], list[float]]]:
    chosen = of or function()
    calls = Calls(chosen, seed, arrivals)
    return [(list(moments), list(services)) for moments, services in map(calls.of, range(len(chosen.counts)))]


@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_each_minute_has_its_calls_in_order(arrivals: Arrivals) -> None:
    for minute, (moments, services) in enumerate(drawn(1, arrivals)):
        assert len(moments) == len(services) == function().counts[minute]
        assert moments == sorted(moments)
        assert all(60 * minute <= moment < 60 * (minute + 1) for moment in moments)


@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_same_seed_same_calls_and_another_seed_others(arrivals: Arrivals) -> None:
    assert drawn(1, arrivals) == drawn(1, arrivals)
    assert drawn(1, arrivals) != drawn(2, arrivals)
    assert drawn(1, arrivals) != drawn(1, arrivals, function("g"))


def test_durations_are_the_same_under_all_kinds_of_arrivals() -> None:
    assert len({str([services for _, services in drawn(1, arrivals)]) for arrivals in ARRIVALS}) == 1


@pytest.mark.parametrize("arrivals", ["exponential", "equidistant"])
def test_call_a_minute_comes_at_the_same_second(arrivals: Arrivals) -> None:
    moments = [moments[0] % 60 for moments, _ in drawn(1, arrivals, function(counts=(1, 1, 1)))]
    assert moments == pytest.approx([moments[0]] * 3)


def test_equidistant_calls_keep_their_distance() -> None:
    ((moments, _),) = drawn(1, "equidistant", function(counts=(6,)))
    assert [after - before for before, after in pairwise(moments)] == pytest.approx([10.0] * 5)


def test_known_calls_are_taken_as_they_are() -> None:
    known = Known((5.0, 6.5, 61.0), (0.1, 0.2, 0.3))
    given = drawn(1, "uniform", function(counts=(2, 1), calls=known))
    assert given == [([5.0, 6.5], [0.1, 0.2]), ([61.0], [0.3])]


@pytest.mark.parametrize(
    ("part", "ms"), [(0.0, 0), (0.01, 1), (0.25, 5), (0.5, 8), (0.75, 12), (0.99, 100), (1.0, 1000)]
)
def test_duration_meets_the_percentiles(part: float, ms: float) -> None:
    assert Duration(function().durations).at(part) == pytest.approx(ms / 1000)


def test_duration_rises_between_the_percentiles() -> None:
    duration = Duration(function().durations)
    seen = [duration.at(number / 1000) for number in range(1001)]
    assert seen == sorted(seen)
    assert fmean(seen) == pytest.approx(0.0185, rel=0.05)


@pytest.mark.parametrize(
    ("ordered", "zeros", "percent", "value"),
    [
        pytest.param([1.0], 999, 99.9, 0.0, id="the-last-of-a-thousand-is-above-p99.9"),
        pytest.param([1.0, 2.0], 998, 99.9, 1.0, id="second-but-last-of-a-thousand"),
        pytest.param([1.0, 2.0, 3.0], 0, 50, 2.0, id="the-middle"),
        pytest.param([1.0, 2.0, 3.0], 0, 100, 3.0, id="the-highest"),
        pytest.param([], 10, 99, 0.0, id="none-waited"),
        pytest.param([], 0, 99, 0.0, id="no-call"),
    ],
)
def test_percentile_is_a_value_that_was_seen(ordered: list[float], zeros: int, percent: float, value: float) -> None:
    assert rank(ordered, zeros, percent) == value
