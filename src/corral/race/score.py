"""What a policy did to a trace: how long calls waited for it, and what it kept in memory for that."""

from collections.abc import Mapping, Sequence
from math import ceil

import msgspec

from corral.model import ScalingValue


class FunctionScore(msgspec.Struct, frozen=True, kw_only=True):
    """Of one function. Calls in the order of the trace's functions, so the two can be walked together."""

    name: str
    trigger: str
    memory_mib: float
    """Of one instance."""
    calls: int
    cold_starts: int
    """Instances that were started because a call waited, as `corral_cold_starts_total` counts them."""
    starts: int
    """All instances that were started."""
    added_s: float
    """Sum over its calls of the time from arrival until an instance began with it."""
    added_most_s: float
    waits_s: Sequence[float]
    """Of its calls that did wait, in the order they began; the others' are 0."""
    idle_gb_min: float
    """Memory of its instances while they executed nothing, those that were starting included."""
    busy_gb_min: float


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Memory is counted within the trace's minutes, waits of all calls that arrived in them. 1 GB is 1024 MiB."""

    policy: str
    """Its label."""
    scaling: Mapping[str, ScalingValue]
    """As it was asked for."""
    calls: int
    """Each was either answered or refused."""
    refused: int
    """Held too long, or too many: counted among the calls, with the time they were held."""
    cold_calls: int
    """Calls that waited for an instance that was not ready when they arrived."""
    cold_starts: int
    """Instances that were started because a call waited, as `corral_cold_starts_total` counts them."""
    starts: int
    """All instances that were started, those of a warm pool included."""
    added_s: float
    """Added latency: the time from a call's arrival until an instance began with it, summed over all."""
    added_p50_ms: float
    """Percentiles are nearest rank: a value that was seen."""
    added_p99_ms: float
    added_p999_ms: float
    added_max_ms: float
    idle_gb_min: float
    """Memory of what executed nothing: idle and starting instances, and what lies in `pool_gb_min`."""
    pool_gb_min: float
    """The part of it that belonged to no function: warm pools."""
    zygote_gb_min: float
    """Memory of functions' zygotes, which every policy gets alike; not in `idle_gb_min`."""
    busy_gb_min: float
    """Memory of instances while they executed."""
    instances: Sequence[float]
    """In each of the trace's minutes, the mean number of instances there were."""
    functions: Sequence[FunctionScore]
    """In the trace's order."""


def rank(ordered: Sequence[float], zeros: int, percent: float) -> float:
    """The nearest-rank percentile of `zeros` zeros and then `ordered`, which rises; 0.0 of nothing."""
    count = zeros + len(ordered)
    # Rounded first, as 99.9 % of 1,000 is 999.0000000000001 in binary.
    at = max(1, ceil(round(count * percent / 100, 6)))
    return 0.0 if at <= zeros or not ordered else ordered[at - zeros - 1]
