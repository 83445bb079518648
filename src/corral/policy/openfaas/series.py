"""One number of a revision as Prometheus would have it: scraped every five seconds, read over a span.

Source: Prometheus, promql/functions.go. A span reaches from just after its beginning to now. A counter of which nothing
was ever counted is not there, so the first count of all shows in a rate only as far as the extrapolation finds it."""

from collections import deque
from math import inf

from corral.policy.rhythm import next_moment

SCRAPE_S = 5.0
KEPT_S = 60.0
"""No span is longer."""
NEAR = 1.1
"""Times the mean distance of samples: an edge of the span that is farther from them is not reached by extrapolation,
only half a distance is."""


class Series:
    """`value` is what a scrape would find now, and up to `until`; from then on it would find nothing."""

    def __init__(self, begun: float) -> None:
        self.value, self.until = 0.0, inf
        self._begun = begun
        self.scrape_at = begun + SCRAPE_S
        self._samples: deque[tuple[float, float]] = deque()

    def scrape(self, is_there: bool, now: float) -> bool:
        """Those that are due up to now, and whether any was; while nobody answers they find nothing to keep."""
        if now < self.scrape_at:
            return False
        # Of a long sleep only what a span may still reach.
        at = max(self.scrape_at, next_moment(self._begun, SCRAPE_S, now - KEPT_S))
        self.scrape_at = next_moment(self._begun, SCRAPE_S, now)
        while at <= now:
            if is_there and (self._samples or self.value):
                self._samples.append((at, self._value_at(at)))
            at = next_moment(self._begun, SCRAPE_S, at)
        while self._samples and self._samples[0][0] <= now - KEPT_S:
            self._samples.popleft()
        return True

    def rate(self, span_s: float, now: float) -> float:
        """Of a counter, each second, extrapolated to the edges of the span; 0.0 with less than two samples."""
        samples = self._over(span_s, now)
        if len(samples) < 2:
            return 0.0
        (first_at, first), (last_at, last) = samples[0], samples[-1]
        sampled_s, increase = last_at - first_at, last - first
        if increase <= 0:
            return 0.0
        gap_s = sampled_s / (len(samples) - 1)
        before_s, after_s = first_at - (now - span_s), now - last_at
        before_s = before_s if before_s < NEAR * gap_s else gap_s / 2
        after_s = after_s if after_s < NEAR * gap_s else gap_s / 2
        # A counter was never below zero: not farther back than where it would have been.
        before_s = min(before_s, sampled_s * first / increase)
        return increase * (sampled_s + before_s + after_s) / sampled_s / span_s

    def last_rate(self, span_s: float, now: float) -> float:
        """Of a counter, between its last two samples."""
        samples = self._over(span_s, now)
        if len(samples) < 2:
            return 0.0
        (before_at, before), (last_at, last) = samples[-2:]
        return max(0.0, last - before) / (last_at - before_at)

    def highest(self, span_s: float, now: float) -> float:
        return max((value for _, value in self._over(span_s, now)), default=0.0)

    def newest(self, span_s: float, now: float) -> float:
        samples = self._over(span_s, now)
        return samples[-1][1] if samples else 0.0

    @property
    def is_steady(self) -> bool:
        """All that a span may still reach is as the next scrape will be: time alone changes no reading of it."""
        return all(value == self.next_value for _, value in self._samples)

    @property
    def next_value(self) -> float:
        """What the next scrape will find if nothing comes."""
        return self._value_at(self.scrape_at)

    def _value_at(self, moment: float) -> float:
        return self.value if moment <= self.until else 0.0

    def _over(self, span_s: float, now: float) -> list[tuple[float, float]]:
        return [sample for sample in self._samples if now - span_s < sample[0] <= now]
