"""One function in a race: its pool, its calls, and what is written down of both."""

import random
from array import array

from corral.model import CallId, RevisionId
from corral.pool import Limits, Pool
from corral.race.arrivals import Calls
from corral.race.score import FunctionScore
from corral.race.trace import Function

MIB_S_PER_GB_MIN = 1024 * 60.0


class Instance:
    """From its start until it is gone."""

    __slots__ = ("busy_s", "busy_until", "is_cold", "is_forked", "lane", "ready_at", "started_at")

    def __init__(self, lane: "Lane", now: float, ready_at: float, is_cold: bool) -> None:
        self.lane = lane
        self.started_at, self.ready_at = now, ready_at
        self.is_cold = is_cold
        """A call waited when it was started, or before it was ready."""
        self.is_forked = lane.has_zygote
        """From its function's zygote: its code was loaded already."""
        self.busy_s, self.busy_until = 0.0, now
        """How long calls were executed in it, overlapping ones once, and until when."""


class Lane:
    __slots__ = (
        "added_most_s",
        "added_s",
        "busy_s",
        "calls",
        "cold_calls",
        "cold_starts",
        "count",
        "function",
        "has_zygote",
        "held",
        "idle_s",
        "is_active",
        "pool",
        "refused",
        "revision",
        "rng",
        "starts",
        "tick_at",
        "waits",
        "zygote_s",
        "zygote_since",
    )

    def __init__(self, revision: RevisionId, function: Function, calls: Calls, limits: Limits, seed: str) -> None:
        self.revision, self.function, self.calls = revision, function, calls
        self.pool = Pool(revision, limits, random.Random(f"{seed}/pool"))
        self.rng = random.Random(f"{seed}/starts")
        """Of its cold starts: the n-th takes equally long under every policy."""
        self.held: dict[CallId, tuple[float, float]] = {}
        """Calls that wait in the pool -> when they arrived, how long they take."""
        self.has_zygote = False
        """Of its own; the next instance is forked from it."""
        self.zygote_since: float | None = None
        """When the one that there is was ordered."""
        self.zygote_s = 0.0
        self.is_active = False
        """It may have something to tell of this second."""
        self.tick_at: float | None = None
        """The earliest tick of the pool that is in the heap."""
        self.count = self.refused = self.cold_calls = self.cold_starts = self.starts = 0
        self.waits = array("d")
        """Of the calls that did wait."""
        self.added_s = self.added_most_s = self.idle_s = self.busy_s = 0.0

    def waited(self, added_s: float) -> None:
        self.waits.append(added_s)
        self.added_s += added_s
        if added_s > self.added_most_s:
            self.added_most_s = added_s

    def ended(self, instance: Instance, now: float, window_s: float) -> None:
        """Only what lies in the trace's minutes counts."""
        alive_s = max(0.0, min(now, window_s) - instance.started_at)
        self.cold_starts += instance.is_cold
        self.busy_s += instance.busy_s
        self.idle_s += max(0.0, alive_s - instance.busy_s)

    def zygote_ended(self, now: float, window_s: float) -> None:
        if self.zygote_since is not None:
            self.zygote_s += max(0.0, min(now, window_s) - self.zygote_since)
            self.zygote_since = None

    @property
    def zygote_gb_min(self) -> float:
        """It is charged what an instance holds: nobody has measured it."""
        return self.zygote_s * self.function.memory_mib / MIB_S_PER_GB_MIN

    @property
    def score(self) -> FunctionScore:
        gb_min = self.function.memory_mib / MIB_S_PER_GB_MIN
        return FunctionScore(
            name=self.function.name,
            trigger=self.function.trigger,
            memory_mib=self.function.memory_mib,
            calls=self.count,
            cold_starts=self.cold_starts,
            starts=self.starts,
            added_s=self.added_s,
            added_most_s=self.added_most_s,
            waits_s=self.waits.tolist(),
            idle_gb_min=self.idle_s * gb_min,
            busy_gb_min=self.busy_s * gb_min,
        )
