"""Which numeric user each function's instances run as. No two functions that may have instances share one."""

import heapq
from collections.abc import Iterable

from corral.errors import Conflict

OWN = 2
"""The first users of the range are Corral's own: gateway and engine."""


class Uids:
    """Gives the lowest free number of `base` + OWN … `base` + `count` - 1."""

    def __init__(self, base: int, count: int) -> None:
        self._first, self._end = base + OWN, base + count
        self._taken: set[int] = set()
        self._fresh = self._first
        """Numbers from here on were never given by this object."""
        self._returned: list[int] = []

    def take(self) -> int:
        """Raises Conflict when every number is in use."""
        while self._returned:
            uid = heapq.heappop(self._returned)
            if uid not in self._taken:
                self._taken.add(uid)
                return uid
        while self._fresh < self._end:
            uid = self._fresh
            self._fresh += 1
            if uid not in self._taken:
                self._taken.add(uid)
                return uid
        raise Conflict(
            f"all {self._end - self._first} users of the range are in use, one for each function: "
            "delete functions, or set keeper.uid_count higher"
        )

    def claim(self, uids: Iterable[int]) -> None:
        """At start: those of the stored functions."""
        self._taken.update(uids)

    def give_back(self, uid: int) -> None:
        """Only when no instance of the function is left."""
        if uid in self._taken:
            self._taken.discard(uid)
            if uid < self._fresh:
                heapq.heappush(self._returned, uid)
