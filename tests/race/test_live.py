"""The same calls live and simulated: planned alike, counted alike, and explained where they differ."""

from typing import Any

import msgspec
import pytest

from corral.bench.load import Sample
from corral.bench.server import Server
from corral.errors import Invalid
from corral.model import ScalingValue
from corral.race import live
from corral.race.agreement import Compared, compared, holding, is_near, longer_by, reasons
from corral.race.coldstart import MEASURED
from corral.race.conditions import Conditions
from corral.race.live import Run, abba, functions_of, measured, planned, slice_of, starts_of
from corral.race.score import FunctionScore, Score
from corral.race.simulate import Simulation
from corral.race.trace import Durations, Function, Trace

HERE = Server(url="http://127.0.0.1:1", token="t", pid=None)


def trace(*counts: tuple[int, ...]) -> Trace:
    functions = tuple(
        Function(
            name=f"n{at}",
            app="a",
            owner="o",
            trigger="http",
            memory_mib=64,
            counts=each,
            durations=Durations(50, (10, 20, 30, 40, 50, 100_000, 200_000)),
        )
        for at, each in enumerate(counts)
    )
    return Trace(functions=functions, first_minute=0, minutes=len(counts[0]), sha256={}, source="made")


def test_the_calls_that_are_sent_are_those_that_are_simulated() -> None:
    drawn = slice_of(trace((3, 200), (1, 0)), seed=1, arrivals="uniform")
    plan, services = planned(drawn, functions_of(drawn, {"engine": "knative"}, 0), HERE)
    assert [ask.at for ask in plan] == sorted(ask.at for ask in plan)
    assert len(plan) == 204
    assert max(services) == live.CALL_MAX_S, "longer ones are cut, also in the simulation"
    first = plan[0]
    assert first.request.endswith(b'{"s": %.6f}' % services[0])
    simulation = Simulation(drawn, {"engine": "knative"}, Conditions(seed=7))
    simulation.run()
    assert simulation.score("knative").calls == 204
    known = [function.calls for function in drawn.functions]
    assert sorted(at for calls in known if calls for at in calls.arrived_s) == [ask.at for ask in plan]


