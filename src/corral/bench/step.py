"""Row `step`: from nothing to 500 calls per second at once, each 10 ms of sleep, one call at a time in an instance.
Row `step-knative`: the same under Knative's rule, beside Corral's."""

from collections.abc import Sequence

from corral.bench.contest import Contest, failures, planned_and_sent
from corral.bench.floor import NoFloor, bare_uvicorn
from corral.bench.functions import SLEEP
from corral.bench.load import Generator, Lane, Sample
from corral.bench.manage import Function
from corral.bench.percentiles import spread
from corral.bench.schedule import steady
from corral.bench.table import Figure, Row
from corral.bench.wires import HttpWire, request
from corral.model import FunctionSpec

RATE = 500.0
SECONDS, QUICK_SECONDS = 20, 5
MAX_MS, INSTANCES = 300.0, 20
FLOOR_S = 2
ENGINES = ("corral", "knative")
ENGINES_MAX = 600
"""Instances allowed in the comparison: more than either rule asks for."""
WAITED_MS = 50.0
"""A call that takes this long has waited: it sleeps for 10 ms."""
EMPTY_S = 120.0


def measure_step(contest: Contest) -> Row:
    seconds = QUICK_SECONDS if contest.quick else SECONDS
    function = Function(name="step", source=SLEEP, spec=FunctionSpec(initial=0, concurrency=1))
    contest.management.deploy([function])
    contest.say(f"step from 0 to {RATE:g} calls/s: {seconds} s")
    samples, started = _step(contest, function, seconds)
    answered = [sample.latency_ms for sample in samples if sample.succeeded]
    seen = spread(answered)
    figures = [
        Figure(name="errors", value=len(samples) - len(answered), most=0),
        Figure(name="max", value=seen.max if seen else None, unit="ms", most=MAX_MS),
        Figure(name="instances started", value=started, most=INSTANCES),
        Figure(name="p50", value=seen.p50 if seen else None, unit="ms"),
        Figure(name="p99", value=seen.p99 if seen else None, unit="ms"),
    ]
    notes = [planned_and_sent(samples), *failures(samples), _generator_alone()]
    return Row(
        name="step", title="Step from 0 to 500 calls/s, 10 ms of sleep, concurrency 1", figures=figures, notes=notes
    )


def _step(contest: Contest, function: Function, seconds: int) -> tuple[list[Sample], float]:
    """What became of the calls, and how many instances were started for them."""
    before = contest.management.starts()
    lane = Lane(contest.door(), ready=16)
    samples = Generator([lane]).run(steady([contest.call(function)] * round(RATE * seconds), RATE))
    lane.close()
    return samples, contest.management.starts() - before


def measure_step_knative(contest: Contest) -> Row:
    seconds = QUICK_SECONDS if contest.quick else SECONDS
    figures: list[Figure] = []
    notes = [
        "each rule with its defaults, after the other, on the same server",
        f"capacity: from the first call to the last one that took more than {WAITED_MS:g} ms",
    ]
    for engine in ENGINES:
        spec = FunctionSpec(initial=0, concurrency=1, max=ENGINES_MAX, queue=100_000, scaling={"engine": engine})
        function = Function(name=f"step-{engine}", source=SLEEP, spec=spec)
        contest.management.deploy([function])
        contest.say(f"step from 0 to {RATE:g} calls/s under {engine}: {seconds} s")
        samples, started = _step(contest, function, seconds)
        figures += _compared(engine, samples, started)
        notes += [f"{engine}: {line}" for line in [planned_and_sent(samples), *failures(samples)]]
        contest.management.delete([function])
        contest.management.await_instances(0, EMPTY_S)
    title = "Step from 0 to 500 calls/s under two rules"
    return Row(name="step-knative", title=title, figures=figures, notes=notes)


def _compared(engine: str, samples: Sequence[Sample], started: float) -> list[Figure]:
    answered = [sample.latency_ms for sample in samples if sample.succeeded]
    seen = spread(answered)
    return [
        Figure(name=f"{engine}: errors", value=len(samples) - len(answered), most=0),
        Figure(name=f"{engine}: p50", value=seen.p50 if seen else None, unit="ms"),
        Figure(name=f"{engine}: p99", value=seen.p99 if seen else None, unit="ms"),
        Figure(name=f"{engine}: max", value=seen.max if seen else None, unit="ms"),
        Figure(name=f"{engine}: instances started", value=started),
        Figure(name=f"{engine}: time to capacity", value=capacity_s(samples), unit="s"),
    ]


def capacity_s(samples: Sequence[Sample]) -> float:
    """Seconds from the first call to the last one that waited; 0.0 when none did. `samples` in the plan's order."""
    waited = [each.intended for each in samples if not each.succeeded or each.latency_ms > WAITED_MS]
    return waited[-1] - samples[0].intended if waited else 0.0


def _generator_alone() -> str:
    """What of a latency is the generator's: the same rate against a server that does nothing."""
    try:
        with bare_uvicorn() as port:
            lane = Lane(lambda: HttpWire("127.0.0.1", port), ready=4)
            call = request("GET", "/", f"127.0.0.1:{port}")
            samples = Generator([lane]).run(steady([call] * round(RATE * FLOOR_S), RATE))
            lane.close()
    except NoFloor as exc:
        return f"the generator's own share was not measured: {exc}"
    seen = spread([sample.latency_ms for sample in samples if sample.succeeded])
    if seen is None:
        return "the generator's own share was not measured: bare uvicorn did not answer"
    return f"the generator and a bare uvicorn at this rate: p50 {seen.p50:.2f}, p99 {seen.p99:.2f} ms"
