"""The Reserve seam: what a host keeps warm that nothing uses at the moment (idle instances, zygotes, warm pools), and
in which order it is given up when its memory is needed."""

from collections.abc import Iterator
from typing import Protocol

import msgspec


class Spare(msgspec.Struct, frozen=True):
    """One thing that is kept, or could be."""

    key: str
    """A revision, a dependency layer or a runtime."""
    memory_mib: float
    saves_s: float
    """How much shorter a cold start is when it is there."""


class Reserve(Protocol):
    """Every method is O(log n) at worst, and none reads a clock."""

    def used(self, spare: Spare, times: int = 1) -> None:
        """It was used, or would have been had it been there: this is how it earns its place. 0 times: only what it
        takes and saves is known better now."""
        ...

    def value(self, key: str) -> float:
        """By what it is compared; 0.0 when nothing was seen of it."""
        ...

    def keep(self, key: str) -> None:
        """It is there, and may be given up from now on."""
        ...

    def leave(self, key: str) -> None:
        """It is there no longer, or may not be given up; its uses count on."""
        ...

    def lowest(self) -> Iterator[str]:
        """What may be given up, the least valuable first."""
        ...

    def evicted(self, key: str) -> None:
        """It was given up for want of memory."""
        ...

    def forget(self, key: str) -> None:
        """It will never come again."""
        ...
