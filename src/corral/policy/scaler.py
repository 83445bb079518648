"""The Scaler seam: how many instances one revision should have."""

import random
from collections.abc import Mapping
from typing import Protocol

import msgspec

from corral.model import Observation
from corral.policy.settings import Settings


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a scaler is made with. One object serves one revision and keeps its own history."""

    settings: Settings
    """Of the rule's own type."""
    idle_s: float | None
    """How long an instance stays without need, as the function's owner said; None: as the rule finds right."""
    cores: int
    """Of the machine: more starts at once than its processors can carry make all of them slower."""
    rng: random.Random
    """Seeded, for rules that draw."""
    min: int = 0
    max: int = 1000
    """The Roster keeps every decision within both; a rule that goes by them may know them."""
    initial: int = 0
    """Instances that had to load before the deployment counted."""
    cpu: float = 1.0
    """Cores that one instance may take."""
    trigger: str = "http"
    """What calls the function: `timer` calls come by the clock."""
    memory: msgspec.Struct | None = None
    """What the scalers of this function learn, of the type its Rule names: all its revisions' scalers get the same
    object. It outlives them, also while nothing of the function runs. None: the rule names none."""
    common: object = None
    """One for all scalers of the rule on a host, as its Rule makes it; None: the rule has none."""


class Usage(msgspec.Struct, frozen=True):
    """What the instances that were measured used together in the last measurement's span (a second live)."""

    instances: int
    """Ready ones; those that joined since the last measurement are not among them."""
    cpu_cores: float
    """Mean over the span: 1.5 is one core and a half."""
    memory_mib: float
    """At its end."""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What a scaler is asked about: what stands, and what has just been learnt, if anything."""

    ready: int
    """Instances that serve, without those already asked back."""
    starting: int
    concurrency: int
    """Calls at once in one instance."""
    in_namespace: int = 0
    """Instances of all functions of its namespace, until they are gone."""
    waiting: int = 0
    """Calls without an instance, by a Want that has just come; 0: none came."""
    executing: int = 0
    """Calls with an instance, by the same Want."""
    oldest_wait_s: float = 0.0
    second: Observation | None = None
    """A closed second that has just come in, from one gateway. Silent seconds never come."""
    joined: bool = False
    """An instance has just become ready, or this scaler takes over what stands."""
    start_s: float = 0.0
    """How long the last cold start took; 0.0: not known."""
    memory_mib: float = 0.0
    """What one more instance would be charged; 0.0: not known."""
    usage: Usage | None = None
    """A measurement that has just come in, from the cgroups; only for settings that need it."""
    wall_offset_s: float = 0.0
    """What the wall clock is ahead of `now`, in seconds since 1970. It changes when somebody sets that clock."""
    is_watched: bool = True
    """A gateway is connected: a second of which nothing comes was silent. Otherwise nobody knows."""

    @property
    def have(self) -> int:
        return self.ready + self.starting


class Decision(msgspec.Struct, frozen=True):
    desired: int | None
    """Instances in all, those starting included; None: no data, change nothing. The Roster keeps it within the
    revision's min and max."""
    next_at: float | None
    """When to ask again though nothing came; None: not before something comes."""
    why: str
    """A sentence for people, with the numbers that led here."""
    inputs: Mapping[str, float] = {}
    """What it was decided from, by name, for people and for a replay to compare."""


class Scaler(Protocol):
    def decide(self, seen: Situation, now: float) -> Decision:
        """Asked at each Want, each closed second that was not silent, each instance that became ready or was lost,
        each change of the terms, each measurement if its settings need it, and at the last `next_at`. `now` never
        goes back."""
        ...

    def retune(self, terms: Terms) -> None:
        """Other settings or limits from the next decision on; what was seen stays."""
        ...
