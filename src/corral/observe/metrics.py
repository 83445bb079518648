"""Counters and histograms with the text Prometheus reads (exposition format 0.0.4).

A family has a name, a sentence and label names; `labels(...)` gives the child that the path of a call keeps and
touches directly: an attribute and one addition, no lookup. Everything runs on one event loop: no locks."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds for a whole call."""
START_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Bounds for a cold start and its parts: finest where the promise lies, around 10 ms."""


class Counter:
    """Only grows. On a hot path: `counter.value += 1`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def samples(self, name: str, labels: str) -> Iterator[str]:
        yield f"{name}{_braced(labels)} {_number(self.value)}"


class Gauge:
    """Goes up and down; `value` is set, or read from `source` when the text is made."""

    __slots__ = ("source", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.source: Callable[[], float] | None = None

    def samples(self, name: str, labels: str) -> Iterator[str]:
        value = self.value if self.source is None else self.source()
        yield f"{name}{_braced(labels)} {_number(value)}"


class Histogram:
    """Counts per bound. `counts[i]` holds what was above bound i-1 and at most bound i; the last has no bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def samples(self, name: str, labels: str) -> Iterator[str]:
        before = f"{labels}," if labels else ""
        cumulated = 0
        for bound, count in zip((*map(_number, self.bounds), "+Inf"), self.counts, strict=True):
            cumulated += count
            yield f'{name}_bucket{{{before}le="{bound}"}} {cumulated}'
        yield f"{name}_sum{_braced(labels)} {_number(self.total)}"
        yield f"{name}_count{_braced(labels)} {cumulated}"


Child = TypeVar("Child", Counter, Gauge, Histogram)


class Family(Generic[Child]):
    """All children of one metric. `kind` is Prometheus' word for it."""

    def __init__(self, name: str, help: str, kind: str, names: Sequence[str], make: Callable[[], Child]) -> None:
        self.name, self.help, self.kind = name, help, kind
        self._names = tuple(names)
        self._make: Callable[[], Child] = make
        self._children: dict[tuple[str, ...], Child] = {}

    def labels(self, *values: str) -> Child:
        """The child with these label values, in the order of the family's label names; made when it is new."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._names):
                raise ValueError(f"{self.name} has labels {self._names}, got {values}")
            child = self._children[values] = self._make()
        return child

    def forget(self, *values: str) -> None:
        """Drop the child with these label values, if there is one: what it counts is no more."""
        self._children.pop(values, None)

    def lines(self) -> Iterator[str]:
        """Children that come or go meanwhile do not matter: whoever sends a long page lets others run in between."""
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for values, child in list(self._children.items()):
            pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(self._names, values, strict=True))
            yield from child.samples(self.name, pairs)


def counters(name: str, help: str, *labels: str) -> Family[Counter]:
    return Family(name, help, "counter", labels, Counter)


def gauges(name: str, help: str, *labels: str) -> Family[Gauge]:
    return Family(name, help, "gauge", labels, Gauge)


def histograms(name: str, help: str, bounds: Sequence[float], *labels: str) -> Family[Histogram]:
    return Family(name, help, "histogram", labels, lambda: Histogram(bounds))


AnyFamily = Family[Counter] | Family[Gauge] | Family[Histogram]
PIECE_LINES = 1000
"""Made in about a millisecond."""


def lines(families: Iterable[AnyFamily]) -> Iterator[str]:
    """The families as Prometheus reads them, each line ended."""
    return (f"{line}\n" for family in families for line in family.lines())


def text(families: Iterable[AnyFamily]) -> str:
    return "".join(lines(families))


async def page(lines: Iterator[str]) -> bytes:
    """All of them. With ten thousand functions that takes a second, so everybody else on the loop has his turn after
    each PIECE_LINES."""
    pieces: list[bytes] = []
    while piece := "".join(islice(lines, PIECE_LINES)):
        pieces.append(piece.encode())
        await asyncio.sleep(0)
    return b"".join(pieces)


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
