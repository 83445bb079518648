"""A trace as the three files of the Azure Functions trace of 2019, so that others can race on the same calls."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from corral.race.azure2019 import DURATION_COLUMNS, DURATIONS, INVOCATIONS, KEY, MEMORY
from corral.race.trace import Trace

TRACE_FILES = (INVOCATIONS, DURATIONS, MEMORY)
MEMORY_COLUMNS = tuple(f"AverageAllocatedMb_pct{each}" for each in (1, 5, 25, 50, 75, 95, 99, 100))


def files_2019(trace: Trace) -> Mapping[str, str]:
    """Name -> text, for a folder. What Corral's reader gives back of it is the same trace, but for single moments of
    calls and the source."""
    texts = (_csv(_invocations(trace)), _csv(_durations(trace)), _csv(_memory(trace)))
    return dict(zip(TRACE_FILES, texts, strict=True))


def _csv(rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def _invocations(trace: Trace) -> Iterator[Sequence[object]]:
    yield (*KEY, "Trigger", *range(trace.first_minute, trace.first_minute + trace.minutes))
    for each in trace.functions:
        yield (each.owner, each.app, each.name, each.trigger, *each.counts)


def _durations(trace: Trace) -> Iterator[Sequence[object]]:
    yield (*KEY, "Average", "Count", "Minimum", "Maximum", *DURATION_COLUMNS)
    for each in trace.functions:
        spread = each.durations.percentiles_ms
        yield (
            each.owner, each.app, each.name, each.durations.average_ms, each.total, spread[0], spread[-1], *spread
        )  # fmt: skip


def _memory(trace: Trace) -> Iterator[Sequence[object]]:
    """Its percentiles are all the mean: nothing else is known of a function's memory here."""
    yield ("HashFunction", "HashOwner", "HashApp", "SampleCount", "AverageAllocatedMb", *MEMORY_COLUMNS)
    for each in trace.functions:
        yield (each.name, each.owner, each.app, each.total, each.memory_mib, *[each.memory_mib] * len(MEMORY_COLUMNS))
