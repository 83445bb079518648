"""Rows `imports` and `cold-zygote`: cold starts of functions that have a zygote of their own, beside a server that
keeps none (`keeper.isolation = strict`)."""

from collections.abc import Sequence

from corral.bench.contest import Contest, failures, planned_and_sent
from corral.bench.functions import PANDAS_IMPORTS, PANDAS_REQUIREMENTS, VERSIONED, distinct
from corral.bench.load import Generator, Lane, Sample
from corral.bench.manage import Function
from corral.bench.percentiles import spread
from corral.bench.schedule import interleaved, steady
from corral.bench.table import Figure, Row
from corral.model import FunctionSpec

NONE_KEPT = {"keeper.isolation": "strict"}
ALL_KEPT = {"budget.zygote_saves_ms": 0.001}
"""Also functions that load in no time get a zygote."""
ZYGOTES_S = 120.0
"""The zygotes of all functions must stand within this time after the deployment."""
EMPTY_S = 60.0

IMPORTING, QUICK_IMPORTING = 8, 4
"""Functions called in turn, so that the last instance of each has ended by its next call."""
IMPORT_CALLS, QUICK_IMPORT_CALLS = 160, 12
IMPORT_RATE, QUICK_IMPORT_RATE = 2.0, 1.0
PLAIN_CALLS, QUICK_PLAIN_CALLS = 24, 4
PLAIN_RATE = 0.5
P50_MS, P99_MS = 12.0, 25.0
SHORT_LIVED = FunctionSpec(idle_s=1.5)
"""Verified when deployed, as functions are; and no instance is left at the next call."""

RATES, QUICK_RATES = (1.0, 10.0, 100.0), (10.0, 100.0)
COUNT, QUICK_COUNT = 100, 30
BLOCK = 25
RATIO = 1.2


def measure_imports(contest: Contest) -> Row:
    count, calls, rate, plain_calls = (
        (QUICK_IMPORTING, QUICK_IMPORT_CALLS, QUICK_IMPORT_RATE, QUICK_PLAIN_CALLS)
        if contest.quick
        else (IMPORTING, IMPORT_CALLS, IMPORT_RATE, PLAIN_CALLS)
    )
    source = PANDAS_IMPORTS + VERSIONED.format(version=1)
    functions = [
        Function(name=f"pandas-{number}", source=source, spec=SHORT_LIVED, requirements=PANDAS_REQUIREMENTS)
        for number in range(count)
    ]
    contest.say(f"imports: installing numpy and pandas; then {calls / rate:.0f} s of cold starts")
    contest.management.deploy(functions)
    stood = contest.management.await_zygotes(functions, ZYGOTES_S)
    kept, counted = _cold_calls(contest, functions, calls, rate)
    with contest.beside(NONE_KEPT) as strict:
        contest.say(f"imports: the same without zygotes; then {plain_calls / PLAIN_RATE:.0f} s of cold starts")
        strict.management.deploy(functions)
        plain, _ = _cold_calls(strict, functions, plain_calls, PLAIN_RATE)
    seen, evicted = (spread([each.latency_ms for each in lane if each.succeeded]) for lane in (kept, plain))
    figures = [
        Figure(name="with its zygote: p50", value=seen.p50 if seen else None, unit="ms", most=P50_MS),
        Figure(name="with its zygote: p99", value=seen.p99 if seen else None, unit="ms", most=P99_MS),
        Figure(name="with its zygote: max", value=seen.max if seen else None, unit="ms"),
        Figure(name="cold starts counted", value=counted, most=len(kept), least=len(kept)),
        Figure(name="errors", value=sum(not each.succeeded for each in (*kept, *plain)), most=0),
        Figure(name="without a zygote: p50", value=evicted.p50 if evicted else None, unit="ms"),
        Figure(name="without a zygote: max", value=evicted.max if evicted else None, unit="ms"),
    ]
    notes = [
        f"{count} functions in turn, each called when its last instance has ended; {stood} zygotes stood before",
        "without: a server with isolation = strict, which is what a start costs after the zygote's eviction",
        planned_and_sent(kept),
        *failures([*kept, *plain]),
    ]
    title = "Cold start of a function that imports numpy and pandas"
    return Row(name="imports", title=title, figures=figures, notes=notes)


def _cold_calls(contest: Contest, functions: Sequence[Function], count: int, rate: float) -> tuple[list[Sample], float]:
    """What became of `count` calls to one function after the other, and how many the server counted as cold starts."""
    contest.management.await_instances(0, EMPTY_S)
    before = contest.management.cold_starts()
    lane = Lane(contest.door(), ready=2)
    plan = steady([contest.call(functions[number % len(functions)]) for number in range(count)], rate)
    samples = Generator([lane]).run(plan)
    lane.close()
    return samples, contest.management.cold_starts() - before


def measure_cold_zygote(contest: Contest) -> Row:
    count = QUICK_COUNT if contest.quick else COUNT
    functions = distinct("kept", count, SHORT_LIVED)
    figures: list[Figure] = []
    notes = [
        "trivial functions, verified when deployed; two servers side by side, one with zygotes of all, one with none",
    ]
    with contest.beside(ALL_KEPT) as kept, contest.beside(NONE_KEPT) as plain:
        for side in (kept, plain):
            contest.say(f"cold-zygote: deploying {count} functions")
            side.management.deploy(functions)
        notes.append(f"{kept.management.await_zygotes(functions, ZYGOTES_S)} of {count} zygotes stood before")
        for rate in QUICK_RATES if contest.quick else RATES:
            contest.say(f"cold-zygote: {count} cold starts of each at {rate:g}/s")
            samples = _in_turns(kept, plain, functions, rate)
            figures += _ratio(rate, samples)
            notes += [f"{rate:g}/s: {line}" for line in (planned_and_sent(samples), *failures(samples))]
        for side, name in ((kept, "with"), (plain, "without")):
            parts = ", ".join(f"{part} {ms:.1f}" for part, ms in side.management.cold_parts_ms().items())
            notes.append(f"mean parts of a start {name}: {parts} ms")
    title = "Cold starts of trivial functions, with zygotes of their own against without"
    return Row(name="cold-zygote", title=title, figures=figures, notes=notes)


def _in_turns(kept: Contest, plain: Contest, functions: Sequence[Function], rate: float) -> list[Sample]:
    for side in (kept, plain):
        side.management.await_instances(0, EMPTY_S)
    lanes = [Lane(side.door(), ready=4 if rate < 50 else 32) for side in (kept, plain)]
    first, second = ([side.call(each) for each in functions] for side in (kept, plain))
    samples = Generator(lanes).run(interleaved(first, second, rate, BLOCK))
    for lane in lanes:
        lane.close()
    return samples


def _ratio(rate: float, samples: Sequence[Sample]) -> list[Figure]:
    kept, plain = (
        spread([each.latency_ms for each in samples if each.lane == lane and each.succeeded]) for lane in (0, 1)
    )
    both = (kept, plain) if kept and plain else None
    prefix = f"{rate:g}/s: "
    return [
        Figure(name=f"{prefix}p50 with / without", value=both[0].p50 / both[1].p50 if both else None, most=RATIO),
        Figure(name=f"{prefix}p99 with / without", value=both[0].p99 / both[1].p99 if both else None),
        Figure(name=f"{prefix}p50 with", value=kept.p50 if kept else None, unit="ms"),
        Figure(name=f"{prefix}p50 without", value=plain.p50 if plain else None, unit="ms"),
        Figure(name=f"{prefix}errors", value=sum(not each.succeeded for each in samples), most=0),
    ]
