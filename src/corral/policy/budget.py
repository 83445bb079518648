"""What an instance of a revision will use, from what its instances have used: the measure of admission."""

from bisect import insort
from collections import deque
from math import ceil

SAMPLES = 100
"""Remembered for each revision, the latest: a minute and a half of one instance, the last seconds of many."""
PERCENTILE = 0.95
YOUNG = 5
"""With fewer samples only what loading takes is known, not what calls take."""


class WorkingSet:
    """The 95th percentile of the latest samples of a revision's memory, in whole MiB."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []
        self.mib: int | None = None
        """None: never measured. At least 1."""

    @property
    def is_young(self) -> bool:
        return len(self._latest) < YOUNG

    def remember(self, memory_mib: int) -> None:
        """What was learned before, by more samples than these."""
        for _ in range(YOUNG):
            self.add(memory_mib)

    def add(self, sample_mib: float) -> None:
        if len(self._latest) == SAMPLES:
            self._sorted.remove(self._latest.popleft())
        self._latest.append(sample_mib)
        insort(self._sorted, sample_mib)
        # With less than twenty samples this is the highest of them: rather too much than too little.
        self.mib = max(1, ceil(self._sorted[ceil(PERCENTILE * len(self._sorted)) - 1]))
