"""What was seen lately: sums and peaks over a window that moves with time. Constant time per entry, amortised."""

from collections import deque

from corral.model import Observation


class SumWindow:
    """Arrivals and service times of the seconds that came in within the last `span_s`."""

    def __init__(self, span_s: float) -> None:
        self.span_s = span_s
        self._seconds: deque[tuple[float, Observation]] = deque()
        self._arrived = self._completed = 0
        self._service_s = 0.0

    def add(self, seen: Observation, now: float) -> None:
        self._seconds.append((now, seen))
        self._arrived += seen.arrived
        self._completed += seen.completed
        self._service_s += seen.service_s

    def expire(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] + self.span_s <= now:
            _, old = self._seconds.popleft()
            self._arrived -= old.arrived
            self._completed -= old.completed
            self._service_s -= old.service_s
        if not self._seconds:
            # Subtraction leaves rounding behind; an empty window is exactly nothing.
            self._service_s = 0.0

    @property
    def rate(self) -> float:
        """Arrivals per second over the whole span: a young window underestimates, Wants make up for it."""
        return self._arrived / self.span_s

    @property
    def service_s(self) -> float:
        """Mean service time; 0.0 when no call was completed."""
        return self._service_s / self._completed if self._completed else 0.0

    @property
    def expires_at(self) -> float | None:
        """When the oldest entry leaves; None: it is empty."""
        return self._seconds[0][0] + self.span_s if self._seconds else None


class PeakWindow:
    """The highest of the numbers that came in within the last `span`, in whatever `now` is counted in."""

    def __init__(self, span: float) -> None:
        self.span = span
        # Falling from left to right: an older number that is not higher than a newer one can never matter again.
        self._peaks: deque[tuple[float, int]] = deque()

    def add(self, number: int, now: float) -> None:
        while self._peaks and self._peaks[-1][1] <= number:
            self._peaks.pop()
        self._peaks.append((now, number))

    def expire(self, now: float) -> None:
        while self._peaks and self._peaks[0][0] + self.span <= now:
            self._peaks.popleft()

    @property
    def highest(self) -> int:
        """0 when it is empty."""
        return self._peaks[0][1] if self._peaks else 0

    @property
    def is_flat(self) -> bool:
        """The highest is also the newest."""
        return len(self._peaks) < 2

    @property
    def expires_at(self) -> float | None:
        """When the highest leaves; None: it is empty."""
        return self._peaks[0][0] + self.span if self._peaks else None
