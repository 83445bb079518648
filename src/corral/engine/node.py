"""The machine that instances run on, as its keeper describes it."""

import logging
from collections import deque

from corral import link
from corral.model import InstanceId, RevisionId, SlotId

log = logging.getLogger("corral.engine.node")


class Node:
    def __init__(self) -> None:
        self._slots: deque[tuple[SlotId, str]] = deque()
        """In each a child waits."""
        self._bare: deque[tuple[SlotId, str]] = deque()
        self.inventory: link.Inventory | None = None
        """What the keeper said of itself at its last connect; None: none came yet."""
        self.zygotes: dict[str, int] = {}
        """Runtime -> pid."""
        self.kept: dict[RevisionId, float] = {}
        """Revision that has a zygote of its own -> memory of that in MiB now."""
        self.used: dict[InstanceId, tuple[float, float]] = {}
        """Instance -> (cpu seconds in all, memory in MiB now)."""

    def keeper_down(self) -> None:
        """Its slots went with it; what else it said is not known to hold any more."""
        self._slots.clear()
        self._bare.clear()
        self.zygotes.clear()
        self.kept.clear()
        self.used.clear()

    @property
    def slots_ready(self) -> int:
        return len(self._slots) + len(self._bare)

    def take_slot(self, revision: RevisionId) -> tuple[SlotId | None, str | None]:
        """A prepared slot and its address; (None, None) when there is none. A revision with a zygote of its own has no
        use for a child that waits; any other would miss it."""
        best, other = (self._bare, self._slots) if revision in self.kept else (self._slots, self._bare)
        if best or other:
            return (best or other).popleft()
        return None, None

    # -- what the keeper says -------------------------------------------------------------------------------

    def slot_ready(self, message: link.SlotReady) -> None:
        (self._bare if message.is_bare else self._slots).append((message.slot, message.address))

    def took(self, message: link.Used) -> None:
        self.used = message.instances
        self.kept |= {revision: mib for revision, mib in message.zygotes.items() if revision in self.kept}

    def zygote_kept(self, message: link.ZygoteKept) -> None:
        self.kept[message.revision] = message.memory_mib

    def zygote_gone(self, message: link.ZygoteGone) -> None:
        self.kept.pop(message.revision, None)

    def zygote_up(self, message: link.ZygoteUp) -> None:
        self.zygotes[message.runtime] = message.pid

    def zygote_down(self, message: link.ZygoteDown) -> None:
        self.zygotes.pop(message.runtime, None)
        log.warning("zygote ended", extra={"runtime": message.runtime, "detail": message.detail})
