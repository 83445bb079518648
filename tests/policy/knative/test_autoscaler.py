"""The decision of a tick. Source of the cases: Knative serving, pkg/autoscaler/scaling/autoscaler_test.go and
aggregation/max/window_test.go. There, a target of t has t / 0.75 in all, a panic begins at twice the ready instances,
the rates are 10, the window is 60 s; excess burst capacity is compared to one call."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from corral.policy.knative.autoscaler import Autoscaler, Spec
from corral.policy.knative.scaler import first_excess_burst
from corral.policy.windows import PeakWindow

NOW = 10_000.0


def spec(target: float, burst: float, **others: Any) -> Spec:
    fields = {"panic_threshold": 2.0, "max_up_rate": 10.0, "max_down_rate": 10.0, "window_s": 60.0} | others
    return Spec(target=target, total=target / 0.75, burst_capacity=burst, **fields)


def panicking(autoscaler: Autoscaler, since: float, most: int) -> Autoscaler:
    autoscaler.panicking_since, autoscaler.panic_most = since, most
    return autoscaler


CALM, PANIC = 0, 5
ONE_TICK = [
    # name, target, burst, rates, panic_most (0: calm), ready, stable, panic -> desired, excess burst
    ("no data at zero", 10, 100, {}, CALM, 1, 0, 0, 0, -87),
    ("stable, unlimited burst", 181, -1, {}, CALM, 1, 21, 26, 1, -1),
    ("no burst", 10, 0, {}, CALM, 1, 50, 49, 5, 0),
    ("stable, no change", 10, 100, {}, CALM, 1, 50, 50, 5, -137),
    ("panic, stable larger than panic", 1, 100, {}, PANIC, 5, 50, 30, 50, -124),
    ("panic, stable less than panic", 1, 100, {}, PANIC, 5, 20, 30, 30, -124),
    ("stable, already scaled", 10, 100, {}, CALM, 5, 50, 50, 5, -84),
    ("increase with a small rate", 1, 1982, {"max_up_rate": 1.1}, CALM, 2, 3, 3.1, 3, -1983),
    ("decrease with a small rate", 10, 1982, {"max_down_rate": 1.1}, CALM, 100, 1, 1, 90, -650),
    ("decrease unreachable", 10, 1982, {"max_down_rate": 1.1, "is_reachable": False}, CALM, 100, 1, 1, 1, -650),
    ("panic doubles", 10, 84, {}, CALM, 1, 50, 100, 10, -171),
    ("one is counted where none is ready", 10, 81, {}, CALM, 0, 1000, 888, 10, -969),
]


@pytest.mark.parametrize("row", ONE_TICK, ids=[row[0] for row in ONE_TICK])
def test_one_tick(row: Any) -> None:
    _, target, burst, rates, most, ready, stable, panic, desired, excess = row
    autoscaler = Autoscaler(spec(target, burst, **rates), 0, NOW)
    if most:
        panicking(autoscaler, NOW - 5, most)
    found = autoscaler.scale(ready, stable, panic, NOW)
    assert found.desired == desired
    assert found.excess_burst == pytest.approx(excess, abs=1)


STEPS: list[tuple[str, Spec, list[tuple[float, int, float, float, int]]]] = [
    # name, spec, [(seconds after the beginning, ready, stable, panic, desired)]
    ("increase of concurrency", spec(10, 101), [(0, 1, 50, 10, 5), (2, 1, 100, 10, 10)]),
    ("increase of rps", spec(10, 101), [(0, 1, 50, 50, 5), (2, 1, 100, 99, 10)]),
    ("decrease", spec(10, 98), [(0, 8, 100, 100, 10), (2, 8, 50, 50, 5)]),
    ("no traffic scales to zero", spec(10, 75), [(0, 1, 1, 0, 1), (2, 1, 0, 0, 0)]),
    ("activation scale", spec(10, 75, activation_scale=2), [(0, 1, 0, 0, 0), (2, 1, 1, 0, 2)]),
    (
        "panic tracks exponential growth and stabilizes",
        spec(1, 101),
        [(0, 1, 6, 6, 6), (2, 6, 36, 36, 36), (4, 36, 216, 216, 216), (6, 216, 1296, 1296, 1296),
         (8, 1296, 1296, 1296, 1296)],
    ),
    ("unpanic after slow increase", spec(1, 98), [(0, 10, 11, 25, 25), (30, 40, 30, 41, 41), (62, 55, 50, 56, 50)]),
    ("panic is extended", spec(1, 98), [(0, 10, 11, 25, 25), (30, 40, 30, 80, 80)]),
    (
        "panic, then unpanic and down",
        spec(10, 93),
        [(0, 1, 100, 100, 10), (2, 10, 100, 1000, 100), (32, 10, 1, 1, 100), (63, 10, 1, 1, 1)],
    ),
    ("rate limits the way up", spec(10, 61), [(0, 1, 1000, 1001, 10), (2, 10, 1000, 1001, 100)]),
    ("rate limits the way down", spec(10, 61), [(0, 100, 1, 1, 10), (2, 10, 1, 1, 1)]),
    (
        "delay of scaling down",
        spec(10, 75, delay_s=300, panic_threshold=100),
        [(2, 1, 40, 40, 4), (300, 1, 0, 0, 4), (302, 1, 0, 0, 0)],
    ),
    (
        "delay of scaling down, gradually",
        spec(10, 75, delay_s=300, panic_threshold=100),
        [(540, 1, 40, 40, 4), (600, 1, 30, 30, 4), (660, 1, 0, 0, 4), (840, 1, 0, 0, 3), (900, 1, 0, 0, 0)],
    ),
    ("no delay", spec(10, 75, panic_threshold=100), [(0, 1, 40, 40, 4), (0.5, 1, 20, 20, 2)]),
]  # fmt: skip


@pytest.mark.parametrize(("begun", "steps"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_ticks_in_a_row(begun: Spec, steps: list[tuple[float, int, float, float, int]]) -> None:
    autoscaler = Autoscaler(begun, 0, NOW)
    found = [autoscaler.scale(ready, stable, panic, NOW + after).desired for after, ready, stable, panic, _ in steps]
    assert found == [step[4] for step in steps]


def test_panic_is_renewed_only_over_the_threshold() -> None:
    autoscaler = Autoscaler(spec(1, 98), 0, NOW)
    autoscaler.scale(10, 11, 25, NOW)
    autoscaler.scale(40, 30, 41, NOW + 30)
    assert autoscaler.panicking_since == NOW
    autoscaler.scale(55, 50, 56, NOW + 62)
    assert autoscaler.panicking_since is None
    autoscaler.scale(10, 11, 25, NOW + 70)
    autoscaler.scale(40, 30, 80, NOW + 100)
    assert autoscaler.panicking_since == NOW + 100


def test_delay_does_not_hold_what_no_route_reaches() -> None:
    reachable = spec(10, 75, delay_s=300, panic_threshold=100)
    autoscaler = Autoscaler(reachable, 0, NOW)
    assert autoscaler.scale(1, 40, 40, NOW + 2).desired == 4
    assert autoscaler.scale(1, 0, 0, NOW + 60).desired == 4
    autoscaler.respec(msgspec.structs.replace(reachable, is_reachable=False))
    assert autoscaler.scale(1, 0, 0, NOW + 62).desired == 0


def test_new_target_counts_from_the_next_tick() -> None:
    autoscaler = Autoscaler(spec(10, 77), 0, NOW)
    assert autoscaler.scale(1, 100, 101, NOW).desired == 10
    autoscaler.respec(spec(1, 71))
    assert autoscaler.scale(10, 100, 101, NOW + 2).desired == 100


def test_autoscaler_that_begins_beside_instances_does_not_scale_down_for_a_window() -> None:
    autoscaler = Autoscaler(spec(10, 100), 8, NOW)
    assert autoscaler.scale(8, 0, 0, NOW + 60).desired == 8
    assert autoscaler.scale(8, 0, 0, NOW + 60.1).desired == 0
    assert Autoscaler(spec(10, 100), 1, NOW).scale(1, 0, 0, NOW).desired == 0


WINDOW_MAX = [
    ([1], [1]),
    ([1, 2], [1, 2]),
    ([2, 1], [2, 2]),
    ([1, 2, 1], [1, 2, 2]),
    ([5, 6, 5, 5, 5, 5, 5], [5, 6, 6, 6, 6, 6, 5]),
    ([5, 6, 5, 7, 5, 5, 1], [5, 6, 6, 7, 7, 7, 7]),
    (
        [5, 8, 5, 7, 5, 5, 1, 4, 4, 4, 4, 9, 3, 4, 2, 1, 0],
        [5, 8, 8, 8, 8, 8, 7, 7, 5, 5, 4, 9, 9, 9, 9, 9, 4],
    ),
]


@pytest.mark.parametrize(("values", "highest"), WINDOW_MAX)
def test_highest_of_five_slots(values: list[int], highest: list[int]) -> None:
    assert _highest(enumerate(values)) == highest


def test_highest_of_five_slots_with_a_gap_of_three() -> None:
    assert _highest([(0, 6), (1, 5), (2, 2), (6, 1)]) == [6, 6, 6, 2]


@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1]])
def test_slot_keeps_its_highest(values: list[int]) -> None:
    assert _highest((0, value) for value in values) == [max(values[: place + 1]) for place in range(len(values))]


def _highest(recorded: Iterable[tuple[int, int]]) -> list[int]:
    window, found = PeakWindow(5), []
    for slot, value in recorded:
        window.add(value, slot)
        window.expire(slot)
        found.append(window.highest)
    return found


@pytest.mark.parametrize(("burst", "initial", "excess"), [(42, 1, -28), (42, 5, 24), (0, 3, 0), (-1, 3, -1)])
def test_excess_burst_before_the_first_tick(burst: float, initial: int, excess: float) -> None:
    assert first_excess_burst(spec(10, burst), initial) == excess
