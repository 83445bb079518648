"""Greedy-Dual, the Reserve of this host: value = L + uses x seconds saved / MiB, and the least valuable goes first.

1. A use sets the value anew from the present L.
2. L becomes the value of whatever was evicted last: what has not been used since falls behind by standing still, so
   that nothing has to age by a clock.
3. An evicted one begins with no uses.
Source: Greedy-Dual-Size-Frequency (Cherkasova, 1998), as FaasCache (ASPLOS 2021) applies it to warm instances."""

from collections.abc import Iterator

from corral.policy.ranking import Ranking
from corral.policy.reserve import Spare


class _Seen:
    __slots__ = ("is_kept", "uses", "value")

    def __init__(self) -> None:
        self.uses = 0
        self.value = 0.0
        self.is_kept = False


class GreedyDual:
    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._kept: Ranking[str] = Ranking()
        self._inflation = 0.0

    def used(self, spare: Spare, times: int = 1) -> None:
        seen = self._of(spare.key)
        seen.uses += times
        seen.value = self._inflation + seen.uses * spare.saves_s / max(spare.memory_mib, 1.0)
        if seen.is_kept:
            self._kept.put(spare.key, seen.value)

    def value(self, key: str) -> float:
        seen = self._seen.get(key)
        return 0.0 if seen is None else seen.value

    def keep(self, key: str) -> None:
        seen = self._of(key)
        seen.is_kept = True
        self._kept.put(key, seen.value)

    def leave(self, key: str) -> None:
        seen = self._seen.get(key)
        if seen is not None and seen.is_kept:
            seen.is_kept = False
            self._kept.drop(key)

    def lowest(self) -> Iterator[str]:
        return self._kept.lowest()

    def evicted(self, key: str) -> None:
        seen = self._of(key)
        self._inflation = max(self._inflation, seen.value)
        seen.uses = 0

    def forget(self, key: str) -> None:
        self.leave(key)
        self._seen.pop(key, None)

    def _of(self, key: str) -> _Seen:
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
            seen.value = self._inflation
        return seen
