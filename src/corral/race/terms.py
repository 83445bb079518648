"""What is the same for every policy of a race, in words."""

from collections.abc import Mapping

from corral.race.arrivals import Arrivals
from corral.race.coldstart import ColdStart
from corral.race.conditions import Conditions
from corral.race.words import number, seconds

LYING: Mapping[Arrivals, str] = {
    "uniform": "anywhere in their minute, each by itself (uniform)",
    "exponential": "at gaps drawn from an exponential distribution, stretched to fill the minute (exponential)",
    "equidistant": "at equal gaps (equidistant)",
}


def in_events(conditions: Conditions) -> Mapping[str, str]:
    """Of a race in events."""
    return {
        "method": "simulation of every call and instance, with the pools, the roster and the rules that serve live",
        "calls lie": f"{LYING[conditions.arrivals]}, where the trace has only counts of minutes",
        "seed": str(conditions.seed),
        "a cold start takes": _starts(conditions.cold_start),
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
