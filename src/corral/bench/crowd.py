"""Row `crowd`: more functions than their zygotes and instances find memory for."""

import itertools
import random
from collections.abc import Sequence

from corral.bench.contest import Contest, failures, planned_and_sent
from corral.bench.load import Generator, Lane, Sample
from corral.bench.manage import Function
from corral.bench.percentiles import spread
from corral.bench.schedule import steady
from corral.bench.table import Figure, Row
from corral.model import FunctionSpec

COUNT, QUICK_COUNT = 500, 100
BUDGET, QUICK_BUDGET = "4GiB", "1GiB"
RATE = 20.0
SECONDS, QUICK_SECONDS = 120, 10
BALLAST_MIB, LOAD_MS = 16, 20
HEAVY = f"""import time

NAME = "{{name}}"
BALLAST = bytes(range(256)) * ({BALLAST_MIB} * 2**12)
until = time.process_time() + {LOAD_MS / 1000}
while time.process_time() < until:
    pass


def main(args):
    return {{{{"name": NAME}}}}
"""
"""Worth a zygote, and large enough that not all have room."""
SPEC = FunctionSpec(initial=0, memory_mib=64)


def measure_crowd(contest: Contest) -> Row:
    count, seconds, budget = (QUICK_COUNT, QUICK_SECONDS, QUICK_BUDGET) if contest.quick else (COUNT, SECONDS, BUDGET)
    title = f"{count} functions with zygotes in a budget of {budget}, Zipf calls"
    functions = [
        Function(name=f"heavy-{number}", source=HEAVY.format(name=f"heavy-{number}"), spec=SPEC)
        for number in range(1, count + 1)
    ]
    order = zipf(count, round(RATE * seconds), contest.rng)
    contest.say(f"crowd: {seconds} s of calls with room for all")
    roomy = _run(contest, functions, order)
    with contest.beside({"budget.memory": budget}) as tight:
        contest.say(f"crowd: {seconds} s of calls in {budget}")
        narrow = _run(tight, functions, order)
        evicted = {kind: tight.management.evictions(kind) for kind in ("instance", "zygote")}
        zygotes, cold = tight.management.zygotes(), tight.management.cold_starts()
    notes = [
        f"{RATE:g} calls/s for {seconds} s, the function by Zipf's law (exponent 1); each loads in {LOAD_MS} ms of "
        f"CPU and holds {BALLAST_MIB} MiB; the same calls first with the default budget",
        f"{zygotes:g} zygotes stood at the end, {cold:g} of {len(order)} calls were cold starts",
        planned_and_sent(narrow),
        *failures([*roomy, *narrow]),
    ]
    return Row(name="crowd", title=title, figures=_figures(roomy, narrow, evicted), notes=notes)


def _run(contest: Contest, functions: Sequence[Function], order: Sequence[int]) -> list[Sample]:
    contest.management.deploy(functions)
    lane = Lane(contest.door(), ready=16)
    samples = Generator([lane]).run(steady([contest.call(functions[number]) for number in order], RATE))
    lane.close()
    return samples


def zipf(count: int, calls: int, rng: random.Random) -> list[int]:
    """Which of `count` functions each call is for: the n-th is called 1/n as often as the first."""
    weights = list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))
    return rng.choices(range(count), cum_weights=weights, k=calls)


def _figures(roomy: Sequence[Sample], narrow: Sequence[Sample], evicted: dict[str, float]) -> list[Figure]:
    wide, tight = (spread([each.latency_ms for each in side if each.succeeded]) for side in (roomy, narrow))
    both = (wide, tight) if wide and tight else None
    return [
        Figure(name="errors", value=sum(not each.succeeded for each in (*roomy, *narrow)), most=0),
        Figure(name="zygotes evicted", value=evicted["zygote"]),
        Figure(name="instances evicted", value=evicted["instance"]),
        Figure(name="added at p50", value=both[1].p50 - both[0].p50 if both else None, unit="ms"),
        Figure(name="added at p90", value=both[1].p90 - both[0].p90 if both else None, unit="ms"),
        Figure(name="added at p99", value=both[1].p99 - both[0].p99 if both else None, unit="ms"),
        Figure(name="p50", value=tight.p50 if tight else None, unit="ms"),
        Figure(name="p99", value=tight.p99 if tight else None, unit="ms"),
        Figure(name="max", value=tight.max if tight else None, unit="ms"),
    ]
