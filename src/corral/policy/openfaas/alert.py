"""The free edition's rule: an alert of Prometheus, told on by the Alertmanager, adds a step each time it comes.

1. Every five seconds: more than 5 good calls a second over 10 s, for at least 5 s, and the alert fires.
2. It is told of 5 s later, and again every 30 s while it fires.
3. That it is resolved is told at the next of the Alertmanager's looks, which are 10 s apart.
4. Each firing adds ceil(max / 100 x factor) instances; resolved means back to the fewest.
Source: OpenFaaS' documented alert and the intervals of its Alertmanager."""

from math import ceil

from corral.policy.openfaas.series import Series
from corral.policy.rhythm import next_moment

RATE_S = 10.0
RATE_MOST = 5.0
FOR_S = 5.0
GROUP_WAIT_S, GROUP_INTERVAL_S, REPEAT_S = 5.0, 10.0, 30.0


def step(most: int, factor: int) -> int:
    return ceil(most * factor / 100)


class Alert:
    """`series` counts good calls and is scraped before each look at it. Where it `was_told` of, by an earlier engine,
    that it is resolved is still to be told."""

    def __init__(self, series: Series, now: float, was_told: bool = False) -> None:
        self._series = series
        self.rate = 0.0
        self.is_firing = False
        self._high_since: float | None = None
        # Not before the alert could fire again.
        self.look_at = now + 2 * GROUP_INTERVAL_S if was_told else None
        """The Alertmanager's next look; None: it knows of no alert."""
        self._told_at = now if was_told else None
        """When it last told of the firing; None: it has not."""

    def evaluate(self, now: float) -> None:
        """Prometheus', after each scrape."""
        self.rate = self._series.rate(RATE_S, now)
        if self.rate <= RATE_MOST:
            self._high_since, self.is_firing = None, False
            return
        if self._high_since is None:
            self._high_since = now
        self.is_firing = now - self._high_since >= FOR_S
        if self.is_firing and self.look_at is None:
            self.look_at = now + GROUP_WAIT_S

    def look(self, now: float) -> bool | None:
        """The Alertmanager's, when it is due: it tells that the alert fires, or that it is resolved (False). None: it
        tells nothing."""
        if self.look_at is None or now < self.look_at:
            return None
        looked_at, told_at = self.look_at, self._told_at
        if not self.is_firing:
            self.look_at = self._told_at = None
            return None if told_at is None else False
        self.look_at = next_moment(looked_at, GROUP_INTERVAL_S, now)
        if told_at is not None and looked_at - told_at < REPEAT_S:
            return None
        self._told_at = looked_at
        return True

    @property
    def is_quiet(self) -> bool:
        return self._high_since is None and self.look_at is None
