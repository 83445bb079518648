"""The machine that instances run on, as its keeper describes it."""

import logging
from collections import deque

from corral import link
from corral.model import InstanceId, SlotId

log = logging.getLogger("corral.engine.node")


class Node:
    def __init__(self) -> None:
        self._slots: deque[tuple[SlotId, str]] = deque()
        self.inventory: link.Inventory | None = None
        """What the keeper said of itself at its last connect; None: none came yet."""
        self.zygotes: dict[str, int] = {}
        """Runtime -> pid."""
        self.used: dict[InstanceId, tuple[float, float]] = {}
        """Instance -> (cpu seconds in all, memory in MiB now)."""

    def keeper_down(self) -> None:
        """Its slots went with it; what else it said is not known to hold any more."""
        self._slots.clear()
        self.zygotes.clear()
        self.used.clear()

    @property
    def slots_ready(self) -> int:
        return len(self._slots)

    def take_slot(self) -> tuple[SlotId | None, str | None]:
        """A prepared slot and its address; (None, None) when there is none."""
        return self._slots.popleft() if self._slots else (None, None)

    # -- what the keeper says -------------------------------------------------------------------------------

    def slot_ready(self, message: link.SlotReady) -> None:
        self._slots.append((message.slot, message.address))

    def took(self, message: link.Used) -> None:
        self.used = message.instances

    def zygote_up(self, message: link.ZygoteUp) -> None:
        self.zygotes[message.runtime] = message.pid

    def zygote_down(self, message: link.ZygoteDown) -> None:
        self.zygotes.pop(message.runtime, None)
        log.warning("zygote ended", extra={"runtime": message.runtime, "detail": message.detail})
