"""Keys in order of a number that changes: the least is found at once, a change costs O(log n)."""

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Ranking(Generic[Key]):
    """Of keys with the same rank the one that came first is the least."""

    def __init__(self) -> None:
        self._entries: dict[Key, tuple[float, int, int, Key]] = {}
        """Key -> its one entry of the heap that counts; others are left over."""
        self._heap: list[tuple[float, int, int, Key]] = []
        self._made = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def put(self, key: Key, rank: float) -> None:
        """New, or with a new rank; it keeps its place among equals."""
        known = self._entries.get(key)
        if known is not None and known[0] == rank:
            return
        self._made += 1
        arrived = self._made if known is None else known[1]
        entry = self._entries[key] = (rank, arrived, self._made, key)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries) + 64:
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)

    def drop(self, key: Key) -> None:
        """Nothing, if it is not there."""
        self._entries.pop(key, None)

    def first(self) -> Key | None:
        """The least; None: there is none."""
        while self._heap:
            key = self._heap[0][3]
            if self._entries.get(key) is self._heap[0]:
                return key
            heapq.heappop(self._heap)
        return None

    def lowest(self) -> Iterator[Key]:
        """From the least upwards, O(log n) each. What is dropped or put meanwhile need not be seen."""
        passed = []
        try:
            while (key := self.first()) is not None:
                passed.append(heapq.heappop(self._heap))
                yield key
        finally:
            for entry in passed:
                if self._entries.get(entry[3]) is entry:
                    heapq.heappush(self._heap, entry)
