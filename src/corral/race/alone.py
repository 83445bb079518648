"""One function with one instance, under the production rule: it is asked as the Roster asks it, at each call, at each
second with calls and at its own moments. What is left out is more than one instance at once."""

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from corral.model import Observation, ScalingValue
from corral.policy import SCALERS, Situation, Terms, read_scaling
from corral.race.past import Past

TOLD_S = 0.5
"""From a call to the end of its second, on average: then the rule hears of it."""
MIB_S_PER_GB_MIN = 1024 * 60.0
CORES = 4


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """How a function is scaled, as `corral scaling` shows it."""

    scaling: Mapping[str, ScalingValue]
    """The engine, and the settings that were said."""
    idle_s: float | None
    """None: as the rule finds right."""
    deployed_idle_s: float | None = None
    """What its deployment says of it: nothing else comes when what was set live is taken back."""
    min: int = 0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    cold_starts: int
    added_s: float
    """What calls waited for instances, in all."""
    idle_gb_min: float
    """1 GB is 1024 MiB."""

    def cost(self, second_gib_min: float) -> float:
        """In GB-minutes, when a second of waiting is worth so many."""
        return self.added_s * second_gib_min + self.idle_gb_min


class Alone:
    """`call` at each moment, in order; then `outcome`, once. `common` is what the rule shares on a host."""

    def __init__(self, past: Past, said: Said, common: object, begins_at: float) -> None:
        engine, settings = read_scaling(said.scaling)
        rule = SCALERS[engine]
        self._past, self._min = past, said.min
        self._scaler = rule.make(
            Terms(
                settings=settings,
                idle_s=said.idle_s,
                cores=CORES,
                rng=random.Random(past.name),
                min=said.min,
                max=max(1, said.min),
                trigger=past.trigger,
                memory=None if rule.memory is None else rule.memory(),
                common=common,
            )
        )
        self._now = begins_at
        self._is_there = False
        self._next_at: float | None = None
        self._busy_until = self._idle_from = begins_at
        self._tell_at: float | None = None
        """When the rule hears that a long call has ended."""
        self._cold_starts, self._added_s, self._idle_s = 0, 0.0, 0.0
        self._ask()

    def call(self, at: float, lasts_s: float) -> None:
        self._pass(at)
        is_first = at > self._busy_until or not self._is_there
        start_s = 0.0
        if not self._is_there:
            start_s = self._past.start_s
            self._cold_starts += 1
            self._added_s += start_s
            self._ask(waiting=1)
            self._load()
        elif is_first:
            self._idle_s += at - self._idle_from
        self._busy_until = self._idle_from = max(self._busy_until, at + start_s + lasts_s)
        self._now = at + TOLD_S
        seen = Observation(arrived=1, completed=1, completed_200=1, peak=1, service_s=lasts_s, from_idle=int(is_first))
        self._ask(second=seen)
        self._tell_at = self._busy_until + TOLD_S if self._busy_until > self._now else None

    def outcome(self, until: float) -> Outcome:
        self._pass(until)
        if self._is_there:
            self._idle_s += max(0.0, until - self._idle_from)
        return Outcome(
            cold_starts=self._cold_starts,
            added_s=self._added_s,
            idle_gb_min=self._idle_s * self._past.memory_mib / MIB_S_PER_GB_MIN,
        )

    def _pass(self, until: float) -> None:
        """While a call is executed nothing is asked: each second would say that it goes on."""
        if self._tell_at is not None and self._tell_at < until:
            self._now, self._tell_at = max(self._now, self._tell_at), None
            self._ask(second=Observation(completed=1, completed_200=1, peak=1))
        while self._next_at is not None and (at := max(self._next_at, self._busy_until)) < until:
            self._now = max(self._now, at)
            self._ask()
        self._now = max(self._now, until)

    def _ask(self, **seen: Any) -> None:
        situation = Situation(
            ready=int(self._is_there),
            starting=0,
            concurrency=1,
            start_s=self._past.start_s,
            memory_mib=self._past.memory_mib,
            **seen,
        )
        decision = self._scaler.decide(situation, self._now)
        self._next_at = decision.next_at
        if decision.desired is None:
            return
        is_wanted = max(decision.desired, self._min) > 0
        if is_wanted and not self._is_there and not seen.get("waiting"):
            self._idle_from = self._now
            self._load()
        elif not is_wanted and self._is_there and self._now >= self._busy_until:
            self._is_there = False
            self._idle_s += self._now - self._idle_from

    def _load(self) -> None:
        self._is_there = True
        self._ask(joined=True)
