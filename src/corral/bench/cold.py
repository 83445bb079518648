"""Row `cold`: what a client waits for a function that has no instance, at three rates. Row `sustained`: for how long
that can go on."""

from collections.abc import Sequence

import msgspec

from corral.bench.contest import Contest, failures, planned_and_sent
from corral.bench.floor import NoFloor, bare_fork
from corral.bench.functions import distinct
from corral.bench.load import Generator, Lane, Sample
from corral.bench.manage import Function
from corral.bench.percentiles import ratio_interval, spread
from corral.bench.processes import cpu_by_role
from corral.bench.schedule import interleaved, steady
from corral.bench.table import Figure, Row
from corral.model import FunctionSpec

RATES = {1.0: 300, 10.0: 300, 100.0: 300}
"""Calls per second -> functions, each called once."""
QUICK_RATES = {1.0: 10, 10.0: 50, 100.0: 150}
BLOCK = 50
P50_MS, P99_MS, RATIO = 10.0, 20.0, 2.5

SUSTAINED_RATE = 101.0
"""A little above the target: the last answer comes after the last moment of the plan."""
SUSTAINED_S, QUICK_SUSTAINED_S = 30, 5

UNLOADED = FunctionSpec(initial=0)
"""Never loaded before its first call: not verified, no compiled code kept, the style not known. The hardest cold."""


def measure_cold(contest: Contest) -> Row:
    """Never calls a function twice."""
    figures: list[Figure] = []
    notes = ["from the intended send time on keep-alive connections; functions never loaded before (initial = 0)"]
    for rate, count in (QUICK_RATES if contest.quick else RATES).items():
        contest.say(f"cold starts, {count} functions at {rate:g}/s: {count / rate:.0f} s or more")
        found, remarks = _at_rate(contest, rate, count)
        figures += found
        notes += remarks
    return Row(name="cold", title="Cold start seen by the client", figures=figures, notes=notes)


def _at_rate(contest: Contest, rate: float, count: int) -> tuple[list[Figure], list[str]]:
    functions = distinct(f"cold-{rate:g}", count, UNLOADED)
    contest.management.deploy(functions)
    before = contest.management.cold_starts()
    spent = Spent(contest.server.pid)
    lane = Lane(contest.door(), ready=4 if rate < 50 else 32)
    remarks: list[str] = []
    try:
        with bare_fork() as pair:
            lanes = [lane, Lane(lambda: pair, most=1)]
            plan = interleaved([contest.call(each) for each in functions], [b"?"] * count, rate, BLOCK)
            samples = Generator(lanes).run(plan)
    except NoFloor as exc:
        remarks.append(f"{rate:g}/s: no ratio: {exc}")
        samples = Generator([lane]).run(steady([contest.call(each) for each in functions], rate))
    lane.close()
    cold = [sample for sample in samples if sample.lane == 0]
    floor = [sample.latency_ms for sample in samples if sample.lane == 1 and sample.succeeded]
    counted = contest.management.cold_starts() - before
    remarks += [f"{rate:g}/s: {line}" for line in [planned_and_sent(cold), *mistaken(cold, functions)]]
    remarks += [f"{rate:g}/s: {line}" for line in spent.per_start(count)]
    if floor:
        remarks.append(f"{rate:g}/s: {_compared(cold, floor, contest)}")
    return _figures(f"{rate:g}/s ", cold, floor, counted), remarks


def _figures(prefix: str, cold: Sequence[Sample], floor: Sequence[float], counted: float) -> list[Figure]:
    answered = [sample.latency_ms for sample in cold if sample.succeeded]
    seen, bare = spread(answered), spread(floor)
    ratio = seen.p50 / bare.p50 if seen and bare else None
    return [
        Figure(name=f"{prefix}p50", value=seen.p50 if seen else None, unit="ms", most=P50_MS),
        Figure(name=f"{prefix}p99", value=seen.p99 if seen else None, unit="ms", most=P99_MS),
        Figure(name=f"{prefix}p50 / bare fork's p50", value=ratio, most=RATIO),
        Figure(name=f"{prefix}max", value=seen.max if seen else None, unit="ms"),
        Figure(name=f"{prefix}bare fork p50", value=bare.p50 if bare else None, unit="ms"),
        Figure(name=f"{prefix}cold starts counted", value=counted, most=len(cold), least=len(cold)),
        Figure(name=f"{prefix}errors", value=len(cold) - len(answered), most=0),
    ]


def _compared(cold: Sequence[Sample], floor: Sequence[float], contest: Contest) -> str:
    answered = [sample.latency_ms for sample in cold if sample.succeeded]
    if not answered:
        return "no answer to compare with the bare fork"
    low, high = ratio_interval(answered, floor, contest.rng)
    return f"ratio within {low:.2f} to {high:.2f} (95%, bootstrap)"


class Spent:
    """CPU time from its making on: what a cold start costs whoever pays for the machine, however busy that is."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._before = cpu_by_role(pid) if pid else {}

    def per_start(self, starts: int) -> list[str]:
        """A line for people; none when the server is not ours to look at."""
        if self._pid is None:
            return []
        after = cpu_by_role(self._pid)
        parts = {role: (used - self._before.get(role, 0.0)) / starts * 1000 for role, used in after.items()}
        listed = ", ".join(f"{role} {ms:.2f}" for role, ms in parts.items() if ms >= 0.005)
        return [f"CPU per cold start {sum(parts.values()):.2f} ms: {listed}"]


def mistaken(samples: Sequence[Sample], functions: Sequence[Function]) -> list[str]:
    """What went wrong: failed calls, and answers of another function than the one called. `samples` are in the
    functions' order within each lane."""
    strangers = 0
    for sample, function in zip(samples, functions, strict=True):
        if sample.succeeded and msgspec.json.decode(sample.body) != {"name": function.name}:
            strangers += 1
    return failures(samples) + ([f"{strangers} answers came from another function"] if strangers else [])


def measure_sustained(contest: Contest) -> Row:
    seconds = QUICK_SUSTAINED_S if contest.quick else SUSTAINED_S
    functions = distinct("sustained", round(SUSTAINED_RATE * seconds), UNLOADED)
    contest.say(f"cold starts sustained: deploying {len(functions)} functions, then {seconds} s of calls")
    contest.management.deploy(functions)
    before = contest.management.cold_starts()
    spent = Spent(contest.server.pid)
    lane = Lane(contest.door(), ready=32)
    samples = Generator([lane]).run(steady([contest.call(each) for each in functions], SUSTAINED_RATE))
    lane.close()
    cpu = spent.per_start(len(samples))
    counted = contest.management.cold_starts() - before
    answered = [sample for sample in samples if sample.succeeded]
    seen = spread([sample.latency_ms for sample in answered])
    rate = len(answered) / (max(each.done for each in answered) - samples[0].intended) if answered else 0.0
    figures = [
        Figure(name=f"cold starts per second over {seconds} s", value=rate, unit="/s", least=100),
        Figure(name="errors", value=len(samples) - len(answered), most=0),
        Figure(name="cold starts counted", value=counted, most=len(samples), least=len(samples)),
        Figure(name="p50", value=seen.p50 if seen else None, unit="ms"),
        Figure(name="p99", value=seen.p99 if seen else None, unit="ms"),
        Figure(name="max", value=seen.max if seen else None, unit="ms"),
    ]
    notes = ["default settings: after 15 s as many instances end as begin", planned_and_sent(samples)]
    return Row(
        name="sustained",
        title="Cold starts sustained, distinct functions",
        figures=figures,
        notes=[*notes, *cpu, *mistaken(samples, functions)],
    )
