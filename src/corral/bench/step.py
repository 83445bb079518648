"""Row `step`: from nothing to 500 calls per second at once, each 10 ms of sleep, one call at a time in an instance."""

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


def measure_step(contest: Contest) -> Row:
    seconds = QUICK_SECONDS if contest.quick else SECONDS
    function = Function(name="step", source=SLEEP, spec=FunctionSpec(initial=0, concurrency=1))
    contest.management.deploy([function])
    contest.say(f"step from 0 to {RATE:g} calls/s: {seconds} s")
    samples, started = step(contest, function, seconds)
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


def step(contest: Contest, function: Function, seconds: int) -> tuple[list[Sample], float]:
    """What became of the calls, and how many instances were started for them."""
    before = contest.management.starts()
    lane = Lane(contest.door(), ready=16)
    samples = Generator([lane]).run(steady([contest.call(function)] * round(RATE * seconds), RATE))
    lane.close()
    return samples, contest.management.starts() - before


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
