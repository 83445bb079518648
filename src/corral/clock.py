"""Time as a thing that is handed in, so that a decision can be replayed and a test can move it by hand."""

import time
from typing import Protocol


class Clock(Protocol):
    """`monotonic` decides; `wall` is for people, cron and stored records only."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start. CLOCK_MONOTONIC: comparable between processes of one machine."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch; may jump."""
        ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()
