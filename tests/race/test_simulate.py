"""The event simulation drives the production Pool and Roster: few calls by hand, and what must hold for any."""

import multiprocessing
import random
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from corral.errors import Invalid, Unavailable
from corral.policy import SCALERS
from corral.race.arrivals import ARRIVALS, Arrivals
from corral.race.arrivals import Calls as CallsOf
from corral.race.coldstart import ColdStart, fixed
from corral.race.conditions import Conditions
from corral.race.keepers import Fixed
from corral.race.minutes import keep
from corral.race.race import race, race_under, work
from corral.race.score import Score
from corral.race.simulate import LATE_S
from corral.race.trace import Calls, Durations, Function, Trace
from corral.roster.deployment import Deployment

KEPT_60_S = {"idle_s": 60.0}
FLAT = Durations(1000, (1000,) * 7)
COLD = fixed(100.0)
ONE_AT_ONCE = {"openfaas": {"mode": "capacity", "target": 1}}
"""Rules whose defaults are for instances that take many calls at once."""


def trace_of(*functions: Function) -> Trace:
    return Trace(
        functions=functions, first_minute=0, minutes=len(functions[0].counts), sha256={}, source="made by a test"
    )


def called(*calls: tuple[float, float], minutes: int = 5, name: str = "f") -> Function:
    """At these seconds, for so long."""
    counts = [0] * minutes
    for moment, _ in calls:
        counts[int(moment // 60)] += 1
    known = Calls([moment for moment, _ in calls], [service for _, service in calls])
    return Function(
        name=name, app="a", owner="o", trigger="http", memory_mib=1024, counts=counts, durations=FLAT, calls=known
    )


def raced(trace: Trace, said: Mapping[str, Any] = KEPT_60_S, cold: ColdStart = COLD, **others: Any) -> Score:
    (score,) = race_under(Conditions(cold_start=cold, **others), trace, {"it": said})
    return score


def test_call_waits_for_the_cold_start_and_the_next_one_does_not() -> None:
    score = raced(trace_of(called((10.0, 1.0), (40.0, 1.0))))
    assert (score.calls, score.starts, score.cold_starts, score.cold_calls) == (2, 1, 1, 1)
    assert score.added_s == pytest.approx(0.1)
    assert score.added_max_ms == pytest.approx(100.0)
    assert score.added_p50_ms == 0.0


def test_instance_goes_after_its_idle_time_and_the_next_call_is_cold() -> None:
    score = raced(trace_of(called((10.0, 1.0), (150.0, 1.0))))
    assert (score.starts, score.cold_starts, score.cold_calls) == (2, 2, 2)


def test_memory_is_charged_from_the_start_until_it_is_gone() -> None:
    # Ready at 10.1, executing until 11.1. The second that closes at 12 is the last with a call in it: 60 s after the
    # engine heard of it the instance goes, and 5 ms later its memory is free.
    score = raced(trace_of(called((10.0, 1.0))))
    assert score.busy_gb_min == pytest.approx(1.0 / 60)
    alive_s = 12.0 + 0.0005 + 60.0 + LATE_S + 0.005 - 10.0005
    assert score.idle_gb_min == pytest.approx((alive_s - 1.0) / 60)
    assert score.instances[0] == pytest.approx((60.0 - 10.0005) / 60)
    assert sum(score.instances) == pytest.approx(alive_s / 60)


def test_memory_after_the_trace_is_not_charged() -> None:
    score = raced(trace_of(called((290.0, 30.0))), {"idle_s": 3600.0})
    assert score.busy_gb_min == pytest.approx((300.0 - 290.1) / 60)
    assert score.idle_gb_min == pytest.approx((0.1 - 0.0005) / 60)
    assert score.calls == 1


def test_call_waits_for_an_instance_that_is_freed() -> None:
    score = raced(trace_of(called((10.0, 2.0), (11.0, 2.0))), {"max": 1})
    assert (score.starts, score.cold_calls) == (1, 1)
    assert score.added_s == pytest.approx(0.1 + 1.1)


def test_overlapping_calls_of_an_instance_are_busy_once() -> None:
    score = raced(trace_of(called((10.0, 2.0), (11.0, 2.0))), {"concurrency": 10})
    assert score.starts == 1
    assert score.busy_gb_min == pytest.approx((13.0 - 10.1) / 60)


def test_promised_instances_are_started_and_are_no_cold_starts() -> None:
    score = raced(trace_of(called((10.0, 1.0))), {"min": 2})
    assert (score.starts, score.cold_starts, score.added_s) == (2, 0, 0.0)
    assert score.idle_gb_min == pytest.approx((2 * 300.0 - 1.0) / 60)


def test_zygote_spares_later_starts_the_loading_and_is_charged() -> None:
    slow = ColdStart("slow", ((0, 100.0), (100, 100.0)), load_ms=400.0)
    score = raced(trace_of(called((10.0, 1.0), (150.0, 1.0))), KEPT_60_S, slow)
    assert score.added_s == pytest.approx(0.5 + 0.1)
    # Ordered when the first instance was ready, there until the trace's end.
    assert score.zygote_gb_min == pytest.approx((300.0 - 10.5) / 60)


def test_without_a_zygote_nothing_is_charged_for_one() -> None:
    assert raced(trace_of(called((10.0, 1.0), (150.0, 1.0)))).zygote_gb_min == 0.0


def test_call_held_too_long_is_refused_and_counted() -> None:
    score = raced(trace_of(called((10.0, 60.0), (11.0, 1.0))), {"max": 1}, hold_s=5.0)
    assert (score.calls, score.refused) == (2, 1)
    assert score.added_s == pytest.approx(0.1 + 5.0)


def test_percentiles_are_over_all_calls() -> None:
    moments = [(10.0, 0.01), *((20.0 + number / 10, 0.01) for number in range(999))]
    score = raced(trace_of(called(*moments)))
    assert score.added_p999_ms == 0.0
    assert score.added_max_ms == pytest.approx(100.0)


def crowd(rng: random.Random, functions: int = 12, minutes: int = 20, silent: int = 0) -> Trace:
    """Rare, periodic, bursty and steady ones; no call in the `silent` last minutes."""
    made = []
    for number in range(functions):
        most, every = rng.choice([(1, 7), (3, 1), (40, 1), (120, 9), (1, 1)])
        counts = [rng.randint(0, most) if minute % every == 0 else 0 for minute in range(minutes)]
        counts[0], counts[minutes - silent :] = 1, [0] * silent
        average = rng.choice([5.0, 100.0, 3000.0])
        spread = Durations(average, tuple(average * each for each in (0.1, 0.2, 0.5, 0.9, 1.2, 3, 9)))
        made.append(
            Function(
                name=f"f{number}",
                app="a",
                owner="o",
                trigger=rng.choice(["timer", "http", "queue"]),
                memory_mib=rng.choice([32.0, 100.5, 400.0]),
                counts=counts,
                durations=spread,
            )
        )
    return trace_of(*made)


@pytest.mark.parametrize("engine", SCALERS)
@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_each_call_is_answered_once_under_each_rule(engine: str, arrivals: Arrivals) -> None:
    trace = crowd(random.Random(3), minutes=25, silent=5)
    score = raced(trace, {"engine": engine, **ONE_AT_ONCE.get(engine, {})}, arrivals=arrivals, seed=5)
    assert score.calls == trace.total
    assert score.refused == 0
    assert [each.calls for each in score.functions] == [function.total for function in trace.functions]
    assert score.cold_starts <= score.starts
    assert score.idle_gb_min >= 0.0
    assert score.added_max_ms >= score.added_p999_ms >= score.added_p99_ms >= score.added_p50_ms >= 0.0
    # Instances of one call at a time are busy for as long as all calls take: none was lost, none was begun twice.
    for function, each in zip(trace.functions, score.functions, strict=True):
        calls = CallsOf(function, 5, arrivals)
        service_s = sum(sum(calls.of(minute)[1]) for minute in range(trace.minutes))
        assert each.busy_gb_min == pytest.approx(service_s / 60 * function.memory_mib / 1024)


@pytest.mark.parametrize("engine", SCALERS)
def test_same_seed_same_bytes_in_one_process_and_in_two(engine: str) -> None:
    trace, policies = crowd(random.Random(4), 6, 8), {"a": {"engine": engine}, "b": {"engine": engine, "idle_s": 5.0}}
    alone = race(trace, policies, seed=1)
    assert msgspec.json.encode(alone) == msgspec.json.encode(race(trace, policies, seed=1))
    assert msgspec.json.encode(alone) != msgspec.json.encode(race(trace, policies, seed=2))


def test_policies_in_processes_of_their_own_score_the_same() -> None:
    trace, policies = crowd(random.Random(4), 6, 8), {"a": {}, "b": {"idle_s": 60.0}, "c": {"engine": "knative"}}
    heard: list[tuple[str, float]] = []
    apart = race(trace, policies, processes=2, progress=lambda label, part: heard.append((label, part)))
    assert msgspec.json.encode(apart) == msgspec.json.encode(race(trace, policies))
    assert [part for label, part in heard if label == "b"] == [(minute + 1) / 8 for minute in range(8)]


def test_process_that_ends_without_a_score_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    broken = ColdStart("of no length", ())
    with pytest.raises(Unavailable, match=r"policy [ab]: its process ended with 1 before it had a score"):
        race(trace_of(called((1.0, 1.0))), {"a": {}, "b": {}}, cold_start=broken, processes=2)
    assert "IndexError" in capfd.readouterr().err
    assert multiprocessing.active_children() == []


def test_process_whose_parent_was_killed_ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.race.race.signal.signal", lambda *_: None)
    ours, theirs = multiprocessing.Pipe(duplex=False)
    ours.close()
    work(theirs, trace_of(called((1.0, 1.0))), "it", KEPT_60_S, Conditions(cold_start=COLD))
    assert theirs.closed


def test_what_is_no_policy_is_refused_with_its_label() -> None:
    policies = {
        "one": {"engine": "openfass"},
        "two": {"idle_s": "long"},
        "three": {"target": 5},
        "four": {"idle_s": -1.0, "min": 5, "max": 2},
    }
    with pytest.raises(Invalid) as fault:
        race(trace_of(called((1.0, 1.0))), policies)
    first, second, third, *fourth = fault.value.problems
    assert first.startswith("policy one: scaling.engine = 'openfass', must be one of")
    assert second.startswith("policy two: ")
    assert "idle_s" in second
    assert third.startswith("policy three: scaling.target is no setting of it")
    assert fourth == [
        "policy four: idle_s = -1, must be between 0.1 and 86400",
        "policy four: min = 5, must not be above max = 2",
    ]


def test_nth_start_of_a_function_takes_as_long_under_every_policy() -> None:
    spread = ColdStart("spread", ((0, 10.0), (100, 1000.0)))
    trace = trace_of(called((10.0, 1.0), (100.0, 1.0), (200.0, 1.0)))
    one = raced(trace, {"idle_s": 10.0}, spread)
    other = raced(trace, {"idle_s": 60.0, "utilization_percent": 100}, spread)
    assert one.starts == other.starts == 3
    assert one.added_s == pytest.approx(other.added_s)


@pytest.mark.parametrize("engine", SCALERS)
def test_what_the_roster_skips_where_nothing_changed_changes_nothing(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = crowd(random.Random(8), 6, 8)
    skipping = raced(trace, {"engine": engine})
    monkeypatch.setattr(Deployment, "is_even", False)
    assert msgspec.json.encode(raced(trace, {"engine": engine})) == msgspec.json.encode(skipping)


@pytest.mark.parametrize("kept_min", [1, 2, 5, 10])
@pytest.mark.parametrize("seed", range(3))
def test_cold_starts_are_those_of_minute_bins_where_both_must_agree(kept_min: int, seed: int) -> None:
    """At most one call a minute, always at the same second of it, and nothing takes time."""
    rng = random.Random(seed)
    made = []
    for number in range(20):
        often = rng.choice([0.02, 0.1, 0.3, 0.9])
        counts = [int(rng.random() < often) for _ in range(90)]
        instant = Durations(0, (0,) * 7)
        made.append(
            Function(
                name=f"f{number}", app="a", owner="o", trigger="http", memory_mib=64, counts=counts, durations=instant
            )
        )
    trace = trace_of(*made)
    score = raced(trace, {"idle_s": 60.0 * kept_min}, fixed(0), arrivals="equidistant")
    kept = keep(trace, Fixed(kept_min))
    assert score.cold_starts == score.cold_calls == kept.cold_starts > 20
    assert [each.cold_starts for each in score.functions] == [each.cold_starts for each in kept.functions]
