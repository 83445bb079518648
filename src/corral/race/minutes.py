"""Minute bins: what a way of keeping instances costs when a trace's minutes are all that is looked at.

A function has one instance, which takes all calls of a minute; execution takes no time. Between two minutes with calls
lies a gap of g minutes (1: the next minute). After a call an instance is there from the begin of a window to its end,
both in minutes: the next call finds it warm when begin <= g <= end, or when g is 1 and the window begins at once. The
first call of all is cold. Idle minutes are those of the window before the next call, or before the trace's end:
min(g - 1, end) - begin; so the first minute of a window that begins later is not charged. It is of every further
window, or many short windows would cost nothing."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from corral.race.trace import Function, Trace

MIB_IN_GB = 1024


class Window(NamedTuple):
    """Minutes after a call, in which an instance is kept."""

    begin: int
    """0: the instance that took the call stays."""
    end: int


class Subject(msgspec.Struct, frozen=True):
    """What an engine knows of a function before its first call."""

    number: int
    """Counts from 0, as functions stand in the trace."""
    name: str
    app: str
    owner: str
    trigger: str
    memory_mib: float


class Keeper(Protocol):
    """A way of keeping instances."""

    def called(self, subject: Subject, minute: int, calls: int) -> Sequence[Window]:
        """The function was called in this minute, counted from the trace's first. Minutes never go back, so only what
        was can be known. Windows do not overlap and are in order."""
        ...


class FunctionKept(msgspec.Struct, frozen=True):
    """What came of it for one function."""

    name: str
    calls: int
    cold_starts: int
    idle_gb_min: float
    """1 GB is 1024 MiB."""


class Kept(msgspec.Struct, frozen=True):
    """What came of it for a trace."""

    functions: tuple[FunctionKept, ...]

    @property
    def calls(self) -> int:
        return sum(each.calls for each in self.functions)

    @property
    def cold_starts(self) -> int:
        return sum(each.cold_starts for each in self.functions)

    @property
    def idle_gb_min(self) -> float:
        return sum(each.idle_gb_min for each in self.functions)

    @property
    def third_quartile(self) -> float:
        """The part of its calls that was cold, of the function at three quarters of all: the measure of Serverless in
        the Wild. 0.0: there are no functions with calls."""
        ranked = sorted(each.cold_starts / each.calls for each in self.functions if each.calls)
        return ranked[3 * len(ranked) // 4] if ranked else 0.0


def keep(trace: Trace, keeper: Keeper) -> Kept:
    """What `keeper` makes of all calls of the trace."""
    ledgers = [_Ledger(number, function) for number, function in enumerate(trace.functions)]
    for minute, called in enumerate(_called(trace)):
        for number in called:
            ledgers[number].call(keeper, minute)
    return Kept(tuple(each.close(trace.minutes) for each in ledgers))


def _called(trace: Trace) -> Iterator[Sequence[int]]:
    """The numbers of the functions that were called, minute by minute."""
    called: list[list[int]] = [[] for _ in range(trace.minutes)]
    for number, function in enumerate(trace.functions):
        for minute, calls in enumerate(function.counts):
            if calls:
                called[minute].append(number)
    yield from called


class _Ledger:
    """One function while minutes pass."""

    def __init__(self, number: int, function: Function) -> None:
        self._function = function
        self._subject = Subject(
            number, function.name, function.app, function.owner, function.trigger, function.memory_mib
        )
        self._last: int | None = None
        self._windows: Sequence[Window] = ()
        self._cold = self._idle_min = 0

    def call(self, keeper: Keeper, minute: int) -> None:
        if self._last is None:
            self._cold += 1
        else:
            gap = minute - self._last
            self._cold += not any(_is_warm(window, gap) for window in self._windows)
            self._idle_min += _idle_min(self._windows, gap)
        self._last = minute
        self._windows = keeper.called(self._subject, minute, self._function.counts[minute])

    def close(self, minutes: int) -> FunctionKept:
        if self._last is not None:
            self._idle_min += _idle_min(self._windows, minutes - self._last)
        function = self._function
        gb = function.memory_mib / MIB_IN_GB
        return FunctionKept(function.name, function.total, self._cold, self._idle_min * gb)


def _is_warm(window: Window, gap: int) -> bool:
    return window.begin <= gap <= window.end or (gap == 1 and window.begin == 0)


def _idle_min(windows: Sequence[Window], gap: int) -> int:
    idle = 0
    for number, (begin, end) in enumerate(windows):
        uncharged = begin if number == 0 else begin - 1
        idle += max(0, min(gap - 1, end) - uncharged)
    return idle
