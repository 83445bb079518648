"""Groups of cgroup v1: a folder in each hierarchy."""

import contextlib
import math
import os
from collections.abc import Mapping, Sequence

from corral.sandbox.cgroups import files
from corral.sandbox.cgroups.group import Group, Limits, Toll

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")


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
        with files.all_or_none(list(dict.fromkeys(folders.values()))):
            self.limit(limits)

    def limit(self, limits: Limits) -> None:
        now = self._limits
        if now is None or now.memory_mib != limits.memory_mib:
            self._limit_memory(
                limits.memory_mib * files.MIB, grows=now is not None and limits.memory_mib > now.memory_mib
            )
        if limits.cpu != (math.inf if now is None else now.cpu):
            files.write(f"{self._folders['cpu']}/cpu.cfs_quota_us", str(files.quota_us(limits.cpu)))
        if now is None or now.pids != limits.pids:
            files.write(f"{self._folders['pids']}/pids.max", str(limits.pids))
        self._limits = limits

    def _limit_memory(self, limit_bytes: int, grows: bool) -> None:
        """With swap counted, where this kernel counts it: that limit may never be below the other one."""
        folder = self._folders["memory"]
        limits = [f"{folder}/memory.limit_in_bytes"]
        with_swap = f"{folder}/memory.memsw.limit_in_bytes"
        if os.path.exists(with_swap):
            limits.insert(0 if grows else 1, with_swap)
        for file in limits:
            files.write(file, str(limit_bytes))

    def weigh(self, weight: float) -> None:
        files.write(f"{self._folders['cpu']}/cpu.shares", str(max(2, round(1024 * weight))))

    def entrances(self) -> Sequence[int]:
        # `tasks` and not `cgroup.procs`, which would wait for an RCU grace period: 0.1 instead of 8 ms.
        return files.open_all(f"{folder}/tasks" for folder in dict.fromkeys(self._folders.values()))

    def used(self) -> tuple[float, float]:
        cpu_s = self._cpu_s()
        if cpu_s != self._used[0]:
            folder = self._folders["memory"]
            usage, inactive = (
                int(files.read(f"{folder}/memory.usage_in_bytes")),
                files.field(f"{folder}/memory.stat", "inactive_file"),
            )
            self._used = cpu_s, max(0, usage - inactive) / files.MIB
        return self._used

    def _cpu_s(self) -> float:
        return int(files.read(f"{self._folders['cpuacct']}/cpuacct.usage")) / 1e9

    def toll(self) -> Toll:
        memory, pids = self._folders["memory"], self._folders["pids"]
        return Toll(
            out_of_memory=files.field(f"{memory}/memory.oom_control", "oom_kill"),
            pids_refused=files.field(f"{pids}/pids.events", "max"),
            cpu_s=self._cpu_s(),
            memory_peak_mib=int(files.read(f"{memory}/memory.max_usage_in_bytes")) / files.MIB,
        )

    def part(self) -> None: ...

    def make(self, name: str, limits: Limits) -> Group:
        return GroupV1(self._mounts, f"{self._path}/{name}", limits)

    def held(self) -> tuple[float, int]:
        memory = files.read(f"{self._folders['memory']}/memory.stat")
        held_bytes = files.number(memory, "total_rss") + files.number(memory, "total_shmem")
        return held_bytes / files.MIB, int(files.read(f"{self._folders['pids']}/pids.current"))

    def holds(self, pid: int) -> bool:
        return files.count_paths(pid, self._path) >= len(set(self._folders.values()))

    def threads(self) -> Sequence[int]:
        return [int(line) for line in files.read(f"{self._folders['pids']}/tasks").split()]

    def kill(self) -> None:
        # A killed thread has to run once more to end, and waits for its turn where the quota is used up.
        with contextlib.suppress(FileNotFoundError):
            files.write(f"{self._folders['cpu']}/cpu.cfs_quota_us", "-1")
        for folder in dict.fromkeys(self._folders.values()):
            files.kill_members(folder)

    def remove(self) -> bool:
        return files.remove_all(dict.fromkeys(self._folders.values()))


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
                    files.write(f"{top}/memory.limit_in_bytes", str(int(self._memory_mib * files.MIB)))
        return GroupV1(self._mounts, f"{self._path}/{name}", limits)

    def sweep(self) -> int:
        return files.sweep(self._tops())

    def _tops(self) -> list[str]:
        return list(dict.fromkeys(point + self._path for point in self._mounts.values()))
