"""Row `step-rules`: from nothing to 500 calls per second at once, under every scaling rule in turn."""

from collections.abc import Mapping, Sequence

from corral.bench.contest import Contest, failures, planned_and_sent
from corral.bench.functions import SLEEP
from corral.bench.load import Sample
from corral.bench.manage import Function
from corral.bench.percentiles import spread
from corral.bench.step import RATE, step
from corral.bench.table import Figure, Row
from corral.model import FunctionSpec, ScalingValue
from corral.policy import DEFAULT_ENGINE, SCALERS

SECONDS, QUICK_SECONDS = 40, 5
INSTANCES_MAX = 600
"""Allowed: more than any rule asks for."""
WAITED_MS = 50.0
"""A call that takes this long has waited: it sleeps for 10 ms."""
EMPTY_S = 120.0
SAID: Mapping[str, Mapping[str, ScalingValue]] = {"openfaas": {"mode": "capacity", "target": 1}}
"""Beyond its rule's defaults, which are made for 50 calls at once in an instance: here there is one."""


def scalings() -> dict[str, dict[str, ScalingValue]]:
    """What each is deployed with, by its name in the table."""
    return {engine: {"engine": engine, **SAID.get(engine, {})} for engine in SCALERS}


def measure_rules(contest: Contest) -> Row:
    seconds = QUICK_SECONDS if contest.quick else SECONDS
    figures: list[Figure] = []
    notes = [
        "each rule with its defaults, after the other, on the same server; openfaas with mode=capacity, target=1",
        f"time to capacity: from the first call to the last one that took more than {WAITED_MS:g} ms",
        "at most 1,000 calls are on their way at once; more than that wait in the generator, and their time counts",
    ]
    for engine, scaling in scalings().items():
        spec = FunctionSpec(initial=0, concurrency=1, max=INSTANCES_MAX, queue=100_000, scaling=scaling)
        function = Function(name=f"step-{engine}", source=SLEEP, spec=spec)
        contest.management.deploy([function])
        contest.say(f"step from 0 to {RATE:g} calls/s under {engine}: {seconds} s")
        samples, started = step(contest, function, seconds)
        figures += figures_of(engine, samples, started)
        notes += [f"{engine}: {line}" for line in [planned_and_sent(samples), *failures(samples)]]
        contest.management.delete([function])
        contest.management.await_instances(0, EMPTY_S)
    title = "Step from 0 to 500 calls/s of 10 ms under every scaling rule, concurrency 1"
    return Row(name="step-rules", title=title, figures=figures, notes=notes)


def figures_of(engine: str, samples: Sequence[Sample], started: float) -> list[Figure]:
    """Nothing but an error of the default rule misses a target: the row shows what a rule costs."""
    answered = [sample.latency_ms for sample in samples if sample.succeeded]
    seen = spread(answered)
    return [
        Figure(
            name=f"{engine}: errors",
            value=len(samples) - len(answered),
            most=0 if engine == DEFAULT_ENGINE else None,
        ),
        Figure(name=f"{engine}: time to capacity", value=capacity_s(samples), unit="s"),
        Figure(name=f"{engine}: p50", value=seen.p50 if seen else None, unit="ms"),
        Figure(name=f"{engine}: p99", value=seen.p99 if seen else None, unit="ms"),
        Figure(name=f"{engine}: max", value=seen.max if seen else None, unit="ms"),
        Figure(name=f"{engine}: instances started", value=started),
    ]


def capacity_s(samples: Sequence[Sample]) -> float | None:
    """Seconds from the first call to the last one that waited; 0.0 when none did, None when the last of all did: there
    never was capacity. `samples` in the plan's order."""
    waited = [each.intended for each in samples if not each.succeeded or each.latency_ms > WAITED_MS]
    if not waited:
        return 0.0
    return None if waited[-1] == samples[-1].intended else waited[-1] - samples[0].intended
