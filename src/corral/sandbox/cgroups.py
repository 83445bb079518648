"""Groups that limit and count what one instance uses: cgroup v1, v2, or none at all, behind one interface.

A group is made ahead of need and used by one instance: whoever received its entrance could join it again later, so
it is removed afterwards and never given to another."""

import contextlib
import errno
import math
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")
"""Of v1. v2 has the same without cpuacct, whose numbers its cpu controller gives."""
CPU_PERIOD_US = 100_000
CPU_QUOTA_MIN_US = 1_000
"""The kernel refuses less."""
SWEEP_MAX_S = 3.0

MIB = 1024 * 1024


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


class GroupV1:
    is_limiting = True

    def __init__(self, mounts: Mapping[str, str], path: str, limits: Limits) -> None:
        """`mounts`: controller -> mount point. `path`: of this group below each. Controllers may share a mount."""
        self._mounts, self._path = mounts, path
        self._folders = folders = {controller: point + path for controller, point in mounts.items()}
        self._limits: Limits | None = None
        self._used = (0.0, 0.0)
        """The last answer of `used`. What got no CPU since then holds what it held: most are idle, and the other two
        files cost three times as much as the first."""
        with _all_or_none(list(dict.fromkeys(folders.values()))):
            self.limit(limits)

    def limit(self, limits: Limits) -> None:
        now = self._limits
        if now is None or now.memory_mib != limits.memory_mib:
            self._limit_memory(limits.memory_mib * MIB, grows=now is not None and limits.memory_mib > now.memory_mib)
        if limits.cpu != (math.inf if now is None else now.cpu):
            _write(f"{self._folders['cpu']}/cpu.cfs_quota_us", str(_quota_us(limits.cpu)))
        if now is None or now.pids != limits.pids:
            _write(f"{self._folders['pids']}/pids.max", str(limits.pids))
        self._limits = limits

    def _limit_memory(self, limit_bytes: int, grows: bool) -> None:
        """With swap counted, where this kernel counts it: that limit may never be below the other one."""
        folder = self._folders["memory"]
        files = [f"{folder}/memory.limit_in_bytes"]
        with_swap = f"{folder}/memory.memsw.limit_in_bytes"
        if os.path.exists(with_swap):
            files.insert(0 if grows else 1, with_swap)
        for file in files:
            _write(file, str(limit_bytes))

    def weigh(self, weight: float) -> None:
        _write(f"{self._folders['cpu']}/cpu.shares", str(max(2, round(1024 * weight))))

    def entrances(self) -> Sequence[int]:
        # `tasks` and not `cgroup.procs`, which would wait for an RCU grace period: 0.1 instead of 8 ms.
        return _open_all(f"{folder}/tasks" for folder in dict.fromkeys(self._folders.values()))

    def used(self) -> tuple[float, float]:
        cpu_s = self._cpu_s()
        if cpu_s != self._used[0]:
            folder = self._folders["memory"]
            usage, inactive = (
                int(_read(f"{folder}/memory.usage_in_bytes")),
                _field(f"{folder}/memory.stat", "inactive_file"),
            )
            self._used = cpu_s, max(0, usage - inactive) / MIB
        return self._used

    def _cpu_s(self) -> float:
        return int(_read(f"{self._folders['cpuacct']}/cpuacct.usage")) / 1e9

    def toll(self) -> Toll:
        memory, pids = self._folders["memory"], self._folders["pids"]
        return Toll(
            out_of_memory=_field(f"{memory}/memory.oom_control", "oom_kill"),
            pids_refused=_field(f"{pids}/pids.events", "max"),
            cpu_s=self._cpu_s(),
            memory_peak_mib=int(_read(f"{memory}/memory.max_usage_in_bytes")) / MIB,
        )

    def part(self) -> None: ...

    def make(self, name: str, limits: Limits) -> Group:
        return GroupV1(self._mounts, f"{self._path}/{name}", limits)

    def held(self) -> tuple[float, int]:
        memory = _read(f"{self._folders['memory']}/memory.stat")
        held_bytes = _number(memory, "total_rss") + _number(memory, "total_shmem")
        return held_bytes / MIB, int(_read(f"{self._folders['pids']}/pids.current"))

    def holds(self, pid: int) -> bool:
        return _count_paths(pid, self._path) >= len(set(self._folders.values()))

    def threads(self) -> Sequence[int]:
        return [int(line) for line in _read(f"{self._folders['pids']}/tasks").split()]

    def kill(self) -> None:
        # A killed thread has to run once more to end, and waits for its turn where the quota is used up.
        with contextlib.suppress(FileNotFoundError):
            _write(f"{self._folders['cpu']}/cpu.cfs_quota_us", "-1")
        for folder in dict.fromkeys(self._folders.values()):
            _kill_members(folder)

    def remove(self) -> bool:
        return _remove_all(dict.fromkeys(self._folders.values()))


