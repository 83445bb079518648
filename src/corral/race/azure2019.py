"""Reader of the Azure Functions trace of 2019 (Shahrad et al., Serverless in the Wild, ATC 2020): calls in each minute,
percentiles of durations and an average of memory, each in a file."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import msgspec

from corral.errors import Invalid
from corral.race.rows import Row, Table, check_memory, sha256_of
from corral.race.trace import PERCENTILES, SERVICE_MAX_S, Durations, Function, Trace

INVOCATIONS, DURATIONS, MEMORY = "invocations.csv", "durations.csv", "memory.csv"
KEY = ("HashOwner", "HashApp", "HashFunction")
DURATION_COLUMNS = tuple(f"percentile_Average_{each}" for each in PERCENTILES)

UNKNOWN_DURATIONS = Durations(100.0, (100.0,) * len(PERCENTILES))
UNKNOWN_MEMORY_MIB = 128.0
MEMORY_MAX_MIB = 1024 * 1024
NO_DURATIONS = f"The trace has no durations: every call is taken to last {UNKNOWN_DURATIONS.average_ms:g} ms."
NO_MEMORY = f"The trace has no memory: every instance is taken to hold {UNKNOWN_MEMORY_MIB:g} MiB."

Key = tuple[str, str, str]
"""Owner, app, function: names alone are not unique in every trace."""


def read_2019(folder: Path) -> Trace:
    """The three files of a folder. Raises Invalid."""
    paths = [folder / name for name in (INVOCATIONS, DURATIONS, MEMORY)]
    lacking = [path.name for path in paths if not path.is_file()]
    if lacking:
        raise Invalid(
            f"{folder} has no {lacking[0]}, must have {INVOCATIONS}, {DURATIONS} and {MEMORY}; {INVOCATIONS} alone "
            "can be given as a file"
        )
    check_memory(paths)
    table, minutes = _invocations(paths[0])
    functions = dict(_functions(table))
    durations = dict(_each(Table(paths[1], (*KEY, "Average", *DURATION_COLUMNS)), functions, _durations))
    memory = dict(_each(Table(paths[2], (*KEY, "AverageAllocatedMb")), functions, _memory))
    for path, found in ((paths[1], durations), (paths[2], memory)):
        _check_all(functions, found, path)
    joined = tuple(
        msgspec.structs.replace(function, durations=durations[key], memory_mib=memory[key])
        for key, function in functions.items()
    )
    return _trace(joined, minutes, paths, str(folder))


def read_invocations(path: Path) -> Trace:
    """The file of invocations alone; durations and memory are assumed, and said to be. Raises Invalid."""
    check_memory([path])
    table, minutes = _invocations(path)
    functions = tuple(function for _, function in _functions(table))
    return _trace(functions, minutes, [path], str(path), NO_DURATIONS, NO_MEMORY)


def _invocations(path: Path) -> tuple[Table, Sequence[int]]:
    """The table, and the numbers of its minutes."""
    table = Table(path, (*KEY, "Trigger"))
    named = table.columns[4:]
    if list(table.columns[:4]) != [*KEY, "Trigger"]:
        raise Invalid(f"{path} line 1: must begin with {', '.join((*KEY, 'Trigger'))}, then one column for each minute")
    if not named or not all(each.isdecimal() for each in named):
        wrong = next((each for each in named if not each.isdecimal()), "")
        raise Invalid(f"{path} line 1, column {wrong[:40] or 5}: must be the number of a minute, as in 480")
    minutes = list(map(int, named))
    for before, after in pairwise(minutes):
        if after != before + 1:
            raise Invalid(f"{path} line 1, column {after}: follows minute {before}, must be {before + 1}")
    return table, minutes


def _functions(table: Table) -> Iterator[tuple[Key, Function]]:
    seen: set[Key] = set()
    for row in table:
        key = _key(row)
        if key in seen:
            raise row.fault("HashFunction", f"{key[2]} has a row already, must have one")
        seen.add(key)
        owner, app, name = key
        yield (
            key,
            Function(
                name=name,
                app=app,
                owner=owner,
                trigger=row.text("Trigger") or "http",
                memory_mib=UNKNOWN_MEMORY_MIB,
                counts=array("I", row.counts(4)),
                durations=UNKNOWN_DURATIONS,
            ),
        )
    if not seen:
        raise table.is_empty("function")


Value = TypeVar("Value")


def _each(table: Table, functions: Mapping[Key, Function], read: Callable[[Row], Value]) -> Iterator[tuple[Key, Value]]:
    """What each line says of its function, which must be one of `functions`."""
    seen: set[Key] = set()
    for row in table:
        key = _key(row)
        if key not in functions:
            raise row.fault("HashFunction", f"{key[2]} is unknown, must be a function of {INVOCATIONS}")
        if key in seen:
            raise row.fault("HashFunction", f"{key[2]} has a row already, must have one")
        seen.add(key)
        yield key, read(row)


def _check_all(functions: Mapping[Key, Function], found: Mapping[Key, object], path: Path) -> None:
    for number, key in enumerate(functions, 2):
        if key not in found:
            raise Invalid(f"{path} has no row for {key[2]}, which {INVOCATIONS} has in line {number}: cut off?")


def _durations(row: Row) -> Durations:
    percentiles = tuple(row.amount(column, 1000 * SERVICE_MAX_S) for column in DURATION_COLUMNS)
    for before, after, column in zip(percentiles, percentiles[1:], DURATION_COLUMNS[1:], strict=False):
        if after < before:
            raise row.fault(column, f"{after:g}, must be at least {before:g}, the percentile before it")
    return Durations(row.amount("Average", 1000 * SERVICE_MAX_S), percentiles)


def _memory(row: Row) -> float:
    return row.amount("AverageAllocatedMb", MEMORY_MAX_MIB)


def _key(row: Row) -> Key:
    owner, app, name = (row.text(column) for column in KEY)
    return owner, app, name


def _trace(
    functions: tuple[Function, ...], minutes: Sequence[int], paths: Sequence[Path], source: str, *notes: str
) -> Trace:
    return Trace(
        functions=functions,
        first_minute=minutes[0],
        minutes=len(minutes),
        sha256={path.name: sha256_of(path) for path in paths},
        source=source,
        notes=notes,
    )
