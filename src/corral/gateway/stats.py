"""What the gateway counts, per function, and its part of /metrics."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from corral.model import FunctionKey
from corral.observe import metrics
from corral.observe.metrics import LATENCY_S, START_S, Counter

_CLASSES = ("1xx", "1xx", "2xx", "3xx", "4xx", "5xx")
"""By status // 100."""


class FunctionStats:
    """One function's children: a call touches attributes only. They are made by the first call, all at once, so that
    a function that is never called costs nothing and one that is begins with every class at 0."""

    __slots__ = ("_by_class", "_cut", "_key", "_latency", "_left", "_starts", "_stats")

    def __init__(self, stats: "Stats", key: FunctionKey) -> None:
        self._stats, self._key = stats, key
        self._by_class: Sequence[Counter] = ()

    def told(self, status: int, seconds: float) -> None:
        if not self._by_class:
            self.begin()
        self._by_class[status // 100].value += 1
        self._latency.observe(seconds)

    def left(self) -> None:
        """A client left before its answer was complete."""
        self.begin()
        self._left.value += 1

    def cut(self) -> None:
        """An answer ended before it was complete, whatever status it began with."""
        self.begin()
        self._cut.value += 1

    def started(self, stamps: Mapping[str, float]) -> None:
        """A cold start is over: `stamps` in the order of model.STAMPS, those there are."""
        self.begin()
        self._starts.value += 1
        cold = self._stats.cold
        for (_, before), (name, at) in pairwise(stamps.items()):
            cold.labels(name).observe(max(at - before, 0.0))
        if "ready" in stamps:
            cold.labels("whole").observe(max(stamps["ready"] - min(stamps.values()), 0.0))

    def begin(self) -> None:
        """A call has come: from now on the function is on the page."""
        if self._by_class:
            return
        stats, of = self._stats, self._key.split("/", 1)
        self._by_class = [stats.calls.labels(*of, status) for status in _CLASSES]
        self._left = stats.calls.labels(*of, "left")
        self._cut = stats.calls.labels(*of, "cut")
        self._latency = stats.latency.labels(*of)
        self._starts = stats.starts.labels(*of)

    def end(self) -> None:
        """The function is gone, and its series with it. Calls that still end are counted where nobody looks."""
        self.begin()
        stats, of = self._stats, self._key.split("/", 1)
        for status in (*_CLASSES, "left", "cut"):
            stats.calls.forget(*of, status)
        stats.latency.forget(*of)
        stats.starts.forget(*of)


class Stats:
    """The gateway's families."""

    def __init__(self) -> None:
        of = ("namespace", "function")
        self.calls = metrics.counters(
            "corral_calls_total",
            "Calls ended, by function and class of status; left: the client went away; cut: the answer broke off.",
            *of, "status",
        )  # fmt: skip
        self.latency = metrics.histograms(
            "corral_call_duration_seconds", "From a call's head to its last byte.", LATENCY_S, *of
        )
        self.starts = metrics.counters(
            "corral_cold_starts_total", "Instances that became ready and were started because a call waited.", *of
        )
        self.cold = metrics.histograms(
            "corral_cold_start_seconds",
            "Cold starts, whole and by part: until decided, received, forked, dressed, loaded, ready.",
            START_S,
            "part",
        )
        self.cold.labels("whole")
        self.queue = metrics.gauges("corral_calls_waiting", "Calls that wait for an instance.")
        self.in_flight = metrics.gauges("corral_calls_in_flight", "Calls that have arrived and are not over.")
        self.instances = metrics.gauges("corral_gateway_instances", "Instances this gateway holds.")
        self.connections = metrics.gauges("corral_connections", "Open client connections.")
        self.refused = metrics.counters(
            "corral_requests_refused_total", "Requests refused by HTTP's own rules.", "code"
        )
        self._functions: dict[FunctionKey, FunctionStats] = {}

    def of(self, key: FunctionKey) -> FunctionStats:
        found = self._functions.get(key)
        if found is None:
            found = self._functions[key] = FunctionStats(self, key)
        return found

    def forget(self, key: FunctionKey) -> None:
        """The function was deleted: its series end, so that deployments over years do not fill the page."""
        function = self._functions.pop(key, None)
        if function is not None:
            function.end()

    def lines(self) -> Iterator[str]:
        of_functions = (self.calls, self.latency, self.starts, self.cold)
        of_all = (self.queue, self.in_flight, self.instances, self.connections, self.refused)
        return metrics.lines(of_functions + of_all)
