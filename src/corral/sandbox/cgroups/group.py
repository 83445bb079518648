"""What a group is, whatever the machine has."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Limits(msgspec.Struct, frozen=True):
    memory_mib: int
    cpu: float
    """Cores; infinite: all there are."""
    pids: int
    """Processes and threads."""


class Toll(msgspec.Struct, frozen=True):
    """What the kernel counted over a group's life."""

    out_of_memory: int = 0
    """Processes killed because the memory limit was reached."""
    pids_refused: int = 0
    """Forks refused by the limit on processes."""
    cpu_s: float = 0.0
    memory_peak_mib: float = 0.0


class Group(Protocol):
    is_limiting: bool
    """Whether the kernel holds the memory limit."""

    def limit(self, limits: Limits) -> None:
        """Set the limits, before anything of a function is in the group."""
        ...

    def weigh(self, weight: float) -> None:
        """Its part of the processors when they are short, beside other groups: 1 is what it has at first."""
        ...

    def entrances(self) -> Sequence[int]:
        """Descriptors, owned by the caller, that let a process join by writing `0` to each."""
        ...

    def used(self) -> tuple[float, float]:
        """CPU seconds in all, memory in MiB now, without page cache the kernel would give back."""
        ...

    def toll(self) -> Toll: ...

    def part(self) -> None:
        """Beyond the memory limit one process of it is killed, and not all."""
        ...

    def make(self, name: str, limits: Limits) -> "Group":
        """A group within this one, which itself holds no process."""
        ...

    def held(self) -> tuple[float, int]:
        """MiB that no reclaim gives back, and processes with threads, of it and of all groups there are or were in
        it."""
        ...

    def holds(self, pid: int) -> bool:
        """Whether the process is in it, in every hierarchy. Raises OSError when there is no such process."""
        ...

    def threads(self) -> Sequence[int]:
        """Ids of all threads in it."""
        ...

    def kill(self) -> None:
        """SIGKILL everything in it."""
        ...

    def remove(self) -> bool:
        """False: the kernel has not let go of it yet; ask again some milliseconds later."""
        ...


class Groups(Protocol):
    version: str
    """`v1`, `v2` or `none`."""

    def make(self, name: str, limits: Limits) -> Group: ...

    def sweep(self) -> int:
        """End every process in groups of ours and remove them; how many groups there were. Blocks up to 3 s."""
        ...


class NoGroup:
    """Where the machine has no groups for us: nothing is limited or counted here."""

    is_limiting = False

    def limit(self, limits: Limits) -> None: ...

    def weigh(self, weight: float) -> None: ...

    def entrances(self) -> Sequence[int]:
        return ()

    def used(self) -> tuple[float, float]:
        return 0.0, 0.0

    def toll(self) -> Toll:
        return Toll()

    def part(self) -> None: ...

    def make(self, name: str, limits: Limits) -> Group:
        return NoGroup()

    def held(self) -> tuple[float, int]:
        return 0.0, 0

    def holds(self, pid: int) -> bool:
        return False

    def threads(self) -> Sequence[int]:
        return ()

    def kill(self) -> None: ...

    def remove(self) -> bool:
        return True


class NoGroups:
    version = "none"

    def make(self, name: str, limits: Limits) -> Group:
        return NoGroup()

    def sweep(self) -> int:
        return 0
