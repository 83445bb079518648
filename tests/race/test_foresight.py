"""The engine `corral` in minute bins: its curve on the real trace, and that it sees nothing but the past."""

import pytest

from corral.race.foresight import Foresight
from corral.race.formats import read_trace
from corral.race.keepers import keeper_of
from corral.race.minutes import Kept, Subject, keep

from .traces import real_trace

TIMER = Subject(number=0, name="f", app="a", owner="o", trigger="timer", memory_mib=64)


@pytest.fixture(scope="module")
def kept() -> dict[str, Kept]:
    trace = read_trace(real_trace("500"))
    return {name: keep(trace, keeper_of(name)) for name in ("corral-800", "corral-2500", "corral-7000")}


def test_it_has_few_cold_starts_for_little_memory(kept: dict[str, Kept]) -> None:
    found = kept["corral-800"]
    assert found.cold_starts <= 1_300
    assert found.idle_gb_min <= 3_600


@pytest.mark.parametrize(
    ("cold", "idle_gb_min", "name"),
    [
        pytest.param(14_453, 2_879, "corral-800", id="fixed 2 minutes"),
        pytest.param(4_077, 4_870, "corral-2500", id="fixed 5 minutes"),
        pytest.param(2_488, 5_937, "corral-2500", id="fixed 10 minutes"),
        pytest.param(1_558, 6_582, "corral-2500", id="fixed 15 minutes"),
        pytest.param(1_388, 7_025, "corral-2500", id="fixed 20 minutes"),
        pytest.param(637, 9_217, "corral-7000", id="fixed 60 minutes"),
        pytest.param(1_243, 4_118, "corral-800", id="hybrid, 10 minutes until 5 samples"),
        pytest.param(892, 4_467, "corral-2500", id="hybrid of 1 hour"),
        pytest.param(800, 5_636, "corral-2500", id="hybrid of 4 hours"),
    ],
)
def test_its_curve_lies_below(kept: dict[str, Kept], cold: int, idle_gb_min: float, name: str) -> None:
    assert kept[name].cold_starts < cold
    assert kept[name].idle_gb_min < idle_gb_min


def test_more_weight_on_waiting_is_fewer_cold_starts_and_more_memory(kept: dict[str, Kept]) -> None:
    found = list(kept.values())
    assert [each.cold_starts for each in found] == sorted((each.cold_starts for each in found), reverse=True)
    assert [each.idle_gb_min for each in found] == sorted(each.idle_gb_min for each in found)


def test_it_loads_again_for_the_minute_in_which_a_timer_comes() -> None:
    keeper = Foresight(1000)
    for minute in range(0, 600, 20):
        windows = keeper.called(TIMER, minute, 1)
    assert any(window.begin <= 20 <= window.end for window in windows)
    assert sum(window.end - window.begin + 1 for window in windows if window.begin) <= 12


def test_what_is_kept_depends_on_the_past_alone() -> None:
    calls = [0, 3, 7, 8, 20, 33, 34, 60, 61, 75]
    whole, part = Foresight(1000), Foresight(1000)
    answers = [whole.called(TIMER, minute, 1) for minute in calls]
    assert [part.called(TIMER, minute, 1) for minute in calls[:5]] == answers[:5]
