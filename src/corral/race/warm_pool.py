"""A policy's stock of unbound instances in a race: how many stand, what memory they hold, and what is to be made.

A start that takes one takes as long as any other: in this engine every start of every policy finds a parked child,
which is just that. So a pool changes who holds memory, not how long calls wait."""

from collections import Counter
from collections.abc import Sequence

from corral.policy import Kind, Stock
from corral.race.lane import MIB_S_PER_GB_MIN
from corral.race.trace import Function

UNBOUND_MIB = 2.0
"""What an instance holds that has loaded no code: as measured of parked children, which share their zygote's memory."""
USUAL_MIB = 256
"""A trace says what functions use, not what limit they have: this one, which is the default of all engines here, or the
next power of two that is enough."""


def kind_of(function: Function, runtime: str) -> Kind:
    limit_mib = USUAL_MIB
    while limit_mib < function.memory_mib:
        limit_mib *= 2
    return Kind(runtime, limit_mib)


class WarmPool:
    def __init__(self, stock: Stock | None, window_s: float) -> None:
        """`stock` None: the policy keeps none, and nothing ever stands here."""
        self._stock, self._window_s = stock, window_s
        self._count: Counter[Kind] = Counter()
        """Those that stand and those being made."""
        self._standing: Counter[Kind] = Counter()
        self._mib_s, self._since = 0.0, 0.0
        self.next_at: float | None = None
        """When to `restock` though nothing happened."""
        self.unused = 0
        """Instances that were made, without those that starts took."""

    @property
    def size(self) -> int:
        return self._count.total()

    @property
    def gb_min(self) -> float:
        return self._mib_s / MIB_S_PER_GB_MIN

    def take(self, kind: Kind, now: float) -> bool:
        """For a start; False: it begins from nothing. `restock` follows."""
        taken = None if self._stock is None else self._stock.take(kind, now)
        if taken is None:
            return False
        self._standing[taken] -= 1
        self._change(taken, -1, now)
        self.unused -= 1
        return True

    def made(self, kind: Kind, now: float) -> None:
        """One of those that `restock` ordered stands. `restock` follows."""
        self._standing[kind] += 1
        if self._stock is not None:
            self._stock.made(kind, now)

    def restock(self, now: float) -> Sequence[Kind]:
        """What is to be made now."""
        if self._stock is None:
            return ()
        supply = self._stock.decide(now)
        self.next_at = supply.next_at
        orders: list[Kind] = []
        for kind in supply.wanted.keys() | self._count.keys():
            lacking = supply.wanted.get(kind, 0) - self._count[kind]
            if lacking < 0:
                # What is being made is ended when it stands, if it still is too much.
                lacking = -min(-lacking, self._standing[kind])
                self._standing[kind] += lacking
            orders += [kind] * lacking
            self._change(kind, lacking, now)
        self.unused += len(orders)
        return sorted(orders)

    def close(self) -> None:
        """The trace is over."""
        self._pass(self._window_s)

    def _change(self, kind: Kind, by: int, now: float) -> None:
        self._pass(now)
        self._count[kind] += by

    def _pass(self, now: float) -> None:
        now = min(now, self._window_s)
        if now > self._since:
            self._mib_s += self.size * UNBOUND_MIB * (now - self._since)
            self._since = now
