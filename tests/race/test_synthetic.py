"""A made-up trace has the statistics of a real one, and is the same for the same seed."""

from collections.abc import Callable, Sequence

import pytest

from corral.race.azure2019 import read_2019
from corral.race.classes import class_of
from corral.race.synthetic import synthetic
from corral.race.trace import Function, Trace

from .traces import real_trace

QUARTILES = (0.25, 0.5, 0.75)


@pytest.fixture(scope="module")
def real() -> Trace:
    return read_2019(real_trace("500"))


@pytest.fixture(scope="module", params=[1, 2])
def made(request: pytest.FixtureRequest) -> Trace:
    return synthetic(500, 480, seed=request.param)


def quantiles(values: Sequence[float], parts: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered[int(part * len(ordered))] for part in parts]


def of(trace: Trace, value: Callable[[Function], float], parts: Sequence[float] = QUARTILES) -> list[float]:
    return quantiles([value(function) for function in trace.functions], parts)


def active(function: Function) -> int:
    return sum(1 for count in function.counts if count)


@pytest.mark.parametrize(
    "value, factor",
    [
        pytest.param(lambda function: function.total, 2.1, id="calls"),
        pytest.param(active, 1.5, id="minutes with calls"),
        pytest.param(lambda function: function.durations.average_ms, 1.5, id="mean duration"),
        pytest.param(lambda function: function.memory_mib, 1.1, id="memory"),
    ],
)
def test_quartiles_are_those_of_the_real_trace(
    real: Trace, made: Trace, value: Callable[[Function], float], factor: float
) -> None:
    for theirs, ours in zip(of(real, value), of(made, value), strict=True):
        assert theirs / factor <= ours <= theirs * factor


def test_popularity_is_as_heavy_tailed_as_in_the_real_trace(real: Trace, made: Trace) -> None:
    for theirs, ours in zip(
        of(real, lambda f: f.total, (0.9, 0.99)), of(made, lambda f: f.total, (0.9, 0.99)), strict=True
    ):
        assert theirs / 2 <= ours <= theirs * 2
    assert real.total / 1.5 <= made.total <= real.total * 1.5


def test_one_function_makes_the_same_part_of_all_calls(real: Trace, made: Trace) -> None:
    assert real.dominating is not None and made.dominating is not None
    assert made.dominating.total / made.total == pytest.approx(real.dominating.total / real.total, abs=0.02)


def test_classes_are_as_frequent_as_in_the_real_trace(real: Trace, made: Trace) -> None:
    kinds = [[class_of(function) for function in trace.functions] for trace in (real, made)]
    for kind in ("steady", "periodic", "bursty", "rare"):
        theirs, ours = (each.count(kind) for each in kinds)
        assert ours == pytest.approx(theirs, abs=0.05 * 500), kind


def test_triggers_are_as_frequent_as_in_the_real_trace(real: Trace, made: Trace) -> None:
    for trigger in ("timer", "http", "queue"):
        theirs, ours = (sum(1 for each in trace.functions if each.trigger == trigger) for trace in (real, made))
        assert ours == pytest.approx(theirs, abs=0.02 * 500), trigger


def test_durations_are_spread_as_in_the_real_trace(real: Trace, made: Trace) -> None:
    def tail(function: Function) -> float:
        return function.durations.percentiles_ms[5] / max(1.0, function.durations.percentiles_ms[3])

    for theirs, ours in zip(of(real, tail), of(made, tail), strict=True):
        assert theirs / 2 <= ours <= theirs * 2


@pytest.mark.parametrize("functions, minutes", [(2, 1), (20, 60), (60, 120)])
def test_every_function_is_called_and_one_dominates_however_small_the_trace(functions: int, minutes: int) -> None:
    trace = synthetic(functions, minutes, seed=3)
    assert len(trace.functions) == len({function.name for function in trace.functions}) == functions
    assert all(function.total and len(function.counts) == minutes for function in trace.functions)
    assert trace.dominating is trace.functions[-1]


def test_same_seed_same_trace_and_another_seed_another() -> None:
    assert synthetic(30, 30, 5) == synthetic(30, 30, 5)
    assert synthetic(30, 30, 5) != synthetic(30, 30, 6)
