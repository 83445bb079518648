"""The free edition's chain: Prometheus' alert, the Alertmanager's notifications, the steps."""

from collections.abc import Callable

import pytest

from corral.policy.openfaas.alert import Alert, step
from corral.policy.openfaas.series import Series


@pytest.mark.parametrize(
    ("most", "factor", "added"),
    [(5, 10, 1), (5, 20, 1), (5, 21, 2), (5, 100, 5), (20, 10, 2), (100, 10, 10), (1, 1, 1)],
)
def test_step_is_the_factors_percent_of_max(most: int, factor: int, added: int) -> None:
    assert step(most, factor) == added


def told(calls: Callable[[int], float], until: int) -> list[tuple[float, bool]]:
    """What is told when, with so many good calls in each second."""
    series = Series(0.0)
    alert = Alert(series, 0.0)
    found = []
    for second in range(1, until + 1):
        if series.scrape(True, second):
            alert.evaluate(second)
        answer = alert.look(second)
        if answer is not None:
            found.append((float(second), answer))
        series.value += calls(second)
    return found


def test_firing_is_told_after_its_waits_and_repeated_each_30_s() -> None:
    # The first sample is at 5 s, the first rate at 10 s, it fires at 15 s, and is told of 5 s later.
    assert told(lambda _: 6.0, 120) == [(20, True), (50, True), (80, True), (110, True)]


def test_end_is_told_at_the_next_of_the_looks() -> None:
    # The rate falls at 45 s: of the samples of the last ten seconds none differs from 50 s on.
    assert told(lambda second: 10.0 if second < 40 else 0.0, 120) == [(20, True), (50, False)]


def test_five_calls_a_second_are_not_too_many() -> None:
    assert told(lambda _: 5.0, 120) == []


def test_alert_that_ends_before_it_was_told_of_is_never_told() -> None:
    assert told(lambda second: 20.0 if second in (6, 7, 8, 11, 12) else 0.0, 60) == []


def test_new_firing_waits_anew() -> None:
    found = told(lambda second: 0.0 if 40 <= second < 80 else 10.0, 120)
    assert found == [(20, True), (50, False), (95, True)]
