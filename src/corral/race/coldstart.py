"""How long an instance takes from the order to start it until it serves."""

import random
from bisect import bisect_left
from math import exp, log
from statistics import NormalDist

import msgspec

from corral.errors import Invalid

NORMAL = NormalDist()


class ColdStart(msgspec.Struct, frozen=True):
    """Quantiles between which is drawn, evenly: (percent, ms), from 0 to 100 and rising."""

    name: str
    quantiles: tuple[tuple[float, float], ...]
    load_ms: float = 0.0
    """What a function's code takes to load, besides. What loads for long gets a zygote of its own as in production,
    and its instances begin without it from then on. A trace does not say; 0: all load at once, and none has one."""

    def draw(self, rng: random.Random) -> float:
        """In seconds."""
        points = self.quantiles
        percent = 100.0 * rng.random()
        after = max(1, bisect_left(points, (percent,)))
        (low, least), (high, most) = points[after - 1], points[after]
        return (least + (most - least) * (percent - low) / (high - low)) / 1000.0


def through(name: str, p50_ms: float, p99_ms: float) -> ColdStart:
    """Log-normal with this median and 99th percentile, from one in ten thousand to all but one."""
    spread = log(p99_ms / p50_ms) / NORMAL.inv_cdf(0.99)
    parts = (0.0001, 0.001, *(each / 100 for each in (1, *range(5, 100, 5), 99)), 0.999, 0.9999)
    points = [(100 * part, p50_ms * exp(spread * NORMAL.inv_cdf(part))) for part in parts]
    return ColdStart(name, ((0, points[0][1]), *points[1:-1], (100, points[-1][1])))


MEASURED = through("measured", 3.2, 4.7)
"""What a client waits for a function that has no instance, at one such call a second: the row `cold` of `corral bench`
on the machine named in README.md. Of its percentiles these two are published."""

FIXED_MAX_MS = 3_600_000.0


def fixed(ms: float) -> ColdStart:
    """Every start takes so long. Raises Invalid."""
    if not 0 <= ms <= FIXED_MAX_MS:
        raise Invalid(f"cold-start = {ms:g}, must be between 0 and {FIXED_MAX_MS:.0f} ms, or `measured`")
    return ColdStart(f"{ms:g} ms", ((0, ms), (100, ms)))
