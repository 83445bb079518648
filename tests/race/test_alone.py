"""One function with one instance, under the production rules."""

from typing import Any

import msgspec
import pytest

from corral.policy import SCALERS
from corral.race.alone import Alone, Outcome, Said
from corral.race.coldstart import fixed
from corral.race.past import MINUTE_S, Past
from corral.race.race import race
from corral.race.score import Score
from corral.race.trace import Calls, Durations, Function, Trace

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
    for moment in past.moments():
        alone.call(*moment)
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


def simulated(past: Past, engine: str, idle_s: float, **settings: Any) -> Score:
    """The same calls in the event simulation."""
    moments = [at - MINUTE_S * BEGUN for at, _ in past.moments()]
    counts = [0] * (past.until + 1 - BEGUN)
    for minute, calls in past.minutes:
        counts[minute - BEGUN] = calls
    function = Function(
        name="f",
        app="a",
        owner="o",
        trigger=past.trigger,
        memory_mib=past.memory_mib,
        counts=counts,
        durations=Durations(1.0, (1.0,) * 7),
        calls=Calls(moments, [past.service_s] * len(moments)),
    )
    trace = Trace(functions=(function,), first_minute=0, minutes=len(counts), sha256={}, source="a test")
    said = {"engine": engine, "idle_s": idle_s, **settings}
    [score] = race(trace, {"it": said}, cold_start=fixed(1000 * past.start_s))
    return score


# Not knative: at one call at once its 70 % ask for a second instance, and more than one is left out here.
@pytest.mark.parametrize(
    ("engine", "settings"),
    [
        ("corral", {}),
        ("hybrid", {}),
        ("hybrid", {"range_s": 3600, "learn_samples": 3}),
        ("openwhisk", {}),
        ("fission", {}),
    ],
)
def test_agrees_with_the_event_simulation_while_calls_do_not_overlap(engine: str, settings: dict[str, Any]) -> None:
    minutes = [*range(0, 200, 10), *range(200, 260), 300, 301, 309, *range(400, 900, 50)]
    past = msgspec.structs.replace(past_of(*minutes, service_s=0.3, start_s=0.5), until=BEGUN + 899)
    one, other = outcome_of(past, engine, 100.0, **settings), simulated(past, engine, 100.0, **settings)
    assert one.cold_starts == other.cold_starts
    assert one.added_s == pytest.approx(other.added_s, rel=0.01)
    # Stock of unbound instances is the host's and no function's.
    assert one.idle_gb_min == pytest.approx(other.idle_gb_min - other.pool_gb_min, rel=0.03)
