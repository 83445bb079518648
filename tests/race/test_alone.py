"""One function with one instance, under the production rules."""

from typing import Any

import pytest

from corral.policy import SCALERS
from corral.race.alone import Alone, Outcome, Said
from corral.race.past import MINUTE_S, Past

GB = 1024.0
BEGUN = 28_000_000
"""A minute since 1970."""


def past_of(*minutes: int, calls: int = 1, service_s: float = 0.0, start_s: float = 2.0) -> Past:
    return Past(
        name="f",
        minutes=[(BEGUN + minute, calls) for minute in minutes],
        until=BEGUN + 999,
        memory_mib=GB,
        start_s=start_s,
        service_s=service_s,
    )


def outcome_of(past: Past, engine: str, idle_s: float = 15.0, least: int = 0, **settings: Any) -> Outcome:
    rule = SCALERS[engine]
    common = None if rule.common is None else rule.common()
    said = Said(scaling={"engine": engine, **settings}, idle_s=idle_s, min=least)
    alone = Alone(past, said, common, MINUTE_S * past.minutes[0][0])
    for at in past.moments():
        alone.call(at)
    return alone.outcome(MINUTE_S * (past.until + 1))


@pytest.mark.parametrize(
    ("minutes", "idle_s", "cold", "idle_min"),
    [
        pytest.param([0], 600, 1, 10, id="one call: it stays for its idle time"),
        pytest.param([0, 9], 600, 1, 19, id="called within it"),
        pytest.param([0, 11], 600, 2, 20, id="called after it"),
        pytest.param([0, 10, 20], 15, 3, 0.75, id="short idle time: each is cold"),
        pytest.param([995], 600, 1, 4.5, id="only what is past is charged"),
    ],
)
def test_fixed_idle_time(minutes: list[int], idle_s: float, cold: int, idle_min: float) -> None:
    found = outcome_of(past_of(*minutes), "corral", idle_s)
    assert found.cold_starts == cold
    assert found.added_s == cold * 2.0
    # The rule hears of a call at the end of its second, and an instance comes to be used with a start.
    assert found.idle_gb_min == pytest.approx(idle_min, abs=0.05 * cold)


def test_time_in_which_it_executes_is_not_idle_and_ends_no_instance() -> None:
    found = outcome_of(past_of(0, 4, service_s=200.0), "corral", idle_s=60)
    # From 2 + 200 s to 240 s, and a minute after the second call.
    assert found.cold_starts == 1
    assert found.idle_gb_min == pytest.approx(38 / 60 + 1, abs=0.05)


def test_call_during_another_is_neither_cold_nor_after_a_silence() -> None:
    found = outcome_of(past_of(0, 1, 2, service_s=90.0), "corral", idle_s=15)
    assert found.cold_starts == 1
    assert found.idle_gb_min == pytest.approx(15 / 60, abs=0.05)


def test_minimum_is_always_there() -> None:
    found = outcome_of(past_of(0, 500), "corral", least=1)
    assert found.cold_starts == 0
    assert found.idle_gb_min == pytest.approx(1000, abs=1)


def test_hybrid_comes_back_before_the_next_call() -> None:
    found = outcome_of(past_of(*range(0, 1000, 10), start_s=0.5), "hybrid")
    # 8.1 to 10 minutes of each but the first ten, and up to 11 at the end.
    assert found.cold_starts == 1
    assert found.idle_gb_min == pytest.approx(10 + 98 * 1.9, rel=0.06)


@pytest.mark.parametrize("engine", SCALERS)
def test_every_rule_can_be_asked(engine: str) -> None:
    found = outcome_of(past_of(0, 1, 2, 30, 31, 90, 400, 401, 700, calls=3), engine)
    if found.cold_starts:
        assert found.cold_starts <= 27
        assert 0 < found.idle_gb_min < 990
    else:
        assert found.idle_gb_min == pytest.approx(1000, abs=1), "it never goes to zero"
