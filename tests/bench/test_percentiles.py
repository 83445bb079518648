import random

import pytest

from corral.bench.percentiles import median, percentile, ratio_interval, spread


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([7.0], 0.5, 7.0, id="one value is every percentile"),
        pytest.param([1.0, 2.0], 0.5, 1.0, id="the lower of two, never their mean"),
        pytest.param([1.0, 2.0, 3.0], 0.5, 2.0, id="the middle of three"),
        pytest.param(list(range(1, 101)), 0.99, 99, id="p99 of a hundred is the ninety-ninth"),
        pytest.param(list(range(1, 301)), 0.99, 297, id="p99 of three hundred leaves three above"),
        pytest.param(list(range(1, 11)), 1.0, 10, id="the whole is the greatest"),
    ],
)
def test_percentile_is_a_value_that_was_seen(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_spread_needs_no_order() -> None:
    seen = spread([3.0, 1.0, 2.0])
    assert seen is not None
    assert (seen.count, seen.p50, seen.p99, seen.max) == (3, 2.0, 3.0, 3.0)


def test_nothing_measured_has_no_spread() -> None:
    assert spread([]) is None


def test_ratio_interval_holds_the_ratio_and_is_the_same_for_the_same_seed() -> None:
    draw = random.Random(1)
    above = [draw.gauss(6.0, 0.5) for _ in range(200)]
    below = [draw.gauss(2.0, 0.2) for _ in range(200)]
    low, high = ratio_interval(above, below, random.Random(2))
    assert low <= median(above) / median(below) <= high
    assert 2.5 < low < high < 3.5
    assert (low, high) == ratio_interval(above, below, random.Random(2))