def test_functions_are_deployed_as_the_policy_says() -> None:
    drawn = slice_of(trace((1,)), seed=1, arrivals="uniform")
    [function] = functions_of(drawn, {"engine": "corral", "idle_s": 90.0, "max": 7, "utilization_percent": 50.0}, 3)
    spec = function.spec
    assert (function.name, spec.idle_s, spec.max, spec.concurrency, spec.initial) == ("race-3-f0", 90.0, 7, 1, 0)
    assert spec.scaling == {"engine": "corral", "utilization_percent": 50.0}


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        pytest.param([(60_000,)], "60,000 calls are too many to be raced live, must be at most 50,000", id="calls"),
        pytest.param([(1,) * 61], "61 minutes are too many", id="minutes"),
        pytest.param([(1,)] * 251, "251 functions are too many", id="functions"),
    ],
)
def test_too_much_for_a_live_race_is_refused(counts: list[tuple[int, ...]], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        slice_of(trace(*counts), seed=1, arrivals="uniform")


def test_every_policy_is_raced_twice_and_the_order_turns_round() -> None:
    assert abba(["a", "b", "c"]) == ["a", "b", "c", "c", "b", "a"]


def page(cold: int, starts: int, buckets: dict[str, int]) -> str:
    lines = [f'corral_cold_start_seconds_bucket{{part="whole",le="{le}"}} {count}' for le, count in buckets.items()]
    return "\n".join(
        [
            "# TYPE corral_cold_starts_total counter",
            f'corral_cold_starts_total{{namespace="bench",function="race-0-f0"}} {cold}',
            'corral_cold_starts_total{namespace="default",function="other"} 1000',
            "# TYPE corral_instance_starts_total counter",
            f"corral_instance_starts_total {starts}",
            *lines,
        ]
    )


def test_what_was_measured_is_without_the_sleep_and_without_what_was_before() -> None:
    samples = [
        Sample(lane=0, intended=1.0, sent=1.0, done=1.111, status=200),
        Sample(lane=0, intended=2.0, sent=2.01, done=2.5, status=200),
        Sample(lane=0, intended=3.0, sent=3.0, done=3.1, status=503),
    ]
    before, after = page(0, 4, {"0.002": 3, "+Inf": 3}), page(2, 7, {"0.002": 3, "+Inf": 3})
    run = measured("corral", samples, [0.1, 0.2, 0.1], ["race-0-f1", "race-0-f0"], before, after)
    assert run.cold_by_function == [0, 2]
    assert (run.calls, run.failed, run.cold_starts, run.starts, run.start) == (3, 1, 2, 3, None)
    assert run.added_s == pytest.approx(0.311)
    assert (run.added_p50_ms, run.added_max_ms) == (pytest.approx(11), pytest.approx(300))
    assert run.faults == ["1 × answered 503: "]


def test_starts_are_drawn_as_they_were_seen() -> None:
    bounds = ("0.002", "0.003", "0.005", "0.01", "+Inf")
    before = page(0, 0, dict(zip(bounds, (5, 5, 5, 5, 5), strict=True)))
    after = page(0, 0, dict(zip(bounds, (5, 10, 10, 25, 25), strict=True)))
    found = starts_of(before, after)
    assert found is not None
    assert found.quantiles == ((0.0, 2.0), (25.0, 3.0), (100.0, 10.0))


def run_of(cold: int, **others: Any) -> Run:
    usual = Run(
        policy="p", calls=9, failed=0, faults=[], cold_starts=cold, cold_by_function=[cold], starts=cold, added_s=1.0,
        added_p50_ms=2.0, added_p99_ms=3.0, added_max_ms=4.0, late_p99_ms=1.0, memory_mib=3.0, start=None,
    )  # fmt: skip
    return msgspec.structs.replace(usual, **others)


def scored(cold: int) -> Score:
    return Score(
        policy="p", scaling={}, calls=9, refused=0, cold_calls=cold, cold_starts=cold, starts=cold, added_s=1.0,
        added_p50_ms=0.0, added_p99_ms=0.0, added_p999_ms=0.0, added_max_ms=0.0, idle_gb_min=0.0, pool_gb_min=0.0,
        zygote_gb_min=0.0, busy_gb_min=0.0, instances=(),
        functions=[
            FunctionScore(
                name="f", trigger="http", memory_mib=1.0, calls=9, cold_starts=cold, starts=cold, added_s=1.0,
                added_most_s=1.0, waits_s=(), idle_gb_min=0.0, busy_gb_min=0.0,
            )
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "again", "shifted", "said"),
    [
        pytest.param([run_of(103), run_of(103)], 100, [], [], id="three-percent-is-agreement"),
        pytest.param(
            [run_of(110), run_of(110)],
            100,
            [98, 105],
            ["10.0 cold starts more", "f 110 and 110 against 100", "no cause"],
            id="unexplained",
        ),
        pytest.param(
            [run_of(80), run_of(100)], 100, [], ["10.0 cold starts fewer", "by function", "80 and 100"], id="chance"
        ),
        pytest.param(
            [run_of(110), run_of(110)], 109, [], ["more", "by function", "109 are simulated"], id="slower-starts"
        ),
        pytest.param(
            [run_of(110), run_of(110)],
            100,
            [104, 108],
            ["more", "by function", "100 to 108 are simulated"],
            id="phases",
        ),
        pytest.param(
            [run_of(110, failed=2, faults=["2 × answered 503"]), run_of(110, late_p99_ms=30.0)],
            100,
            [],
            ["more", "by function", "2 calls failed live: 2 × answered 503", "up to 30 ms late"],
            id="failures-and-lateness",
        ),
    ],
)
def test_difference_is_explained(runs: list[Run], again: int, shifted: list[int], said: list[str]) -> None:
    why = list(reasons(runs, scored(100), scored(again), shifted))
    assert len(why) == len(said)
    assert all(words in sentence for words, sentence in zip(said, why, strict=True))
    found = Compared(policy="p", live=runs, simulated=scored(100), again=scored(again), shifted=shifted, why=why)
    assert found.agrees is not bool(said)


def test_none_live_agrees_with_none_simulated() -> None:
    assert is_near(0, 0)
    assert not is_near(1, 0)


def test_calls_that_took_longer_are_simulated_so() -> None:
    drawn = slice_of(trace((2,)), seed=1, arrivals="uniform")
    before, after = drawn.functions[0].calls, longer_by(drawn, 0.5).functions[0].calls
    assert before is not None and after is not None
    assert [each - 0.5 for each in after.service_s] == pytest.approx(list(before.service_s))


def test_simulation_beside_has_instances_of_the_size_of_those_that_slept() -> None:
    drawn = slice_of(trace((2,)), seed=1, arrivals="uniform")
    assert [function.memory_mib for function in holding(drawn, 3.0).functions] == [3.0]
    assert holding(drawn, 0.0) is drawn
    policies: dict[str, dict[str, ScalingValue]] = {"p": {"engine": "openwhisk"}}
    [found] = compared(drawn, policies, [run_of(1), run_of(1)], 1, MEASURED, 2)
    assert [score.memory_mib for score in found.simulated.functions] == [3.0]
    assert (found.simulated.calls, found.shifted) == (2, [])
    [other] = compared(drawn, policies, [run_of(9), run_of(9)], 1, MEASURED, 2)
    assert len(other.shifted) == 4
    assert other.why
