"""What is kept when not all can be: tables of uses, and what goes first."""

import pytest

from corral.policy.budget import SAMPLES, WorkingSet
from corral.policy.greedy_dual import GreedyDual
from corral.policy.reserve import Spare


def kept(*spares: tuple[str, float, float, int]) -> GreedyDual:
    """Each (key, MiB, seconds saved, uses), used in this order."""
    reserve = GreedyDual()
    for key, memory_mib, saves_s, uses in spares:
        reserve.keep(key)
        reserve.used(Spare(key, memory_mib, saves_s), uses)
    return reserve


@pytest.mark.parametrize(
    ("other", "first"),
    [
        pytest.param(("other", 100, 0.1, 9), "other", id="used less often"),
        pytest.param(("other", 100, 0.05, 10), "other", id="saves less"),
        pytest.param(("other", 200, 0.1, 10), "other", id="larger"),
        pytest.param(("other", 200, 0.1, 21), "this", id="larger, and used more than its size costs"),
        pytest.param(("other", 100, 0.1, 10), "this", id="equal: what came first"),
    ],
)
def test_the_least_saving_for_its_size_goes_first(other: tuple[str, float, float, int], first: str) -> None:
    assert next(kept(("this", 100, 0.1, 10), other).lowest()) == first


def test_what_is_not_used_any_more_falls_behind_by_standing_still() -> None:
    reserve = kept(("once loved", 10, 1.0, 50))
    for rounds in range(200):
        # Each newcomer is used until it is worth keeping, and evicted when the next one comes.
        key = f"new{rounds}"
        reserve.keep(key)
        reserve.used(Spare(key, 10, 1.0), 2)
        least = next(reserve.lowest())
        reserve.evicted(least)
        reserve.leave(least)
        if least == "once loved":
            break
    assert 10 < rounds < 100


def test_an_evicted_one_begins_with_no_uses_and_comes_near_the_level_with_each() -> None:
    reserve = kept(("a", 10, 1.0, 5), ("b", 10, 1.0, 8))
    reserve.evicted("a")
    reserve.leave("a")
    values = []
    for _ in range(20):
        reserve.used(Spare("a", 10, 1.0))
        values.append(reserve.value("a"))
    assert values[0] == pytest.approx(0.5 / 8 + 0.1)
    assert values[19] == pytest.approx(0.5 + 20 * 0.1, abs=0.05)
    assert list(reserve.lowest()) == ["b"]


def test_a_use_of_what_is_kept_lifts_it_to_the_level() -> None:
    reserve = kept(("a", 10, 1.0, 5), ("b", 10, 1.0, 8))
    reserve.evicted("a")
    reserve.used(Spare("b", 10, 1.0))
    assert reserve.value("b") == pytest.approx(0.5 + 0.9)


def test_working_set_is_the_95th_percentile_of_the_latest_samples() -> None:
    used = WorkingSet()
    assert used.mib is None
    used.add(12.2)
    assert used.mib == 13
    for _ in range(95):
        used.add(10)
    for _ in range(4):
        used.add(200)
    assert used.mib == 10, "4 of 100 are above"
    used.add(200)
    used.add(200)
    assert used.mib == 200, "6 of 100 are above"
    for _ in range(SAMPLES):
        used.add(0.3)
    assert used.mib == 1
