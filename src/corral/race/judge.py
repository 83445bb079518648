"""From the scores of a race to its outcome: functions are put into groups, and each policy's figures summed."""

from collections.abc import Mapping, Sequence

import msgspec

from corral.model import ScalingValue
from corral.policy import read_scaling
from corral.race.classes import MEANING, class_of
from corral.race.conditions import LIMITS, Limits
from corral.race.minutes import FunctionKept, Kept
from corral.race.outcome import ALL, REST, Contender, Course, Figures, Group, Outcome
from corral.race.score import FunctionScore, Score, rank
from corral.race.trace import Trace

Members = Mapping[str, Sequence[int]]
"""Group -> places of its functions in the trace."""


def members(trace: Trace) -> Members:
    """All, those without the dominating one where there is one, and every class that has functions."""
    everyone = range(len(trace.functions))
    found: dict[str, Sequence[int]] = {ALL: everyone}
    dominating = trace.dominating
    if dominating is not None:
        found[REST] = [at for at in everyone if trace.functions[at] is not dominating]
    kinds = [class_of(function) for function in trace.functions]
    for kind in MEANING:
        places = [at for at in everyone if kinds[at] == kind]
        if places:
            found[kind] = places
    return found


def course(trace: Trace, version: str, terms: Mapping[str, str]) -> Course:
    dominating = trace.dominating
    totals = [function.total for function in trace.functions]
    return Course(
        version=version,
        source=trace.source,
        sha256=trace.sha256,
        first_minute=trace.first_minute,
        minutes=trace.minutes,
        groups={
            group: Group(len(places), sum(totals[at] for at in places)) for group, places in members(trace).items()
        },
        dominating=None if dominating is None else dominating.name,
        terms=terms,
        notes=trace.notes,
    )


def outcome(trace: Trace, raced: Course, scores: Sequence[Score]) -> Outcome:
    """Of a race in events."""
    groups = members(trace)
    return Outcome(raced, [_contender(score, groups) for score in scores])


def _contender(score: Score, groups: Members) -> Contender:
    starts = sum(each.starts for each in score.functions)
    engine, settings = settings_of(score.scaling)
    return Contender(
        name=score.policy,
        engine=engine,
        settings=settings,
        groups={
            group: _figures([score.functions[at] for at in places], score.pool_gb_min, starts)
            for group, places in groups.items()
        },
        instances=[round(mean, 4) for mean in score.instances],
        refused=score.refused,
        pool_gb_min=score.pool_gb_min,
        zygote_gb_min=score.zygote_gb_min,
    )


def _figures(functions: Sequence[FunctionScore], pool_gb_min: float, starts: int) -> Figures:
    """`starts`: of all functions. A warm pool belongs to none: it is there for the next start, whoever's that is."""
    calls = sum(each.calls for each in functions)
    waits = sorted(wait for each in functions for wait in each.waits_s)
    p50, p99, p999 = (rank(waits, calls - len(waits), percent) for percent in (50, 99, 99.9))
    part = sum(each.starts for each in functions) / starts if starts else 0.0
    return Figures(
        calls=calls,
        cold=sum(each.cold_starts for each in functions),
        idle_gb_min=sum(each.idle_gb_min for each in functions) + part * pool_gb_min,
        busy_gb_min=sum(each.busy_gb_min for each in functions),
        wait_s=sum(each.added_s for each in functions),
        wait_p50_s=p50,
        wait_p99_s=p99,
        wait_p999_s=p999,
        wait_max_s=max((each.added_most_s for each in functions), default=0.0),
    )


def outcome_in_bins(trace: Trace, raced: Course, kept: Mapping[str, Kept]) -> Outcome:
    """Of a race in minute bins: label -> what came of it."""
    groups = members(trace)
    return Outcome(
        raced,
        [
            Contender(
                name=label,
                engine=label,
                settings={},
                groups={group: _kept([each.functions[at] for at in places]) for group, places in groups.items()},
            )
            for label, each in kept.items()
        ],
    )


def _kept(functions: Sequence[FunctionKept]) -> Figures:
    return Figures(
        calls=sum(each.calls for each in functions),
        cold=sum(each.cold_starts for each in functions),
        idle_gb_min=sum(each.idle_gb_min for each in functions),
    )


def settings_of(said: Mapping[str, ScalingValue]) -> tuple[str, Mapping[str, ScalingValue | None]]:
    """(engine, every setting and limit with its value) of a policy that was raced."""
    engine, settings = read_scaling({name: value for name, value in said.items() if name not in LIMITS})
    limits = msgspec.to_builtins(Limits()) | {name: value for name, value in said.items() if name in LIMITS}
    return engine, {**msgspec.to_builtins(settings), **limits}
