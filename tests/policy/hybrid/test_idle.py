"""The histogram of idle times."""

from random import Random
from statistics import fmean, pstdev

import pytest

from corral.policy.hybrid import IdleTimes


def of(minutes: list[int], bins: int = 240) -> IdleTimes:
    idle = IdleTimes(bins=bins)
    for each in minutes:
        idle.add(60.0 * each)
    return idle


@pytest.mark.parametrize(
    ("minutes", "head_min", "tail_min"),
    [
        pytest.param([4], 4, 5, id="one: the edges of its bin"),
        pytest.param([4] * 100, 4, 5, id="many alike"),
        pytest.param(list(range(100)), 4, 99, id="the bins in which 5 and 99 of 100 are reached"),
        pytest.param([1] * 4 + [9] * 96, 9, 10, id="4 of 100 are below the head"),
        pytest.param([1] * 5 + [9] * 95, 1, 10, id="5 of 100 are at the head"),
        pytest.param([9] * 99 + [50], 9, 10, id="1 of 100 is above the tail"),
        pytest.param([9] * 98 + [50] * 2, 9, 51, id="2 of 100 are the tail"),
        pytest.param([3, 500], 3, 4, id="beyond the range counts for neither"),
    ],
)
def test_head_and_tail(minutes: list[int], head_min: int, tail_min: int) -> None:
    idle = of(minutes)
    assert (idle.head_s(5) / 60, idle.tail_s(99) / 60) == (head_min, tail_min)


@pytest.mark.parametrize(
    ("minutes", "bins"),
    [
        pytest.param([7], 240, id="one"),
        pytest.param([0, 1, 2, 3], 4, id="even"),
        pytest.param([0, 0, 0, 5, 9, 9, 77], 240, id="mixed"),
    ],
)
def test_variation_is_that_of_all_bins_counts(minutes: list[int], bins: int) -> None:
    counts = [minutes.count(each) for each in range(bins)]
    assert of(minutes, bins).variation == pytest.approx(pstdev(counts) / fmean(counts))


def test_same_is_said_in_whatever_order_they_came() -> None:
    minutes = [0, 0, 3, 17, 17, 230, 999]
    shuffled = Random(5).sample(minutes, len(minutes))
    one, other = of(minutes), of(shuffled)
    assert (one.counts, one.order, one.outside, one.squares) == (
        other.counts,
        other.order,
        other.outside,
        other.squares,
    )


def test_only_the_latest_are_remembered_one_by_one() -> None:
    idle = of(list(range(20)))
    idle.add(0.0, times=3)
    assert idle.latest == [60.0 * each for each in range(15, 20)] + [0.0] * 3


def test_shorter_range_puts_longer_times_outside_and_wider_bins_join() -> None:
    idle = of([5, 6, 7, 100])
    idle.fit(bin_s=120.0, bins=30)
    assert idle.counts == {2: 1, 3: 2}
    assert (idle.inside, idle.outside, idle.squares, idle.order) == (3, 1, 5, [2, 3])


def test_longer_range_takes_what_was_outside_as_just_beyond_the_old_one() -> None:
    idle = of([5, 300], bins=240)
    idle.fit(bin_s=60.0, bins=480)
    assert (idle.counts, idle.outside) == ({5: 1, 240: 1}, 0)


def test_what_was_written_down_takes_the_place_of_what_it_holds_more_of() -> None:
    idle = of([9, 9])
    idle.recall({9: 5, 240: 2})
    assert (idle.counts, idle.outside, idle.latest) == ({9: 5}, 2, [540.0, 540.0])
    idle.recall({3: 1})
    assert idle.counts == {9: 5}, "it is older than what is known"
