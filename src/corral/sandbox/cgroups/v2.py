"""Groups of cgroup v2: one folder."""

import contextlib
import errno
import math
import os
from collections.abc import Sequence

from corral.sandbox.cgroups import files
from corral.sandbox.cgroups.group import Group, Limits, Toll


class GroupV2:
    is_limiting = True

    def __init__(self, mount: str, path: str, limits: Limits) -> None:
        """`path`: of this group below the mount point."""
        self._mount, self._path = mount, path
        self._folder = folder = mount + path
        self._limits: Limits | None = None
        self._used = (0.0, 0.0)
        self._is_divided = False
        with files.all_or_none([folder]):
            # Without swap, and as one: what is left of an instance that lost a process could only fail later.
            for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                with contextlib.suppress(FileNotFoundError):  # a kernel without swap accounting
                    files.write(f"{folder}/{name}", value)
            self.limit(limits)

    def limit(self, limits: Limits) -> None:
        now = self._limits
        if now is None or now.memory_mib != limits.memory_mib:
            if now is not None and limits.memory_mib < now.memory_mib and self.held()[0] > limits.memory_mib:
                # v1 refuses by itself; here the kernel would kill somebody in it.
                raise OSError(errno.EBUSY, "it holds more")
            files.write(f"{self._folder}/memory.max", str(limits.memory_mib * files.MIB))
        if limits.cpu != (math.inf if now is None else now.cpu):
            quota = "max" if math.isinf(limits.cpu) else str(files.quota_us(limits.cpu))
            files.write(f"{self._folder}/cpu.max", f"{quota} {files.CPU_PERIOD_US}")
        if now is None or now.pids != limits.pids:
            files.write(f"{self._folder}/pids.max", str(limits.pids))
        self._limits = limits

    def weigh(self, weight: float) -> None:
        files.write(f"{self._folder}/cpu.weight", str(max(1, round(100 * weight))))

    def entrances(self) -> Sequence[int]:
        return files.open_all([f"{self._folder}/cgroup.procs"])

    def used(self) -> tuple[float, float]:
        cpu_s = self._cpu_s()
        if cpu_s != self._used[0]:
            usage, inactive = (
                int(files.read(f"{self._folder}/memory.current")),
                files.field(f"{self._folder}/memory.stat", "inactive_file"),
            )
            self._used = cpu_s, max(0, usage - inactive) / files.MIB
        return self._used

    def _cpu_s(self) -> float:
        return files.field(f"{self._folder}/cpu.stat", "usage_usec") / 1e6

    def toll(self) -> Toll:
        return Toll(
            out_of_memory=files.field(f"{self._folder}/memory.events", "oom_kill"),
            pids_refused=files.field(f"{self._folder}/pids.events", "max"),
            cpu_s=self._cpu_s(),
            memory_peak_mib=self._peak_mib(),
        )

    def _peak_mib(self) -> float:
        """0.0 before Linux 5.19, which does not tell."""
        try:
            return int(files.read(f"{self._folder}/memory.peak")) / files.MIB
        except FileNotFoundError:
            return 0.0

    def part(self) -> None:
        files.write(f"{self._folder}/memory.oom.group", "0")

    def make(self, name: str, limits: Limits) -> Group:
        if not self._is_divided:
            self.part()
            files.write(f"{self._folder}/cgroup.subtree_control", "+memory +cpu +pids")
            self._is_divided = True
        return GroupV2(self._mount, f"{self._path}/{name}", limits)

    def held(self) -> tuple[float, int]:
        memory = files.read(f"{self._folder}/memory.stat")
        held_bytes = files.number(memory, "anon") + files.number(memory, "shmem")
        return held_bytes / files.MIB, int(files.read(f"{self._folder}/pids.current"))

    def holds(self, pid: int) -> bool:
        return files.count_paths(pid, self._path) == 1

    def threads(self) -> Sequence[int]:
        return [int(line) for line in files.read(f"{self._folder}/cgroup.threads").split()]

    def kill(self) -> None:
        # See GroupV1.
        with contextlib.suppress(FileNotFoundError):
            files.write(f"{self._folder}/cpu.max", "max")
        try:
            files.write(f"{self._folder}/cgroup.kill", "1")
        except FileNotFoundError:  # before Linux 5.14
            files.kill_members(self._folder)

    def remove(self) -> bool:
        return files.remove_all([self._folder])


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
                files.write(f"{folder}/cgroup.subtree_control", "+memory +cpu +pids")
            if self._memory_mib is not None:
                files.write(f"{self._top}/memory.max", str(int(self._memory_mib * files.MIB)))
        return GroupV2(self._mount, f"{self._path}/{name}", limits)

    def sweep(self) -> int:
        return files.sweep([self._top])
