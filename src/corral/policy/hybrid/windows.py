"""When a function that falls idle is needed again, from when it was before."""

from statistics import fmean

import msgspec

from corral.policy.hybrid.idle import IdleTimes
from corral.policy.hybrid.settings import HybridSettings


class Windows(msgspec.Struct, frozen=True):
    """Counted from the end of the last call."""

    load_s: float
    """Unloaded until then; 0.0: it stays."""
    keep_s: float
    """Unloaded from then on. Not below `load_s`."""
    why: str


def foresee(idle: IdleTimes, settings: HybridSettings) -> Windows:
    """1. Too few idle times are known: it stays for `learn_s`.
    2. Most were beyond the range: around the mean of the last ones.
    3. The histogram says nothing: it stays for the whole range.
    4. From the head to the tail of the histogram, with a margin. A head in the first bin: never unloaded before."""
    if idle.seen < settings.learn_samples:
        known = f"{idle.seen} of {settings.learn_samples} idle times known"
        return Windows(0.0, settings.learn_s, f"{known}: kept for {settings.learn_s:g} s")
    # Without a latest one it is only known that they were long: nothing can be forecast from that.
    if idle.latest and idle.outside and 100 * idle.outside >= settings.outside_percent * idle.seen:
        forecast, margin = fmean(idle.latest), settings.forecast_margin_percent / 100
        why = f"{idle.outside} of {idle.seen} idle times above {settings.range_s:g} s: next in about {forecast:.0f} s"
        return Windows(forecast * (1 - margin), forecast * (1 + margin), why)
    variation = idle.variation
    if not idle.inside or variation < settings.cv_threshold:
        why = f"{idle.seen} idle times say nothing yet (CV {variation:.3g}): kept for {settings.range_s:g} s"
        return Windows(0.0, settings.range_s, why)
    margin = settings.margin_percent / 100
    load_s = idle.head_s(settings.head_percentile) * (1 - margin)
    keep_s = idle.tail_s(settings.tail_percentile) * (1 + margin)
    why = f"{idle.seen} idle times (CV {variation:.3g}): needed {load_s:.0f} to {keep_s:.0f} s after a call"
    return Windows(load_s, keep_s, why)
