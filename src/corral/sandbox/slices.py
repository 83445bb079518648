"""What a process with user code and all that it forks may have together.

Whoever holds the entrance of a group may put a process there, and take it to another one later; its memory stays
counted where it was taken, with nobody there any more. So all groups whose entrances such a process gets lie in one of
its own, a slice, whose limits are the sums of theirs: what is moved about, or left behind, counts there."""

import contextlib
import math
from collections.abc import Mapping, Sequence

from corral.sandbox.cgroups import Group, Groups, Limits, Toll

SPARE_MIB = 2
"""For each group besides its limit: what the kernel itself needs for it, and gives back late."""
LEFT_MIB = 16
"""More than this held by none of its groups was left by somebody. The kernel's counts lag behind by less."""
TRIES = 3
"""Times it must be seen: what ends is counted for a moment longer."""


class Slice:
    """`make` is called on the loop or in the thread of slots; what may take long, only in that thread."""

    def __init__(self, groups: Groups, name: str) -> None:
        """Raises OSError."""
        self._limits: dict[str, Limits] = {}
        self._members: dict[str, Group] = {}
        self._set = self._sum()
        self._group = groups.make(name, self._set)
        self._sightings = 0
        self.has_lost = False
        """A group of it was removed, and nobody has looked since."""

    def make(self, name: str, limits: Limits) -> "Member":
        """A group in it; its limits are added. Raises OSError, also when the slice was removed, as it is with its last
        group."""
        self._limits[name] = limits
        try:
            self._raise()
            group = self._members[name] = self._group.make(name, limits)
        except OSError:
            del self._limits[name]
            if not self._limits:
                self._group.remove()
            raise
        return Member(self, name, group)

    def limit(self, name: str, limits: Limits) -> None:
        """Raises OSError."""
        self._limits[name] = limits
        self._raise()
        self._members[name].limit(limits)

    def remove(self, name: str) -> bool:
        """As `Group.remove` of that one; and of the whole with the last."""
        group = self._members.get(name)
        if group is not None and not group.remove():
            return False
        self._members.pop(name, None)
        self._limits.pop(name, None)
        if not self._limits:
            return self._group.remove()
        self._lower()
        self.has_lost = True
        return True

    def stray(self, uncollected: int = 0) -> str:
        """What is held in it by none of its groups, as a sentence; empty: nothing, or not seen often enough yet.
        `uncollected`: processes that have ended and that their zygote has not come to. Reads a few files for each
        group."""
        self.has_lost = False
        self._sightings, why = self._sightings + 1, ""
        with contextlib.suppress(OSError):  # its last group was removed
            if self._limits:
                self._lower()
                why = self._look(uncollected)
        if not why:
            self._sightings = 0
        return why if self._sightings >= TRIES else ""

    @property
    def is_suspect(self) -> bool:
        """Something was seen that may be gone in a moment."""
        return self._sightings > 0

    def _look(self, uncollected: int) -> str:
        before = self._held_by_members()
        left_mib, left = self._group.held()
        after = self._held_by_members()
        for name, (memory_mib, processes) in after.items():
            # It may have grown or ended between: it counts with what it had at most.
            memory_before_mib, processes_before = before.get(name, (0.0, 0))
            left_mib -= max(memory_mib, memory_before_mib)
            left -= max(processes, processes_before)
        if left_mib > LEFT_MIB:
            return f"{left_mib:.0f} MiB were left in groups of instances that have ended"
        if left > uncollected:
            return f"{left} of its processes were left in groups of instances that have ended"
        return ""

    def _held_by_members(self) -> Mapping[str, tuple[float, int]]:
        return {name: group.held() for name, group in list(self._members.items())}

    def _raise(self) -> None:
        """The other thread may raise it meanwhile, and be overwritten here: so it is looked at again."""
        while True:
            wanted = self._sum()
            if wanted.memory_mib <= self._set.memory_mib and wanted.pids <= self._set.pids:
                return
            self._group.limit(wanted)
            self._set = wanted

    def _lower(self) -> None:
        """The kernel may have to reclaim a lot before it is done, and a start may raise the sum meanwhile: so it is
        looked at again. If more is held than that by now, the limit stays, and `stray` says why."""
        with contextlib.suppress(OSError):
            while (wanted := self._sum()) != self._set:
                self._group.limit(wanted)
                self._set = wanted

    def _sum(self) -> Limits:
        limits = list(self._limits.values())
        memory_mib = sum(each.memory_mib + SPARE_MIB for each in limits)
        return Limits(memory_mib, math.inf, sum(each.pids for each in limits))


class Member:
    """A group in a slice."""

    def __init__(self, around: Slice, name: str, group: Group) -> None:
        self._slice, self._name, self._group = around, name, group
        self.is_limiting = group.is_limiting

    def limit(self, limits: Limits) -> None:
        self._slice.limit(self._name, limits)

    def weigh(self, weight: float) -> None:
        self._group.weigh(weight)

    def entrances(self) -> Sequence[int]:
        return self._group.entrances()

    def used(self) -> tuple[float, float]:
        return self._group.used()

    def toll(self) -> Toll:
        return self._group.toll()

    def part(self) -> None:
        self._group.part()

    def make(self, name: str, limits: Limits) -> Group:
        return self._group.make(name, limits)

    def held(self) -> tuple[float, int]:
        return self._group.held()

    def holds(self, pid: int) -> bool:
        return self._group.holds(pid)

    def threads(self) -> Sequence[int]:
        return self._group.threads()

    def kill(self) -> None:
        self._group.kill()

    def remove(self) -> bool:
        return self._slice.remove(self._name)