class GroupV2:
    is_limiting = True

    def __init__(self, mount: str, path: str, limits: Limits) -> None:
        """`path`: of this group below the mount point."""
        self._mount, self._path = mount, path
        self._folder = folder = mount + path
        self._limits: Limits | None = None
        self._used = (0.0, 0.0)
        self._is_divided = False
        with _all_or_none([folder]):
            # Without swap, and as one: what is left of an instance that lost a process could only fail later.
            for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                with contextlib.suppress(FileNotFoundError):  # a kernel without swap accounting
                    _write(f"{folder}/{name}", value)
            self.limit(limits)

    def limit(self, limits: Limits) -> None:
        now = self._limits
        if now is None or now.memory_mib != limits.memory_mib:
            if now is not None and limits.memory_mib < now.memory_mib and self.held()[0] > limits.memory_mib:
                # v1 refuses by itself; here the kernel would kill somebody in it.
                raise OSError(errno.EBUSY, "it holds more")
            _write(f"{self._folder}/memory.max", str(limits.memory_mib * MIB))
        if limits.cpu != (math.inf if now is None else now.cpu):
            quota = "max" if math.isinf(limits.cpu) else str(_quota_us(limits.cpu))
            _write(f"{self._folder}/cpu.max", f"{quota} {CPU_PERIOD_US}")
        if now is None or now.pids != limits.pids:
            _write(f"{self._folder}/pids.max", str(limits.pids))
        self._limits = limits

    def weigh(self, weight: float) -> None:
        _write(f"{self._folder}/cpu.weight", str(max(1, round(100 * weight))))

    def entrances(self) -> Sequence[int]:
        return _open_all([f"{self._folder}/cgroup.procs"])

    def used(self) -> tuple[float, float]:
        cpu_s = self._cpu_s()
        if cpu_s != self._used[0]:
            usage, inactive = (
                int(_read(f"{self._folder}/memory.current")),
                _field(f"{self._folder}/memory.stat", "inactive_file"),
            )
            self._used = cpu_s, max(0, usage - inactive) / MIB
        return self._used

    def _cpu_s(self) -> float:
        return _field(f"{self._folder}/cpu.stat", "usage_usec") / 1e6

    def toll(self) -> Toll:
        return Toll(
            out_of_memory=_field(f"{self._folder}/memory.events", "oom_kill"),
            pids_refused=_field(f"{self._folder}/pids.events", "max"),
            cpu_s=self._cpu_s(),
            memory_peak_mib=self._peak_mib(),
        )

    def _peak_mib(self) -> float:
        """0.0 before Linux 5.19, which does not tell."""
        try:
            return int(_read(f"{self._folder}/memory.peak")) / MIB
        except FileNotFoundError:
            return 0.0

    def part(self) -> None:
        _write(f"{self._folder}/memory.oom.group", "0")

    def make(self, name: str, limits: Limits) -> Group:
        if not self._is_divided:
            self.part()
            _write(f"{self._folder}/cgroup.subtree_control", "+memory +cpu +pids")
            self._is_divided = True
        return GroupV2(self._mount, f"{self._path}/{name}", limits)

    def held(self) -> tuple[float, int]:
        memory = _read(f"{self._folder}/memory.stat")
        held_bytes = _number(memory, "anon") + _number(memory, "shmem")
        return held_bytes / MIB, int(_read(f"{self._folder}/pids.current"))

    def holds(self, pid: int) -> bool:
        return _count_paths(pid, self._path) == 1

    def threads(self) -> Sequence[int]:
        return [int(line) for line in _read(f"{self._folder}/cgroup.threads").split()]

    def kill(self) -> None:
        # See GroupV1.
        with contextlib.suppress(FileNotFoundError):
            _write(f"{self._folder}/cpu.max", "max")
        try:
            _write(f"{self._folder}/cgroup.kill", "1")
        except FileNotFoundError:  # before Linux 5.14
            _kill_members(self._folder)

    def remove(self) -> bool:
        return _remove_all([self._folder])


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


class GroupsV1:
    version = "v1"

    def __init__(self, mounts: Mapping[str, str], owner: str, memory_mib: float | None = None) -> None:
        """`mounts`: controller -> mount point, for all of CONTROLLERS. `owner`: the name of our groups. `memory_mib`:
        what all of them may hold together."""
        self._memory_mib = memory_mib
        self._mounts = {controller: mounts[controller] for controller in CONTROLLERS}
        self._path = f"/{owner}"

    def make(self, name: str, limits: Limits) -> Group:
        for top in self._tops():
            with contextlib.suppress(FileExistsError):
                os.mkdir(top)
                if self._memory_mib is not None and top == self._mounts["memory"] + self._path:
                    _write(f"{top}/memory.limit_in_bytes", str(int(self._memory_mib * MIB)))
        return GroupV1(self._mounts, f"{self._path}/{name}", limits)

    def sweep(self) -> int:
        return _sweep(self._tops())

    def _tops(self) -> list[str]:
        return list(dict.fromkeys(point + self._path for point in self._mounts.values()))


