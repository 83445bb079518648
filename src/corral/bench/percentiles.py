"""Percentiles of what was measured, and how sure their ratio is."""

import math
import random
from collections.abc import Sequence

import msgspec

RESAMPLES = 400
"""Enough for the two figures a 95% interval is printed with."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of `ordered` (ascending, not empty): a value that was really seen, never an
    interpolation. `share` is above 0 and at most 1."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def median(values: Sequence[float]) -> float:
    return percentile(sorted(values), 0.5)


class Spread(msgspec.Struct, frozen=True):
    """Where the values lie; in their unit."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


def spread(values: Sequence[float]) -> Spread | None:
    """None when there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    p50, p90, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
    return Spread(len(ordered), p50, p90, p99, ordered[-1])


def ratio_interval(above: Sequence[float], below: Sequence[float], rng: random.Random) -> tuple[float, float]:
    """The 95% bootstrap interval of median(above) / median(below); neither is empty."""
    ratios = sorted(
        median(rng.choices(above, k=len(above))) / median(rng.choices(below, k=len(below))) for _ in range(RESAMPLES)
    )
    return percentile(ratios, 0.025), percentile(ratios, 0.975)
