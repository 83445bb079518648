"""How long an instance takes from the order to start it until it serves."""

import random
from bisect import bisect_left

import msgspec

from corral.errors import Invalid


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


MEASURED = ColdStart("measured", ((0, 2.2), (50, 3.2), (99, 4.7), (100, 12.0)))
"""What a client waits at one cold start a second."""

FIXED_MAX_MS = 3_600_000.0


def fixed(ms: float) -> ColdStart:
    """Every start takes so long. Raises Invalid."""
    if not 0 <= ms <= FIXED_MAX_MS:
        raise Invalid(f"cold-start = {ms:g}, must be between 0 and {FIXED_MAX_MS:.0f} ms, or `measured`")
    return ColdStart(f"{ms:g} ms", ((0, ms), (100, ms)))
