"""What a race came to: the figures of every policy, for all functions and for groups of them. It is what the report
shows, and as JSON it is the report for machines."""

from collections.abc import Mapping, Sequence

import msgspec

ALL, REST = "all", "without the dominating function"
"""Groups beside the classes of race.classes."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one policy, for one group of functions."""

    calls: int
    cold: int
    """Instances that were started because a call waited; in minute bins: calls that found none."""
    idle_gb_min: float
    """Memory of instances that executed nothing, those starting and warm pools included. Warm pools belong to no
    function: a group has of them its part of all starts."""
    busy_gb_min: float | None = None
    wait_s: float | None = None
    """Added latency, the sum over all calls; None, as the four that follow: the race was in minute bins, which know no
    waiting."""
    wait_p50_s: float | None = None
    wait_p99_s: float | None = None
    wait_p999_s: float | None = None
    wait_max_s: float | None = None

    @property
    def cost(self) -> float:
        """What callers pay: seconds of added latency, or cold starts where no latency is known."""
        return float(self.cold) if self.wait_s is None else self.wait_s


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """One policy and what it came to."""

    name: str
    """Unique in its race."""
    engine: str
    settings: Mapping[str, bool | float | str | None]
    """All of them, defaults included."""
    groups: Mapping[str, Figures]
    """By ALL, REST (where a function dominates) and the classes that have functions."""
    instances: Sequence[float] = ()
    """Mean in each minute; empty: not known."""
    refused: int = 0
    """Calls held too long, or too many at once."""
    pool_gb_min: float = 0.0
    """The part of the idle memory that is warm pools."""
    zygote_gb_min: float = 0.0
    """Memory of zygotes, which all policies get alike: not in idle memory."""


class Group(msgspec.Struct, frozen=True):
    functions: int
    calls: int


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What was raced on, and under which terms: enough to do it again."""

    version: str
    source: str
    sha256: Mapping[str, str]
    first_minute: int
    minutes: int
    groups: Mapping[str, Group]
    """As Contender.groups."""
    dominating: str | None
    """The function with more than half of all calls."""
    terms: Mapping[str, str]
    """How it was raced: what is the same for every policy, in words."""
    notes: Sequence[str] = ()
    """What had to be assumed, a sentence each."""


class Outcome(msgspec.Struct, frozen=True):
    course: Course
    contenders: Sequence[Contender]
    """In the order they were asked for; at least one."""

    @property
    def has_waits(self) -> bool:
        return self.contenders[0].groups[ALL].wait_s is not None
