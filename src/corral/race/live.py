"""The same race on a real server: the trace's calls, at their moments, to real functions that sleep for as long as the
calls take, under each policy in turn. Over HTTP only, as any client.

In the order ABBA, so that what changes on the machine meanwhile hits all alike. Each run has functions of its own that
nothing was learned of; they are removed at its end, also after Ctrl-C, and before the next race where that failed."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil
from statistics import median

import msgspec

from corral.bench import metrics
from corral.bench.contest import failures
from corral.bench.load import GRACE_S, Generator, Lane, Sample
from corral.bench.manage import NAMESPACE, Function, Management, Refused, path_of
from corral.bench.schedule import Ask
from corral.bench.server import Server
from corral.bench.wires import HttpWire, request
from corral.errors import Invalid
from corral.model import FunctionSpec, ScalingValue
from corral.race.arrivals import Arrivals
from corral.race.arrivals import Calls as Drawn
from corral.race.coldstart import ColdStart
from corral.race.conditions import LIMITS, Limits
from corral.race.score import rank
from corral.race.trace import Calls, Trace

CALLS_MAX, MINUTES_MAX, FUNCTIONS_MAX = 50_000, 60, 250
CALL_MAX_S = 60.0
"""Longer calls are cut to it, also in the simulation beside: a run should end soon after its last minute."""
EMPTY_S = 30.0
NAMED = re.compile(r"race-\d+-f\d+")
CONNECTIONS_MAX = 1000
SOURCE = """import time


def main(args):
    time.sleep(args["s"])
    return {}
"""
MEMORY_MIB = 32
"""What an instance counts for until one was measured. The least that may be said: a sleeper takes some 3 MiB."""

Policies = Mapping[str, Mapping[str, ScalingValue]]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One policy, once. Added latency: how much longer than it slept a call took, seen from outside."""

    policy: str
    calls: int
    failed: int
    faults: Sequence[str]
    """How calls failed, the most frequent ways."""
    cold_starts: int
    """Instances that were started because a call waited."""
    cold_by_function: Sequence[int]
    """The same, in the trace's order."""
    starts: int
    """All instances that were started."""
    added_s: float
    """Sum over the calls that were answered."""
    added_p50_ms: float
    added_p99_ms: float
    added_max_ms: float
    late_p99_ms: float
    """How late the generator sent; part of the added latency."""
    memory_mib: float
    """What an instance counted for, in the median of the functions of which one was measured; 0.0: none was."""
    start: ColdStart | None
    """How long cold starts took; None: there were none."""


def slice_of(trace: Trace, seed: int, arrivals: Arrivals) -> Trace:
    """The same trace with every call drawn, so that live and simulated they are the same. Raises Invalid when it is
    too much to be raced live."""
    for name, count, most, option in (
        ("calls", trace.total, CALLS_MAX, "--minutes and --functions"),
        ("minutes", trace.minutes, MINUTES_MAX, "--minutes"),
        ("functions", len(trace.functions), FUNCTIONS_MAX, "--functions"),
    ):
        if count > most:
            raise Invalid(f"{count:,} {name} are too many to be raced live, must be at most {most:,}: choose {option}")
    functions = []
    for function in trace.functions:
        drawn = Drawn(function, seed, arrivals)
        minutes = [drawn.of(minute) for minute in range(trace.minutes)]
        calls = Calls(
            [at for moments, _ in minutes for at in moments],
            [min(took, CALL_MAX_S) for _, services in minutes for took in services],
        )
        functions.append(msgspec.structs.replace(function, calls=calls))
    return msgspec.structs.replace(trace, functions=tuple(functions))


def abba(policies: Sequence[str]) -> list[str]:
    return [*policies, *reversed(policies)]


def race_live(
    trace: Trace, policies: Policies, server: Server, say: Callable[[str], None] = lambda line: None
) -> list[Run]:
    """Each policy twice, in the order ABBA; `trace` is of `slice_of`. Raises Refused or OSError when the server does
    not do what it should."""
    remove_left(Management(server), say)
    return [
        run_once(trace, label, policies[label], server, number, say)
        for number, label in enumerate(abba(list(policies)))
    ]


def remove_left(management: Management, say: Callable[[str], None]) -> None:
    """Of a race that was killed, or whose server was: its names are used again, and its instances would count."""
    left = [name for name in management.names() if NAMED.fullmatch(name)]
    if left:
        management.delete_named(left)
        management.await_instances(0, EMPTY_S)
        say(f"removed {len(left)} functions that an earlier race left in namespace {NAMESPACE}")


def run_once(
    trace: Trace, label: str, said: Mapping[str, ScalingValue], server: Server, number: int, say: Callable[[str], None]
) -> Run:
    management = Management(server)
    say(f"run {number + 1}: {trace.total:,} calls in {trace.minutes} min under {label}")
    with deployed(management, functions_of(trace, said, number)) as functions:
        before = management.metrics()
        plan, services = planned(trace, functions, server)
        lane = Lane(lambda: HttpWire(server.host, server.port), ready=16, most=CONNECTIONS_MAX)
        samples = Generator([lane], grace_s=GRACE_S + CALL_MAX_S).run(plan)
        lane.close()
        after = management.metrics()
        charged = [mib for function in functions if (mib := management.charged_mib(function)) is not None]
    names = [function.name for function in functions]
    run = measured(label, samples, services, names, before, after)
    return msgspec.structs.replace(run, memory_mib=median(charged) if charged else 0.0)


