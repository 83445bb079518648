"""What was seen of a revision, in the four windows of Knative's collector: calls at once and calls a second, each over
the stable and the panic window."""

from corral.model import Observation
from corral.policy.knative.buckets import Buckets
from corral.policy.knative.settings import KnativeSettings


class Metrics:
    def __init__(self, settings: KnativeSettings) -> None:
        stable_s, panic_s = settings.window_s, settings.panic_window_s
        self._concurrency = Buckets(stable_s), Buckets(panic_s)
        self._rps = Buckets(stable_s), Buckets(panic_s)
        self._early = 0
        """Calls that were counted when they came to a revision at zero: the second they are in counts them again."""
        self._was_sampled = False

    def resize(self, settings: KnativeSettings) -> None:
        for stable, panic in (self._concurrency, self._rps):
            stable.resize(settings.window_s)
            panic.resize(settings.panic_window_s)

    def sample(self, is_sampled: bool, second: int) -> bool:
        """Whether it begins. `is_sampled`: instances are ready and a gateway would tell of their calls, so that silence
        means none."""
        has_begun = is_sampled and not self._was_sampled
        for buckets in (*self._concurrency, *self._rps):
            if is_sampled and self._was_sampled:
                buckets.pass_silence(second - 1)
            elif is_sampled:
                buckets.record(second, 0.0)
        self._was_sampled = is_sampled
        return has_begun

    def first_call(self, second: int) -> None:
        """A call came and found nothing: it counts at once."""
        self._early += 1
        self._record(second, 1.0, 1.0)

    def observed(self, seen: Observation, second: int) -> None:
        early, self._early = self._early, 0
        self._record(second, max(0.0, seen.concurrency_s - early), max(0.0, seen.arrived - early))

    def averages(self, settings: KnativeSettings, second: int) -> tuple[float, float] | None:
        """(stable, panic) of the metric; None: nothing is known of the whole window."""
        stable, panic = self._rps if settings.metric == "rps" else self._concurrency
        if stable.is_empty(second):
            return None
        if settings.aggregation == "linear":
            return stable.average(second), panic.average(second)
        return stable.weighted(second), panic.weighted(second)

    @property
    def is_zero(self) -> bool:
        return all(stable.is_zero for stable, _ in (self._concurrency, self._rps))

    def is_empty(self, second: int) -> bool:
        """Nothing was written for longer than the stable window."""
        return self._concurrency[0].is_empty(second)

    @property
    def empty_at(self) -> int:
        """The first second at which it is empty, if nothing is written."""
        return self._concurrency[0].empty_at

    def _record(self, second: int, concurrency: float, arrived: float) -> None:
        for buckets in self._concurrency:
            buckets.record(second, concurrency)
        for buckets in self._rps:
            buckets.record(second, arrived)
