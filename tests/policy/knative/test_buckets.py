"""The windows. Source of the cases: Knative serving, pkg/autoscaler/aggregation/bucketing_test.go."""

import pytest

from corral.policy.knative.buckets import Buckets, smoothing


def written(count: int, *writes: tuple[int, float]) -> Buckets:
    buckets = Buckets(count)
    for second, value in writes:
        buckets.record(second, value)
    return buckets


def test_average_follows_what_was_written_upstreams_walk() -> None:
    buckets = written(5, (100, 1))
    assert buckets.average(100) == 1
    for second in range(1, 5):
        buckets.record(100 + second, second + 1)
    assert buckets.average(104) == 3, "15 / 5"
    assert buckets.average(106) == 4, "(15 - 1 - 2) / 3: two seconds expired, two are silent"
    assert buckets.average(110) == 0, "nothing for a whole window"
    buckets.record(106, 91)
    assert buckets.average(106) == 20.6, "(15 - 1 - 2 + 91) / 5"
    buckets.record(166, 1984)
    assert buckets.average(166) == 1984, "everything before was a window ago"
    buckets.record(163, 4)
    assert buckets.average(166) == (4 + 1984) / 4, "a late value begins the window earlier"
    buckets.record(167, 5)
    assert buckets.average(167) == (4 + 1984 + 5) / 5
    buckets.record(164, 10)
    assert buckets.average(167) == (4 + 10 + 1984 + 5) / 5
    buckets.record(161, 10)
    buckets.record(162, 10)
    assert buckets.average(167) == (4 + 10 + 1984 + 5) / 5, "too late: ignored"
    buckets.record(172, 10)
    assert buckets.average(172) == 10, "exactly one window later"


def test_values_of_one_second_are_added() -> None:
    assert written(5, (100, 1), (100, 10)).average(100) == 11


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 3, 2, 1, 4)])
def test_every_value_counts_once_in_any_order(order: tuple[int, ...]) -> None:
    buckets = Buckets(5)
    for second in order:
        for number in range(5):
            buckets.record(100 + second, second + number)
    assert buckets.average(104) == 100 / 5


def test_empty_window_is_known_after_more_than_its_length() -> None:
    buckets = written(5, (100, 1))
    assert not Buckets(5).average(100)
    assert Buckets(5).is_empty(100)
    assert not buckets.is_empty(105)
    assert buckets.is_empty(106) and buckets.empty_at == 106


@pytest.mark.parametrize(("count", "share"), [(100, 0.2), (60, 0.2), (40, 0.20567), (6, 0.78456)])
def test_smoothing_covers_the_window(count: int, share: float) -> None:
    assert smoothing(count) == pytest.approx(share, abs=1e-5)


def test_weighted_average_favours_the_newest() -> None:
    c = smoothing(5)
    buckets = written(5, (100, 2))
    assert buckets.weighted(100) == pytest.approx(2 * c)
    assert buckets.weighted(101) == pytest.approx(2 * c * (1 - c))
    buckets.record(101, 2)
    assert buckets.weighted(101) == pytest.approx(2 * c * (1 - c) + 2 * c)
    full = written(5, *((100 + second, second + 2) for second in range(5)))
    expected = sum(value * c * (1 - c) ** age for age, value in enumerate((6, 5, 4, 3, 2)))
    assert full.weighted(104) == pytest.approx(expected)
    assert expected == pytest.approx(5.812, abs=0.001)
    assert full.weighted(109) == 0
    assert Buckets(5).weighted(100) == 0


@pytest.mark.parametrize(("count", "kept"), [(3, (3 + 4 + 5) / 3), (10, 3.0)])
def test_resized_window_keeps_the_newest_seconds(count: int, kept: float) -> None:
    buckets = written(5, *((100 + second, second + 1) for second in range(5)))
    buckets.resize(count)
    assert buckets.average(104) == kept
    buckets.record(105, 6)
    assert buckets.average(105) == ((4 + 5 + 6) / 3 if count == 3 else 21 / 6)


@pytest.mark.parametrize(("count", "mean"), [(30, 10 / 30), (120, 10 / 60)])
def test_resized_window_that_is_younger_counts_from_as_many_seconds_as_it_kept(count: int, mean: float) -> None:
    buckets = written(60, (100, 4), (101, 6))
    buckets.resize(count)
    assert buckets.average(101) == pytest.approx(mean, abs=1e-6)


def test_silence_that_was_looked_at_is_the_same_as_zeros_written() -> None:
    for gap in (1, 3, 4, 5, 6, 50):
        quiet, zeros = written(5, (98, 2), (100, 7)), written(5, (98, 2), (100, 7))
        quiet.pass_silence(100 + gap)
        for second in range(101, 101 + gap):
            zeros.record(second, 0)
        for later in range(6):
            assert quiet.average(100 + gap + later) == zeros.average(100 + gap + later)
        assert quiet.empty_at == zeros.empty_at
