"""What is going to happen, in order of its moment."""

import heapq
from collections.abc import Callable
from typing import Any

Act = Callable[[Any, Any], None]


class Events:
    """Of what happens at the same moment the first told is first. Without closures, as there are millions: an event is
    a function with two arguments."""

    __slots__ = ("_number", "heap", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.heap: list[tuple[float, int, Act, Any, Any]] = []
        self._number = 0

    def at(self, moment: float, act: Act, one: Any = None, other: Any = None) -> None:
        self._number += 1
        heapq.heappush(self.heap, (moment, self._number, act, one, other))

    def next(self) -> None:
        """Let it happen."""
        self.now, _, act, one, other = heapq.heappop(self.heap)
        act(one, other)

    def run(self, until: float) -> None:
        """All up to this moment, itself included."""
        while self.heap and self.heap[0][0] <= until:
            self.next()