class GroupsV2:
    version = "v2"

    def __init__(self, mount: str, owner: str, memory_mib: float | None = None) -> None:
        self._memory_mib = memory_mib
        self._mount, self._path = mount, f"/{owner}"
        self._top = mount + self._path

    def make(self, name: str, limits: Limits) -> Group:
        if not os.path.isdir(self._top):
            for folder in (self._mount, self._top):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder)
                _write(f"{folder}/cgroup.subtree_control", "+memory +cpu +pids")
            if self._memory_mib is not None:
                _write(f"{self._top}/memory.max", str(int(self._memory_mib * MIB)))
        return GroupV2(self._mount, f"{self._path}/{name}", limits)

    def sweep(self) -> int:
        return _sweep([self._top])


class NoGroups:
    version = "none"

    def make(self, name: str, limits: Limits) -> Group:
        return NoGroup()

    def sweep(self) -> int:
        return 0


def find_mounts(mounts: str) -> dict[str, str]:
    """From the text of /proc/self/mounts: controller -> mount point for v1, and `v2` -> that of the unified one."""
    found: dict[str, str] = {}
    for line in mounts.splitlines():
        _, point, kind, options, *_ = line.split(" ")
        if kind == "cgroup2":
            found.setdefault("v2", point)
        elif kind == "cgroup":
            found |= {name: point for name in options.split(",") if name in CONTROLLERS and name not in found}
    return found


def open_groups(owner: str, mounts: str | None = None, memory_mib: float | None = None) -> Groups:
    """What this machine lets us use: v1 where the memory controller is there, else v2, else none. `owner` is the
    name our groups stand under; `memory_mib`: what all of them may hold together, None: no limit."""
    found = find_mounts(Path("/proc/self/mounts").read_text() if mounts is None else mounts)
    if all(name in found for name in CONTROLLERS) and all(_may_divide(found[name]) for name in CONTROLLERS):
        return GroupsV1(found, owner, memory_mib)
    if "v2" in found and _may_divide(found["v2"]):
        offered = _read(f"{found['v2']}/cgroup.controllers").split()
        if {"memory", "cpu", "pids"} <= set(offered) and _may_delegate(found["v2"]):
            return GroupsV2(found["v2"], owner, memory_mib)
    return NoGroups()


def _may_divide(point: str) -> bool:
    """Whether we can make groups there. Tried, because read-only mounts and containers make guessing vain."""
    trial = f"{point}/corral-trial-{os.getpid()}"
    try:
        os.mkdir(trial)
        os.rmdir(trial)
    except OSError:
        return False
    return True


def _may_delegate(point: str) -> bool:
    """Whether controllers can be handed down: not where processes sit beside the groups, as in some containers."""
    try:
        _write(f"{point}/cgroup.subtree_control", "+memory +cpu +pids")
    except OSError:
        return False
    return True


def _quota_us(cpu: float) -> int:
    return max(CPU_QUOTA_MIN_US, round(cpu * CPU_PERIOD_US))


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 16_384).decode()
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _field(path: str, name: str) -> int:
    return _number(_read(path), name)


def _number(text: str, name: str) -> int:
    """Of lines of `name value`; 0 when this kernel has no such line."""
    found = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _open_all(paths: Iterator[str] | Sequence[str]) -> Sequence[int]:
    opened: list[int] = []
    try:
        for path in paths:
            opened.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401 (kept for the way back)
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    return opened


def _count_paths(pid: int, path: str) -> int:
    """In how many hierarchies the process is in the group of that path, of ours and below. What stands before it
    depends on where the hierarchies are mounted and on who asks."""
    return sum(line.endswith(path) for line in _read(f"/proc/{pid}/cgroup").splitlines())


def _kill_members(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        for pid in _read(f"{folder}/cgroup.procs").split():
            # 0 stands for a process we cannot see; signalling it would be signalling ourselves.
            with contextlib.suppress(ProcessLookupError):
                if int(pid) > 0:
                    os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def _all_or_none(folders: Sequence[str]) -> Iterator[None]:
    """Make them; where that or what follows is refused, none is left."""
    made: list[str] = []
    try:
        for folder in folders:
            os.mkdir(folder)
            made.append(folder)
        yield
    except OSError:
        _remove_all(made)
        raise


def _remove_all(folders: Sequence[str] | Mapping[str, None]) -> bool:
    gone = True
    for folder in folders:
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def _sweep(tops: Sequence[str]) -> int:
    """Deepest first, again and again until the kernel has let go of everything."""
    seen: set[str] = set()
    deadline = time.monotonic() + SWEEP_MAX_S
    while True:
        folders = [folder for top in tops for folder, _, _ in os.walk(top, topdown=False)]
        seen |= {os.path.basename(folder) for folder in folders if folder not in tops}
        for folder in folders:
            _kill_members(folder)
        if _remove_all(folders) or time.monotonic() > deadline:
            return len(seen)
        time.sleep(0.005)
