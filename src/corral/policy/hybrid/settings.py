"""What users may set of the hybrid histogram. Defaults are the paper's, with the range of its evaluation."""

from collections.abc import Iterator
from math import ceil
from typing import Annotated

from msgspec import Meta

from corral.policy.settings import Settings

BINS_MAX = 1440
Percent = Annotated[float, Meta(ge=0, le=100)]


class HybridSettings(Settings, frozen=True, kw_only=True):
    range_s: Annotated[float, Meta(ge=60, le=604_800)] = 14_400.0
    """Seconds: longer idle times are not in the histogram. An instance stays so long while that says nothing yet."""
    bin_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Seconds of idle time that are told apart."""
    cv_threshold: Annotated[float, Meta(ge=0, le=100)] = 2.0
    """The histogram counts as representative when the coefficient of variation of its bins is at least this."""
    head_percentile: Percent = 5.0
    """Of the idle times: before that, less the margin, nothing is kept."""
    tail_percentile: Percent = 99.0
    """Of the idle times: after that, and the margin, nothing is kept."""
    margin_percent: Annotated[float, Meta(ge=0, le=90)] = 10.0
    """How much earlier than the head it is loaded, and later than the tail unloaded."""
    outside_percent: Annotated[float, Meta(gt=0, le=100)] = 50.0
    """When so many idle times were beyond the range, the next one is forecast as the mean of the last eight."""
    forecast_margin_percent: Annotated[float, Meta(ge=0, le=90)] = 15.0
    """How much earlier than forecast it is loaded, and later unloaded."""
    learn_samples: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """Idle times that must be known; with fewer an instance stays for learn_s."""
    learn_s: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    """Seconds an instance stays until learn_samples are known."""

    def conflicts(self, least: int, most: int) -> Iterator[str]:
        if not 1 <= self.range_s / self.bin_s <= BINS_MAX:
            first, last = self.range_s / BINS_MAX, self.range_s
            yield f"bin_s = {self.bin_s:g}, must be between {max(1, first):g} and {last:g} with range_s = {last:g}"
        if self.head_percentile > self.tail_percentile:
            yield (
                f"head_percentile = {self.head_percentile:g}, must not be above "
                f"tail_percentile = {self.tail_percentile:g}"
            )

    @property
    def bins(self) -> int:
        return ceil(self.range_s / self.bin_s)
