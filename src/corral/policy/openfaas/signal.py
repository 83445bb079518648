"""What counts as load in each mode: which number of ours it is, and how the recording rules read it.

| mode | number | read |
| rps | completed calls | rate over 30 s, rounded up |
| capacity | calls in flight, waiting ones too | highest scrape of 45 s, rounded up |
| cpu | millicores | between the last two scrapes of a minute, rounded up |
| queue | calls that wait | newest scrape |
| custom | `metric` | counts as rps, levels as capacity, but not rounded |

A level at a scrape is the mean of the second before it: nobody tells of single moments."""

from collections.abc import Callable
from math import ceil

from corral.model import Observation
from corral.policy.openfaas.series import Series
from corral.policy.openfaas.settings import Metric, OpenFaasSettings
from corral.policy.scaler import Situation, Usage

RATE_S, HIGHEST_S, LAST_S = 30.0, 45.0, 60.0
ROUNDING = 1e-9
FRESH_S = 1.25
"""So long what was said of a second or a measurement holds: the next one was silent, or nothing runs."""
GAP_S = 2.5
"""Measurements farther apart leave a gap, in which nothing ran."""

COUNTS: dict[Metric, Callable[[Observation], float]] = {
    "arrived": lambda second: second.arrived,
    "completed": lambda second: second.completed,
    "completed_200": lambda second: second.completed_200,
    "failed": lambda second: second.failed,
    "service_s": lambda second: second.service_s,
}
LEVELS: dict[Metric, Callable[[Observation], float]] = {
    "in_flight": lambda second: second.concurrency_s,
    "executing": lambda second: second.executing_s,
    "waiting": lambda second: max(0.0, second.concurrency_s - second.executing_s),
    "oldest_wait_s": lambda second: second.oldest_wait_s,
}
MODES: dict[str, Metric] = {
    "rps": "completed",
    "capacity": "in_flight",
    "cpu": "cpu_millicores",
    "queue": "waiting",
    "alert": "completed_200",
}
UNITS: dict[Metric, str] = {
    "arrived": "calls a second",
    "completed": "calls a second",
    "completed_200": "good calls a second",
    "failed": "failures a second",
    "service_s": "busy seconds a second",
    "in_flight": "calls in flight",
    "executing": "calls executing",
    "waiting": "calls waiting",
    "oldest_wait_s": "seconds of waiting",
    "cpu_millicores": "millicores",
    "memory_mib": "MiB",
}


class Signal:
    def __init__(self, settings: OpenFaasSettings, begun: float) -> None:
        self.metric: Metric = settings.metric or MODES[settings.mode]
        self.series = Series(begun)
        self._is_newest, self._is_whole = settings.mode == "queue", settings.mode in ("rps", "capacity", "cpu")
        self._measured_at = float("-inf")
        self.whole_at = begun + RATE_S if self.metric in COUNTS else begun
        """Until then a rate shows less than there is: it counts from the beginning of this signal."""

    def learn(self, seen: Situation, now: float) -> None:
        if seen.second is not None and self.metric in COUNTS:
            self.series.value += COUNTS[self.metric](seen.second)
        if seen.second is not None and self.metric in LEVELS:
            self._level(LEVELS[self.metric](seen.second), now)
        if seen.usage is not None and self.metric == "memory_mib":
            self._level(seen.usage.memory_mib, now)
        if seen.usage is not None and self.metric == "cpu_millicores":
            self._burn(seen.usage, now)

    def load(self, now: float) -> float:
        value = self._read(now)
        return float(ceil(value - ROUNDING)) if self._is_whole else value

    @property
    def is_quiet(self) -> bool:
        """No load, and none will show before something comes."""
        is_counter = self.metric in COUNTS or self.metric == "cpu_millicores"
        return self.series.is_steady and (is_counter or self.series.next_value == 0)

    def _read(self, now: float) -> float:
        series = self.series
        if self.metric == "cpu_millicores":
            return 1000 * series.last_rate(LAST_S, now)
        if self.metric in COUNTS:
            return series.rate(RATE_S, now)
        return series.newest(HIGHEST_S, now) if self._is_newest else series.highest(HIGHEST_S, now)

    def _level(self, value: float, now: float) -> None:
        self.series.value, self.series.until = value, now + FRESH_S

    def _burn(self, usage: Usage, now: float) -> None:
        """Cores over the span of the measurement are cpu seconds."""
        span_s = now - self._measured_at
        self._measured_at = now
        self.series.value += usage.cpu_cores * (span_s if span_s <= GAP_S else 1.0)
