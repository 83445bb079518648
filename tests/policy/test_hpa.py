"""Kubernetes' autoscaler: its arithmetic, and how fast it goes up and down."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.policy import Usage
from corral.policy.hpa import SYNC_S, Hpa, Load, Target, replicas

BUSY = 1000.0


def percent(*used: float, missing: int = 0, unready: int = 0) -> Load:
    return Load(sum(used), len(used), missing, unready)


@pytest.mark.parametrize(
    ("current", "load", "target", "wanted"),
    [
        pytest.param(3, percent(30, 50, 70), 30, 5, id="scale up"),
        pytest.param(3, percent(50, 70, unready=1), 30, 4, id="unready ones lessen the scale up"),
        pytest.param(3, percent(40, unready=2), 30, 3, id="unready ones stop the scale up"),
        pytest.param(5, percent(10, 30, 50, 25, 25), 50, 3, id="scale down"),
        pytest.param(5, percent(30, 50, unready=3), 50, 2, id="unready ones are not asked on the way down"),
        pytest.param(3, percent(101, 103, 102), 100, 3, id="within the tolerance"),
        pytest.param(10, Load(1100, 10), 100, 11, id="a tenth above is beyond it, by a hair of rounding"),
        pytest.param(10, Load(1090, 10), 100, 10, id="less than a tenth above is within"),
        pytest.param(2, percent(100, missing=1), 100, 2, id="missing and on target"),
        pytest.param(2, percent(190, missing=1), 100, 2, id="missing counts as idle on the way up"),
        pytest.param(2, percent(60, missing=1), 100, 2, id="missing counts as all it may take on the way down"),
        pytest.param(3, percent(200, missing=1, unready=1), 50, 4, id="missing and unready lessen the scale up"),
        pytest.param(4, percent(10, 10, missing=1, unready=1), 50, 3, id="missing lessens the scale down"),
        pytest.param(3, percent(45, missing=1, unready=1), 50, 3, id="missing and unready, within the tolerance"),
        pytest.param(1, percent(80.9), 80, 1, id="percent are cut to whole ones"),
        pytest.param(4, percent(0, 0, 0, 0), 80, 0, id="idle: least decides"),
        pytest.param(3, percent(missing=3), 80, None, id="nothing was measured"),
    ],
)
def test_wanted_number_by_percent_of_cpu(current: int, load: Load, target: float, wanted: int | None) -> None:
    assert replicas(current, load, Target("cpu", target)) == wanted


@pytest.mark.parametrize(
    ("current", "load", "target", "wanted"),
    [
        pytest.param(2, Load(600, 2), 100, 6, id="scale up"),
        pytest.param(4, Load(200, 4), 100, 2, id="scale down"),
        pytest.param(4, Load(90, 2, missing=2), 100, 3, id="missing counts as on target on the way down"),
        pytest.param(2, Load(218, 2), 100, 2, id="within the tolerance"),
    ],
)
def test_wanted_number_by_mebibytes(current: int, load: Load, target: float, wanted: int) -> None:
    assert replicas(current, load, Target("memory", target)) == wanted


def play(hpa: Hpa, current: int, syncs: Iterable[float], most: int = 1000) -> list[int]:
    """Each sync with so many cores used in all, by instances that are all ready at once; what it brought."""
    found = []
    for cores in syncs:
        hpa.measure(Usage(current, cores, 0.0))
        current = hpa.sync(current, current, Target("cpu", 50), 1, most, hpa.sync_at)
        found.append(current)
    return found


def test_four_more_or_twice_as_many_in_one_period() -> None:
    assert play(Hpa(1, 0.0), 1, [BUSY] * 5) == [5, 10, 20, 40, 80]


def test_most_bounds_the_way_up() -> None:
    assert play(Hpa(1, 0.0), 1, [BUSY] * 4, most=12) == [5, 10, 12, 12]


def test_highest_wish_of_300_s_holds_on_the_way_down() -> None:
    # 4 cores at 50 percent need 8; then half a core needs 1.
    brought = play(Hpa(1, 0.0), 1, [4.0] * 2 + [0.5] * 21)
    assert brought == [5, 8] + [8] * 19 + [1, 1]


def test_what_stands_at_the_beginning_holds_for_300_s() -> None:
    assert play(Hpa(6, 0.0), 6, [0.1] * 20) == [6] * 19 + [1]


def test_lowest_wish_of_its_window_holds_on_the_way_up() -> None:
    hpa = Hpa(1, 0.0, up_window_s=60.0)
    assert play(hpa, 1, [2.0] * 5) == [1, 1, 1, 4, 4]


def test_no_wish_waits_where_both_windows_are_0() -> None:
    assert play(Hpa(1, 0.0, down_window_s=0.0), 1, [4.0, 4.0, 0.5]) == [5, 8, 1]


@pytest.mark.parametrize(("current", "bounded"), [(0, 0), (1, 2), (9, 5)])
def test_bounds_count_at_once_and_zero_is_off(current: int, bounded: int) -> None:
    assert Hpa(current, 0.0).sync(current, current, Target("cpu", 50), 2, 5, SYNC_S) == bounded


def test_cpu_is_the_mean_since_the_last_sync_and_memory_the_newest() -> None:
    hpa = Hpa(2, 0.0)
    for cores in (0.0, 0.0, 3.0):
        hpa.measure(Usage(2, cores, 10 * cores))
    hpa.sync(2, 2, Target("cpu", 50, cpu=0.5), 1, 9, 15.0)
    assert hpa.load == Load(200.0, 2), "half a core each, of half a core that each may take"
    hpa.measure(Usage(2, 0.0, 10.0))
    hpa.measure(Usage(3, 0.0, 90.0))
    hpa.sync(4, 3, Target("memory", 30), 1, 9, 30.0)
    assert hpa.load == Load(90.0, 3, missing=0, unready=1)


def test_nothing_measured_since_the_last_sync_changes_nothing() -> None:
    hpa = Hpa(3, 0.0)
    assert hpa.sync(3, 3, Target("cpu", 50), 1, 9, 15.0) == 3
    assert hpa.load is None


def test_late_sync_keeps_the_rhythm() -> None:
    hpa = Hpa(1, 0.0)
    hpa.sync(1, 1, Target("cpu", 50), 1, 9, 47.0)
    assert hpa.sync_at == 60.0


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 400), st.integers(1, 200))
def test_more_usage_never_means_fewer(measured: int, missing: int, unready: int, used: int, value: int) -> None:
    current, target = measured + missing + unready, Target("cpu", value)
    less = replicas(current, Load(used * measured, measured, missing, unready), target)
    more = replicas(current, Load((used + 7) * measured, measured, missing, unready), target)
    assert less is not None and more is not None and less <= more
