"""Reader of the Azure Functions trace of 2021: one line for each call."""

from array import array
from collections.abc import Sequence
from math import floor, inf
from pathlib import Path
from statistics import fmean

from corral.race.azure2019 import NO_MEMORY, UNKNOWN_MEMORY_MIB
from corral.race.rows import Table, check_memory, sha256_of
from corral.race.trace import DAYS_MAX, PERCENTILES, SERVICE_MAX_S, Calls, Durations, Function, Trace

COLUMNS = ("app", "func", "end_timestamp", "duration")
"""The last two in seconds; a call began `duration` before its end."""


def read_2021(path: Path) -> Trace:
    """Minute 0 is the one of the first call. Raises Invalid."""
    check_memory([path])
    table = Table(path, COLUMNS)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    first, last = inf, -inf
    for row in table:
        took = row.amount("duration", SERVICE_MAX_S)
        began = row.amount("end_timestamp", inf) - took
        first, last = min(first, began), max(last, began)
        if not last - first < DAYS_MAX * 86_400:
            said = row.text("end_timestamp")[:40]
            raise row.fault("end_timestamp", f"{said!r}, must be within {DAYS_MAX} days of all others, in seconds")
        found.setdefault((row.text("app"), row.text("func")), []).append((began, took))
    if not found:
        raise table.is_empty("call")
    for calls in found.values():
        calls.sort()
    origin = 60.0 * floor(first / 60)
    minutes = floor((last - origin) / 60) + 1
    functions = tuple(_function(app, name, calls, origin, minutes) for (app, name), calls in found.items())
    return Trace(
        functions=functions,
        first_minute=0,
        minutes=minutes,
        sha256={path.name: sha256_of(path)},
        source=str(path),
        notes=(NO_MEMORY,),
    )


def _function(app: str, name: str, calls: Sequence[tuple[float, float]], origin: float, minutes: int) -> Function:
    arrived = array("d", (began - origin for began, _ in calls))
    service = array("d", (took for _, took in calls))
    counts = array("I", bytes(4 * minutes))
    for moment in arrived:
        counts[floor(moment / 60)] += 1
    return Function(
        name=name,
        app=app,
        owner="",
        trigger="http",
        memory_mib=UNKNOWN_MEMORY_MIB,
        counts=counts,
        durations=durations_of(service),
        calls=Calls(arrived, service),
    )


def durations_of(service_s: Sequence[float]) -> Durations:
    """Of single calls, at least one; a percentile is the value at its rank."""
    ranked = sorted(1000 * each for each in service_s)
    last = len(ranked) - 1
    return Durations(fmean(ranked), tuple(ranked[round(last * each / 100)] for each in PERCENTILES))
