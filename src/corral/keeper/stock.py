"""Slots kept ready, so that a start finds its parts made."""

import asyncio
import collections
import itertools
import logging
from collections.abc import Callable

from corral.clock import Clock
from corral.errors import SandboxFailed
from corral.model import SlotId
from corral.ports import Sandbox

PAUSE_FIRST_S, PAUSE_MAX_S = 0.1, 5.0
QUIET_S = 0.004
"""After a start, while it still needs the processors: a slot costs as much as the start itself."""

log = logging.getLogger("corral.keeper")

Announce = Callable[[SlotId, str, bool], None]
"""Given a new slot, its address, and whether it is bare."""
Order = Callable[[SlotId | None, str], bool]
"""Given a slot of its own and its address; or None and why there is none. False: it needs none any more, and the slot
is whoever's comes next."""


class Stock:
    """A service: `run` refills it, one slot at a time."""

    def __init__(self, sandbox: Sandbox, size: int, name: str, announce: Announce, clock: Clock) -> None:
        """`name` begins all ids, so that those of an earlier keeper can't be mistaken for ours."""
        self._sandbox = sandbox
        self._size = size
        self._names = (SlotId(f"{name}-{number}") for number in itertools.count(1))
        self._announce = announce
        self._clock = clock
        self._taken_at = float("-inf")
        self.ready: dict[SlotId, str] = {}
        """Announced and not used: slot -> address."""
        self.bare: set[SlotId] = set()
        """Of those, the ones no child waits in."""
        self._bare_size = 0
        self._orders: collections.deque[Order] = collections.deque()
        self._wanted = asyncio.Event()
        self._wanted.set()

    def take(self, slot: SlotId) -> str | None:
        """Its address; None: it was never announced, or was taken before."""
        self._wanted.set()
        self._taken_at = self._clock.monotonic()
        self.bare.discard(slot)
        return self.ready.pop(slot, None)

    def want_bare(self, does: bool) -> None:
        """Whether there are zygotes of revisions, which fork into slots where no child waits. Such slots as there are
        stay: any start can use them."""
        self._bare_size = self._size if does else 0
        self._wanted.set()

    def order(self, order: Order) -> None:
        """For a start that names no slot: one that was never announced, so that nobody else can name it."""
        self._orders.append(order)
        self._wanted.set()

    def stop(self) -> None:
        """Make no more: everything is about to end."""
        self._size = self._bare_size = 0
        self._orders.clear()

    async def run(self) -> None:
        pause_s = PAUSE_FIRST_S
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._orders or self._lacks_parked or len(self.bare) < self._bare_size:
                try:
                    await self._yield_to_starts()
                    await self._add()
                    pause_s = PAUSE_FIRST_S
                except SandboxFailed as exc:
                    log.error("no slot", extra={"error": str(exc)})
                    while self._orders:
                        self._orders.popleft()(None, str(exc))
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, PAUSE_MAX_S)

    @property
    def _lacks_parked(self) -> bool:
        return len(self.ready) - len(self.bare) < self._size

    async def _yield_to_starts(self) -> None:
        """While plenty are left, wait for a moment without one. With few left, or an order, the next burst is nearer
        than quiet."""
        while not self._orders and len(self.ready) * 2 > self._size + self._bare_size:
            rest_s = self._taken_at + QUIET_S - self._clock.monotonic()
            if rest_s <= 0:
                return
            await asyncio.sleep(rest_s)

    async def _add(self) -> None:
        slot = next(self._names)
        is_bare = not self._orders and not self._lacks_parked
        address = await self._sandbox.prepare(slot, is_bare)
        while self._orders:
            if self._orders.popleft()(slot, address):
                return
        if len(self.bare) >= self._bare_size if is_bare else not self._lacks_parked:
            self._sandbox.discard(slot)
            return
        self.ready[slot] = address
        if is_bare:
            self.bare.add(slot)
        self._announce(slot, address, is_bare)
