"""The Reserve seam: what a host keeps warm that belongs to no instance yet (zygotes, stem cells, warm pools), and in
which order it is evicted."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Spare(msgspec.Struct, frozen=True):
    """One thing that could be kept."""

    key: str
    """A runtime, a dependency layer or a revision."""
    memory_mib: float
    saves_s: float
    """How much shorter a cold start is when it is there."""
    used_at: float
    """When a start last used it, on the caller's monotonic clock."""


class Reserve(Protocol):
    """One per host; decides over what it is shown and keeps no clock."""

    def keep(self, spares: Sequence[Spare], budget_mib: float, now: float) -> Sequence[str]:
        """Keys worth keeping within the budget, the most valuable first; the rest is evicted from the end."""
        ...
