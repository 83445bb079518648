"""The Choose seam: which instance takes a call. The pool keeps the slots; a rule here only points at one.

Each rule keeps the workers that could take a call in an order of its own: constant time for each call, or O(log n)
where it is an order of numbers."""

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from corral.model import CallId, InstanceId
from corral.policy.ranking import Ranking


class Worker:
    """One instance as its pool sees it. Only the pool changes it."""

    __slots__ = ("calls", "foreign", "instance", "number", "retiring", "taken")

    def __init__(self, instance: InstanceId, number: int, foreign: int) -> None:
        self.instance = instance
        self.number = number
        """Of its pool's instances, in the order they joined."""
        self.calls: set[CallId] = set()
        self.foreign = foreign
        """Slots taken by calls of an earlier gateway, which have no id here."""
        self.taken = foreign
        """len(calls) + foreign."""
        self.retiring = False


Stack = OrderedDict[InstanceId, Worker]
"""Workers in order of their last change, the latest at the end."""


class Choice(Protocol):
    """The workers of one pool that could take a call."""

    def put(self, worker: Worker) -> None:
        """It has a free slot: it joined, or took a call or ended one and has one still. It may be here already."""
        ...

    def drop(self, worker: Worker) -> None:
        """It is full, or takes no more calls. It need not be here."""
        ...

    def next(self) -> Worker | None:
        """The one that takes a call now; the pool gives it the call and puts or drops it. None: the call waits."""
        ...


class MostRecent:
    """The busiest end first, then the instance used last: the others fall idle and can be given up."""

    def __init__(self, idle: Stack) -> None:
        self._idle = idle
        self._busy: Stack = OrderedDict()

    def put(self, worker: Worker) -> None:
        if worker.taken:
            # One that was full moves to the end; one that was not keeps its place, so that few are kept busy.
            self._busy[worker.instance] = worker
        else:
            self._busy.pop(worker.instance, None)

    def drop(self, worker: Worker) -> None:
        self._busy.pop(worker.instance, None)

    def next(self) -> Worker | None:
        if self._busy:
            return next(reversed(self._busy.values()))
        if self._idle:
            return next(reversed(self._idle.values()))
        return None


class RoundRobin:
    """In turns. One that was full comes back at the end, where Knative's would have its old place in the round."""

    def __init__(self) -> None:
        self._free: Stack = OrderedDict()

    def put(self, worker: Worker) -> None:
        self._free[worker.instance] = worker

    def drop(self, worker: Worker) -> None:
        self._free.pop(worker.instance, None)

    def next(self) -> Worker | None:
        if not self._free:
            return None
        worker = next(iter(self._free.values()))
        self._free.move_to_end(worker.instance)
        return worker


class Ranked:
    """The one of lowest rank. O(log n)."""

    def __init__(self, rank: Callable[[Worker], int]) -> None:
        self._rank = rank
        self._free: dict[InstanceId, Worker] = {}
        self._order: Ranking[InstanceId] = Ranking()

    def put(self, worker: Worker) -> None:
        self._free[worker.instance] = worker
        self._order.put(worker.instance, self._rank(worker))

    def drop(self, worker: Worker) -> None:
        if self._free.pop(worker.instance, None) is not None:
            self._order.drop(worker.instance)

    def next(self) -> Worker | None:
        first = self._order.first()
        return None if first is None else self._free[first]


def by_joining(worker: Worker) -> int:
    """The one that joined first: the youngest fall idle."""
    return worker.number


def by_calls(worker: Worker) -> int:
    """The one with fewest calls, and of those the one that joined first."""
    return (worker.taken << 40) + worker.number


class AtRandom:
    """Any."""

    def __init__(self, rng: random.Random | None) -> None:
        """None: it draws the same in every pool."""
        self._rng = rng or random.Random(0)
        self._free: list[Worker] = []
        self._places: dict[InstanceId, int] = {}

    def put(self, worker: Worker) -> None:
        if worker.instance not in self._places:
            self._places[worker.instance] = len(self._free)
            self._free.append(worker)

    def drop(self, worker: Worker) -> None:
        place = self._places.pop(worker.instance, None)
        if place is None:
            return
        last = self._free.pop()
        if last is not worker:
            self._free[place] = last
            self._places[last.instance] = place

    def next(self) -> Worker | None:
        return self._free[self._rng.randrange(len(self._free))] if self._free else None


class RandomOfTwo(AtRandom):
    """Of two drawn at random the one with fewer calls."""

    def next(self) -> Worker | None:
        count = len(self._free)
        if count < 2:
            return self._free[0] if count else None
        first = self._rng.randrange(count)
        second = self._rng.randrange(count - 1)
        second += second >= first
        return min(self._free[first], self._free[second], key=lambda worker: worker.taken)


MOST_RECENT = "most_recent"
KNATIVE_FEW = 3
"""Calls at once in an instance up to which Knative fills one after the other."""
UNLIMITED = 1000
"""The most calls at once that an instance may be given: it stands for Knative's 0, which is any number."""


def _knative(concurrency: int, idle: Stack, rng: random.Random | None) -> Choice:
    """Source: Knative's activator, which chooses its policy by the revision's container concurrency."""
    if concurrency >= UNLIMITED:
        return RandomOfTwo(rng)
    return Ranked(by_joining) if concurrency <= KNATIVE_FEW else RoundRobin()


Chooser = Callable[[int, Stack, random.Random | None], Choice]
"""(calls at once in an instance, the pool's idle workers, chance) -> the rule at work in one pool, still empty."""

CHOOSERS: dict[str, Chooser] = {
    MOST_RECENT: lambda _concurrency, idle, _rng: MostRecent(idle),
    "knative": _knative,
    "fewest": lambda _concurrency, _idle, _rng: Ranked(by_calls),
    "random": lambda _concurrency, _idle, rng: AtRandom(rng),
}
"""By the name that a scaling rule gives. `knative` goes by the concurrency: instances are filled in the order they
joined, take turns, or are drawn, two at a time."""