@contextlib.contextmanager
def deployed(management: Management, functions: Sequence[Function]) -> Iterator[Sequence[Function]]:
    """Removed at the end, and their instances gone."""
    try:
        management.deploy(functions)
        yield functions
    except BaseException:
        # What went wrong first counts: a server of our own has ended by the same Ctrl-C.
        for function in functions:
            with contextlib.suppress(Refused):
                management.delete([function])
        raise
    management.delete(functions)
    management.await_instances(0, EMPTY_S)


def functions_of(trace: Trace, said: Mapping[str, ScalingValue], number: int) -> list[Function]:
    """One for each of the trace. A name was never used before in this race."""
    limits = msgspec.convert({name: value for name, value in said.items() if name in LIMITS}, Limits)
    spec = FunctionSpec(
        initial=0,
        min=limits.min,
        max=limits.max,
        idle_s=limits.idle_s,
        concurrency=limits.concurrency or 1,
        memory_mib=MEMORY_MIB,
        timeout_s=10 * CALL_MAX_S,
        hold_s=10 * CALL_MAX_S,
        queue=100_000,
        scaling={name: value for name, value in said.items() if name not in LIMITS},
    )
    return [Function(name=f"race-{number}-f{at}", source=SOURCE, spec=spec) for at in range(len(trace.functions))]


def planned(trace: Trace, functions: Sequence[Function], server: Server) -> tuple[list[Ask], list[float]]:
    """The calls in order, and how long each sleeps."""
    calls = []
    for function, deployed_as in zip(trace.functions, functions, strict=True):
        assert function.calls is not None
        for at, took in zip(function.calls.arrived_s, function.calls.service_s, strict=True):
            calls.append((at, path_of(deployed_as), took))
    calls.sort()
    plan = [Ask(at, 0, request("POST", path, server.netloc, b'{"s": %.6f}' % took)) for at, path, took in calls]
    return plan, [took for _, _, took in calls]


def measured(
    label: str, samples: Sequence[Sample], services: Sequence[float], names: Sequence[str], before: str, after: str
) -> Run:
    added = sorted(
        max(0.0, sample.latency_ms / 1000 - took)
        for sample, took in zip(samples, services, strict=True)
        if sample.succeeded
    )
    late = sorted(sample.lateness_ms for sample in samples if sample.sent)
    # A function's series begin and end with it: they are of this run alone.
    cold = {
        labels["function"]: round(count)
        for labels, count in metrics.samples(after, "corral_cold_starts_total")
        if labels["namespace"] == NAMESPACE
    }
    cold_by_function = [cold.get(name, 0) for name in names]
    return Run(
        policy=label,
        calls=len(samples),
        failed=len(samples) - len(added),
        faults=failures(samples),
        cold_starts=sum(cold_by_function),
        cold_by_function=cold_by_function,
        starts=round(_rise(before, after, "corral_instance_starts_total")),
        added_s=sum(added),
        added_p50_ms=1000 * rank(added, 0, 50),
        added_p99_ms=1000 * rank(added, 0, 99),
        added_max_ms=1000 * rank(added, 0, 100),
        late_p99_ms=rank(late, 0, 99),
        memory_mib=0.0,
        start=starts_of(before, after),
    )


def _rise(before: str, after: str, name: str) -> float:
    return (metrics.total(after, name) or 0.0) - (metrics.total(before, name) or 0.0)


def starts_of(before: str, after: str) -> ColdStart | None:
    """As the histogram of whole cold starts grew between two pages of /metrics."""
    name = "corral_cold_start_seconds_bucket"
    earlier = {labels["le"]: value for labels, value in metrics.samples(before, name) if labels["part"] == "whole"}
    grown = [
        (float(labels["le"]), value - earlier.get(labels["le"], 0.0))
        for labels, value in metrics.samples(after, name)
        if labels["part"] == "whole" and labels["le"] != "+Inf"
    ]
    counts = [count for _, count in grown]
    if not grown or not counts[-1]:
        return None
    points = [(100 * count / counts[-1], 1000 * bound) for bound, count in grown]
    first = next(at for at, (percent, _) in enumerate(points) if percent > 0)
    least = points[first - 1][1] if first else 0.0
    last = next(at for at, (percent, _) in enumerate(points) if percent >= 100)
    return ColdStart("as they were live", ((0.0, least), *_rising(points[first : last + 1])))


def _rising(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Without those of the same percent as the one before."""
    before = 0.0
    for percent, ms in points:
        if percent > before:
            yield percent, ms
            before = percent


def seconds_of(trace: Trace, policies: Policies) -> int:
    """How long a race takes, about: every policy twice."""
    return ceil(2 * len(policies) * (60 * trace.minutes + 5))
