"""What is the same for every policy of a race, in words."""

from collections.abc import Mapping, Sequence

from corral.race.arrivals import Arrivals
from corral.race.coldstart import ColdStart
from corral.race.conditions import Conditions
from corral.race.words import number, seconds

STARTS = "a cold start takes"
LYING: Mapping[Arrivals, str] = {
    "uniform": "anywhere in their minute, each by itself (uniform)",
    "exponential": "at gaps drawn from an exponential distribution, stretched to fill the minute (exponential)",
    "equidistant": "at equal gaps (equidistant)",
}


COMPARED = (
    "Rules are compared, not engines: under every policy the same calls come and starts take equally long, {starts}. "
    "An engine whose own starts take longer serves worse than its rule does here. Who wins depends on it: race again "
    "with --cold-start and what yours take.",
    "Each rule has its engine's defaults but for what the policy's name says. Other settings may suit your calls "
    "better, of any engine: name them in --policies.",
    "An instance takes one call at a time, unless a policy says concurrency = N: then calls that share one neither "
    "slow each other nor need more memory. Rules made for instances that take many calls look worse by the one, and "
    "may look better by the other.",
    "Memory is counted, not limited: nobody waits because others hold too much.",
    "Every policy begins with nothing learned and no instance of any function.",
)
"""What the figures of a race in events say, and what they do not: the report is read without the documentation."""


def compared(terms: Mapping[str, str]) -> Sequence[str]:
    """`terms` of `in_events`; nothing of others."""
    starts = terms.get(STARTS)
    return () if starts is None else tuple(each.replace("{starts}", starts) for each in COMPARED)


def in_events(conditions: Conditions) -> Mapping[str, str]:
    """Of a race in events."""
    return {
        "method": "simulation of every call and instance, with the pools, the roster and the rules that serve live",
        "calls lie": f"{LYING[conditions.arrivals]}, where the trace has only counts of minutes",
        "seed": str(conditions.seed),
        STARTS: _starts(conditions.cold_start),
        "calls at once in an instance": f"{conditions.concurrency}, unless a policy says otherwise",
        "way to the engine and back": f"{seconds(conditions.link_s)}, part of the cold start",
        "memory of a stopped instance is free after": seconds(conditions.stop_s),
        "a call is held at most": seconds(conditions.hold_s),
        "processors": f"{conditions.cores}; memory is not limited, only counted",
    }


def in_bins() -> Mapping[str, str]:
    """Of a race in minute bins."""
    return {
        "method": "minute bins: each function has one instance, which takes all calls of a minute; execution takes no "
        "time; a function's first call is cold",
    }


def _starts(cold_start: ColdStart) -> str:
    points = cold_start.quantiles
    low, high = points[0][1], points[-1][1]
    if low == high:
        return f"{number(low)} ms"
    half, nearly = (next(ms for percent, ms in points if percent >= part - 1e-6) for part in (50, 99))
    between = f"half of them up to {number(half)} ms, 99 % up to {number(nearly)} ms"
    return f"{number(low)} to {number(high)} ms, {between} ({cold_start.name})"
