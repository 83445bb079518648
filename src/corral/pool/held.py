"""The calls of a pool that wait for an instance."""

import heapq
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from corral.model import CallId


class Held(msgspec.Struct, frozen=True, gc=False):
    arrived: float
    until: float
    """Its hold limit."""


class HeldCalls(OrderedDict[CallId, Held]):
    """In the order they are to be served. Asked at each call whether it is empty: so it is a dict itself."""

    def __init__(self) -> None:
        super().__init__()
        # An entry outlives its call, and is dropped when it is met or when such prevail.
        self._deadlines: list[tuple[float, CallId]] = []

    def hold(self, call: CallId, arrived: float, until: float, front: bool) -> None:
        """`front`: it is served before the others, and counts as no younger than the oldest of them."""
        self[call] = Held(min(arrived, self.oldest) if front and self else arrived, until)
        if front:
            self.move_to_end(call, last=False)
        if len(self._deadlines) > 2 * len(self) + 64:
            self._deadlines = [entry for entry in self._deadlines if self._is_current(entry)]
            heapq.heapify(self._deadlines)
        heapq.heappush(self._deadlines, (until, call))

    @property
    def oldest(self) -> float:
        """When the first arrived. Not when it is empty."""
        return next(iter(self.values())).arrived

    @property
    def deadline(self) -> float:
        """The next hold limit. Not when it is empty."""
        while not self._is_current(self._deadlines[0]):
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0]

    def overdue(self, now: float) -> Iterator[CallId]:
        """Those held too long; who asks takes each out."""
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = heapq.heappop(self._deadlines)
            if self._is_current(entry):
                yield entry[1]

    def _is_current(self, entry: tuple[float, CallId]) -> bool:
        held = self.get(entry[1])
        return held is not None and held.until == entry[0]
