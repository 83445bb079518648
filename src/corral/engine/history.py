"""What the engine remembers of each function for people: `describe` and /metrics. Nothing decides by it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from corral.model import STAMPS, ExitCause, FunctionKey, InstanceId, Observation, number_of
from corral.roster import Decided

KEPT = 10
"""Exits and decisions remembered for each function."""
DETAILED_MAX = 1000
"""Functions of which more than sums is remembered, those to which something happened last: 3 KB each."""


class ExitSeen(msgspec.Struct, frozen=True, kw_only=True):
    instance: InstanceId
    cause: ExitCause
    detail: str
    at: float
    """Wall clock, seconds."""
    memory_peak_mib: float


class DecisionSeen(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    """Of the revision."""
    desired: int
    have: int
    why: str
    inputs: Mapping[str, float]
    """What it was decided from, by name."""
    at: float
    """Wall clock, seconds."""


class ColdStart(msgspec.Struct, frozen=True, kw_only=True):
    instance: InstanceId
    at: float
    """Wall clock, seconds."""
    parts_s: dict[str, float]
    """Stamp -> seconds since the stamp before it; without those whose moment is not known."""

    @property
    def total_s(self) -> float:
        return sum(self.parts_s.values())


class Totals(msgspec.Struct):
    """Sums since the engine started."""

    arrived: int = 0
    completed: int = 0
    failed: int = 0
    service_s: float = 0.0
    ended_cpu_s: float = 0.0
    """Cpu seconds of instances that have ended."""


class FunctionHistory:
    """Tuples, as most functions have seen little: empty deques would take more than all the rest."""

    __slots__ = ("cold_start", "decisions", "exits", "problem", "totals", "zygote")

    def __init__(self) -> None:
        self.cold_start: ColdStart | None = None
        self.exits: tuple[ExitSeen, ...] = ()
        self.decisions: tuple[DecisionSeen, ...] = ()
        self.totals = Totals()
        self.problem: str | None = None
        """Why its last instance could not serve; None since one could."""
        self.zygote: str | None = None
        """Whether its revision has a zygote of its own, and why; None: none was asked for."""

    def drop_details(self) -> None:
        """The sums stay, and what is wrong with it now."""
        self.cold_start, self.exits, self.decisions = None, (), ()


class History:
    def __init__(self) -> None:
        self._by_function: dict[FunctionKey, FunctionHistory] = {}
        self._detailed: dict[FunctionKey, None] = {}
        """Those with details, the one longest without news first."""
        self.decisions = 0
        self.starts = 0
        self.exits: Counter[ExitCause] = Counter()

    def of(self, key: FunctionKey) -> FunctionHistory:
        found = self._by_function.get(key)
        if found is None:
            found = self._by_function[key] = FunctionHistory()
        return found

    def look(self, key: FunctionKey) -> FunctionHistory:
        """Only to read: of a function of which nothing was seen nothing is made either."""
        return self._by_function.get(key) or FunctionHistory()

    def functions(self) -> Sequence[FunctionKey]:
        """Those of which anything was seen."""
        return list(self._by_function)

    def forget(self, key: FunctionKey) -> None:
        self._by_function.pop(key, None)
        self._detailed.pop(key, None)

    def _news(self, key: FunctionKey) -> FunctionHistory:
        """To add a detail."""
        self._detailed.pop(key, None)
        self._detailed[key] = None
        if len(self._detailed) > DETAILED_MAX:
            longest = next(iter(self._detailed))
            del self._detailed[longest]
            self._by_function[longest].drop_details()
        return self.of(key)

    def decided(self, key: FunctionKey, decision: Decided, wall: float) -> None:
        self.decisions += 1
        seen = DecisionSeen(
            number=number_of(decision.revision),
            desired=decision.desired,
            have=decision.have,
            why=decision.why,
            inputs=decision.inputs,
            at=wall,
        )
        function = self._news(key)
        function.decisions = (*function.decisions, seen)[-KEPT:]

    def ready(self, key: FunctionKey, instance: InstanceId, stamps: Mapping[str, float], wall: float) -> None:
        self.of(key).problem = None
        known = [(name, stamps[name]) for name in STAMPS if name in stamps]
        parts = {name: moment - before for (_, before), (name, moment) in pairwise(known)}
        if parts:
            self._news(key).cold_start = ColdStart(instance=instance, at=wall, parts_s=parts)

    def failed(self, key: FunctionKey, sentence: str) -> None:
        self.of(key).problem = sentence

    def zygote(self, key: FunctionKey, sentence: str) -> None:
        self.of(key).zygote = sentence

    def exited(self, key: FunctionKey | None, seen: ExitSeen, cpu_s: float) -> None:
        """`key` is None when the function is deleted: it only counts."""
        self.exits[seen.cause] += 1
        if key is None:
            return
        function = self._news(key)
        function.exits = (*function.exits, seen)[-KEPT:]
        function.totals.ended_cpu_s += cpu_s

    def observed(self, key: FunctionKey, seen: Observation) -> None:
        totals = self.of(key).totals
        totals.arrived += seen.arrived
        totals.completed += seen.completed
        totals.failed += seen.failed
        totals.service_s += seen.service_s
