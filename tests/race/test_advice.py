"""What a function's past speaks for."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise

import pytest

from corral.race.advice import Advice, advise, advised, candidates, keep
from corral.race.alone import Outcome, Said
from corral.race.formats import read_trace
from corral.race.past import MOMENTS_MAX, Past
from corral.race.trace import Function

from .traces import real_trace

DAY = 1440
UNTIL = 20_000 * DAY
NOW = Said(scaling={"engine": "corral"}, idle_s=15.0)


def past_of(minutes: Iterable[int], start_s: float = 1.0, calls: int = 1, memory_mib: float = 64.0) -> Past:
    """The last two days, with what an engine would have counted of silences."""
    called = sorted(set(minutes))
    idle: dict[int, int] = {0: (calls - 1) * len(called)} if calls > 1 else {}
    for before, after in pairwise(called):
        idle[after - before - 1] = idle.get(after - before - 1, 0) + 1
    return Past(
        name="f",
        minutes=[(UNTIL - 2 * DAY + minute, calls) for minute in called],
        until=UNTIL,
        idle_minutes=idle,
        memory_mib=memory_mib,
        start_s=start_s,
        service_s=0.1,
    )


def advice_for(past: Past, now: Said = NOW, second_gib_min: float = 10.0) -> Advice:
    [found] = advise([past], {"f": now}, second_gib_min)
    return found


def rule_of(found: Advice) -> tuple[object, float | None] | None:
    return None if found.advised is None else (found.advised.scaling["engine"], found.advised.idle_s)


def at_random(count: int) -> list[int]:
    return random.Random(2).sample(range(2 * DAY), count)


HOURLY = range(0, 2 * DAY, 60)
FIVES = range(0, 2 * DAY, 5)


@pytest.mark.parametrize(
    ("past", "advised"),
    [
        pytest.param(past_of(HOURLY), ("hybrid", None), id="each hour, slow to start: back before the call"),
        # Corral's own rule would stay: it counts the work of a start too, also when nobody waits for it.
        pytest.param(past_of(FIVES), ("hybrid", None), id="each 5 min, slow to start: back before the call"),
        pytest.param(past_of(at_random(1000)), ("corral", None), id="any minute, half an hour at most: stays"),
        pytest.param(past_of(HOURLY, start_s=0.004), ("corral", None), id="each hour, starts in 4 ms: hardly kept"),
        pytest.param(past_of(at_random(30), memory_mib=2), ("corral", 14_400), id="rare, dear, small: stays for hours"),
        pytest.param(
            past_of(at_random(30), start_s=0.001, memory_mib=900), ("corral", None), id="rare, cheap, large: gone"
        ),
        pytest.param(past_of([0, 60, 700]), None, id="three calls say nothing"),
        pytest.param(past_of([]), None, id="not called"),
    ],
)
def test_cheapest_rule_is_advised(past: Past, advised: tuple[str, float | None] | None) -> None:
    found = advice_for(past)
    assert rule_of(found) == advised, found.why
    if advised is None:
        assert found.then == found.now
    else:
        assert found.then.cost(10.0) < 0.8 * found.now.cost(10.0)


def test_what_a_second_is_worth_decides_between_memory_and_waiting() -> None:
    cheap, dear = (advice_for(past_of(HOURLY, start_s=0.05), second_gib_min=worth) for worth in (0.1, 1000.0))
    assert cheap.then.idle_gb_min < cheap.now.idle_gb_min
    assert cheap.then.cold_starts == cheap.now.cold_starts
    assert dear.then.cold_starts < dear.now.cold_starts / 10


def test_what_is_best_already_stays() -> None:
    best = advice_for(past_of(HOURLY)).advised
    assert best is not None
    found = advice_for(past_of(HOURLY), Said(scaling=best.scaling, idle_s=15.0))
    assert found.advised is None
    assert "nothing costs a fifth less" in found.why


def test_function_that_is_promised_an_instance_keeps_it() -> None:
    found = advice_for(past_of(HOURLY), Said(scaling={"engine": "corral"}, idle_s=15.0, min=1))
    assert (found.advised, found.now.cold_starts) == (None, 0)


def test_others_do_not_change_what_is_found_of_one() -> None:
    one, other = past_of(HOURLY), past_of(FIVES)
    named = Past(**{field: getattr(other, field) for field in Past.__struct_fields__} | {"name": "g"})
    both = advise([one, named], {"f": NOW, "g": NOW})
    assert both[0] == advice_for(one)


def test_only_the_latest_of_a_busy_function_is_looked_at() -> None:
    found = advice_for(past_of(range(2 * DAY), calls=3))
    latest = MOMENTS_MAX // 3
    assert found.since == UNTIL - latest
    assert (found.calls, found.calls_used) == (3 * 2 * DAY, 3 * latest)


def test_minutes_full_of_calls_are_not_idle_under_any_rule() -> None:
    found = advice_for(past_of(range(2 * DAY), calls=100))
    assert (found.advised, found.now.cold_starts) == (None, 1)
    assert found.now.idle_gb_min < 0.1


def test_reason_names_silences_start_and_rule() -> None:
    assert advice_for(past_of(HOURLY)).why == (
        "go, and come back before the next call; stay 1 h where that is not known: "
        "half of 47 silences under 60 min, 99 % under 60 min, a start takes 1 s"
    )


def test_candidates_are_all_allowed() -> None:
    found = advise([past_of([0])], {"f": NOW})
    assert len(found) == 1
    assert len({(tuple(each.scaling.items()), each.idle_s) for each in candidates(100.0)}) == len(candidates(100.0))


def seen_of(function: Function, first: int, last: int) -> Past:
    """Its minutes from `first` to before `last`, as an engine would have seen them."""
    minutes = [(minute, function.counts[minute]) for minute in range(first, last) if function.counts[minute]]
    idle = Counter(after - before - 1 for (before, _), (after, _) in pairwise(minutes))
    idle[0] += sum(calls - 1 for _, calls in minutes)
    return Past(
        name=function.name,
        minutes=minutes,
        until=last - 1,
        idle_minutes=idle,
        memory_mib=function.memory_mib,
        start_s=0.3,
        service_s=min(60.0, function.durations.average_ms / 1000),
    )


def cost_of(outcomes: Mapping[str, Outcome]) -> float:
    return sum(each.cost(10.0) for each in outcomes.values())


def test_advice_of_the_first_hours_holds_for_the_next_ones() -> None:
    functions = read_trace(real_trace("100")).spread(16).functions
    before = [seen_of(each, 0, 240) for each in functions]
    after = [seen_of(each, 240, 480) for each in functions]
    now = {each.name: NOW for each in functions}
    then = {each.name: NOW if each.advised is None else advised(NOW, each.advised) for each in advise(before, now)}
    assert sum(rule != NOW for rule in then.values()) >= 5
    assert cost_of(keep(after, then)) < 0.2 * cost_of(keep(after, now))
