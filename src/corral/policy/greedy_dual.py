"""Greedy-Dual, the Reserve of this host: value = base + uses x seconds saved / MiB, and the least valuable goes first.

1. A use of what is kept sets its base to the present level L.
2. L becomes the value of whatever was evicted last: what has not been used since falls behind by standing still, so
   that nothing has to age by a clock.
3. An evicted one begins with no uses.
4. A use of what is not kept brings its base only an eighth of the way to L. By the original rule every newcomer gets
   in, as whatever was evicted last left L where the least now stands: then the functions of the long tail evict each
   other in turns, and each start costs a second loading of the code. On 500 functions of Zipf's law with room for a
   quarter this forks 35 % of the slow starts instead of 22 %, with a third of the evictions
   (tests/core/test_full_machine.py).
Source of 1 to 3: Greedy-Dual-Size-Frequency (Cherkasova, 1998), as FaasCache (ASPLOS 2021) applies it to instances."""

from collections.abc import Iterator

from corral.policy.ranking import Ranking
from corral.policy.reserve import Spare

APPROACH = 1 / 8


class _Seen:
    __slots__ = ("base", "is_kept", "uses", "value")

    def __init__(self) -> None:
        self.uses = 0
        self.base = self.value = 0.0
        self.is_kept = False


class GreedyDual:
    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._kept: Ranking[str] = Ranking()
        self._level = 0.0

    def used(self, spare: Spare, times: int = 1) -> None:
        seen = self._of(spare.key)
        seen.uses += times
        if times:
            seen.base += (self._level - seen.base) * (1.0 if seen.is_kept else APPROACH)
        seen.value = seen.base + seen.uses * spare.saves_s / max(spare.memory_mib, 1.0)
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
        self._level = max(self._level, seen.value)
        seen.uses = 0

    def forget(self, key: str) -> None:
        self.leave(key)
        self._seen.pop(key, None)

    def _of(self, key: str) -> _Seen:
        return self._seen.setdefault(key, _Seen())
