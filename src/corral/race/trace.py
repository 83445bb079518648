"""A trace: which functions were called, how often in each minute, how long calls took and what an instance held."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec

from corral.errors import Invalid

PERCENTILES = (0, 1, 25, 50, 75, 99, 100)
"""Of a function's durations, as the Azure Functions traces have them."""
DAYS_MAX = 100
"""That a trace lasts. Longer is a clock gone wrong: each function would have a count for each minute in between."""
SERVICE_MAX_S = 7 * 86_400
"""Of one call. Longer is a wrong unit, and the race lasts until its last call is over."""
DOMINATING = 0.5
"""A function with more than this part of all calls decides every sum: results are shown with and without it."""


class Durations(msgspec.Struct, frozen=True):
    """How long a function's calls took, in ms, cold start not included."""

    average_ms: float
    percentiles_ms: tuple[float, ...]
    """At PERCENTILES, rising."""


class Calls(msgspec.Struct, frozen=True):
    """Single calls in order of their arrival, of a trace that knows them."""

    arrived_s: Sequence[float]
    """Seconds since the trace's first minute began."""
    service_s: Sequence[float]
    """How long each took, cold start not included."""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    app: str
    owner: str
    trigger: str
    """As the trace says: `http`, `timer`, `queue`, ...; what it does not say is `http`."""
    memory_mib: float
    """What one instance holds."""
    counts: Sequence[int]
    """Calls in each of the trace's minutes."""
    durations: Durations
    calls: Calls | None = None
    """None: the trace knows only how many there were in each minute."""

    @property
    def total(self) -> int:
        return sum(self.counts)


class Trace(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    functions: tuple[Function, ...]
    first_minute: int
    """The number of the first minute, as the trace counts: minutes are named by it."""
    minutes: int
    sha256: Mapping[str, str]
    """Of each file it was read from: name -> hex. Empty for one that was made."""
    source: str
    """Where it was read from, for people."""
    notes: tuple[str, ...] = ()
    """What had to be assumed, a sentence each."""

    @cached_property
    def total(self) -> int:
        """Calls of all functions."""
        return sum(function.total for function in self.functions)

    @property
    def dominating(self) -> Function | None:
        """The function with more than half of all calls; None: there is none."""
        busiest = max(self.functions, key=lambda each: each.total)
        return busiest if busiest.total > DOMINATING * self.total and len(self.functions) > 1 else None

    def without(self, function: Function) -> "Trace":
        """All but one of its functions."""
        left = tuple(each for each in self.functions if each is not function)
        return msgspec.structs.replace(self, functions=left)

    def spread(self, count: int) -> "Trace":
        """`count` functions, taken evenly from all in order of their calls, so that rare and busy ones stay in
        proportion; the busiest is among them. Raises Invalid."""
        there = len(self.functions)
        if not 1 <= count <= there:
            raise Invalid(f"functions = {count}, must be between 1 and {there}, as many as {self.source} has")
        ranked = sorted(range(there), key=lambda at: (-self.functions[at].total, at))
        step = (there - 1) / (count - 1) if count > 1 else 0.0
        chosen = {ranked[round(number * step)] for number in range(count)}
        return msgspec.structs.replace(self, functions=tuple(self.functions[at] for at in sorted(chosen)))

    def between(self, first: int, last: int) -> "Trace":
        """The minutes `first` to `last`, both inside, as the trace numbers them, with the functions that were called
        in them. Raises Invalid."""
        end = self.first_minute + self.minutes - 1
        if not self.first_minute <= first <= last <= end:
            raise Invalid(f"minutes = {first}-{last}, must lie within {self.first_minute}-{end} of {self.source}")
        start, stop = first - self.first_minute, last - self.first_minute + 1
        cut = (_cut(function, start, stop) for function in self.functions)
        left = tuple(each for each in cut if any(each.counts))
        if not left:
            raise Invalid(f"minutes = {first}-{last}: no function of {self.source} was called in them")
        return msgspec.structs.replace(self, functions=left, first_minute=first, minutes=stop - start)


def _cut(function: Function, start: int, stop: int) -> Function:
    counts, calls = function.counts[start:stop], function.calls
    if calls is not None:
        skipped, taken = sum(function.counts[:start]), sum(counts)
        inside = slice(skipped, skipped + taken)
        moved = [moment - 60.0 * start for moment in calls.arrived_s[inside]]
        calls = Calls(moved, calls.service_s[inside])
    return msgspec.structs.replace(function, counts=counts, calls=calls)
