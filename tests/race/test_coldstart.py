"""Starts take as long as their distribution says."""

import random

import pytest

from corral.errors import Invalid
from corral.race.coldstart import MEASURED, ColdStart, fixed
from corral.race.score import rank


def drawn(start: ColdStart, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return sorted(1000 * start.draw(rng) for _ in range(20_000))


@pytest.mark.parametrize(("percent", "ms"), [(50, 3.2), (99, 4.7)])
def test_measured_starts_have_the_percentiles_of_the_bench(percent: float, ms: float) -> None:
    assert rank(drawn(MEASURED), 0, percent) == pytest.approx(ms, rel=0.02)


def test_draws_lie_between_the_quantiles() -> None:
    start = ColdStart("steps", ((0, 1.0), (50, 2.0), (90, 10.0), (100, 20.0)))
    seen = drawn(start)
    assert seen[0] >= 1.0
    assert seen[-1] <= 20.0
    assert rank(seen, 0, 90) == pytest.approx(10.0, rel=0.02)
    assert drawn(start) == drawn(start)
    assert drawn(start) != drawn(start, seed=2)


def test_fixed_start_is_always_as_long() -> None:
    assert set(drawn(fixed(250.0))) == {250.0}


@pytest.mark.parametrize("ms", [-1.0, float("nan"), 1e9])
def test_start_that_cannot_be_is_refused(ms: float) -> None:
    with pytest.raises(Invalid, match=r"cold-start = .*, must be between 0 and 3600000 ms, or `measured`"):
        fixed(ms)
