"""Which groups this machine lets us make."""

import os
from pathlib import Path

from corral.sandbox.cgroups import files
from corral.sandbox.cgroups.group import Groups, NoGroups
from corral.sandbox.cgroups.v1 import CONTROLLERS, GroupsV1
from corral.sandbox.cgroups.v2 import GroupsV2


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
        offered = files.read(f"{found['v2']}/cgroup.controllers").split()
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
        files.write(f"{point}/cgroup.subtree_control", "+memory +cpu +pids")
    except OSError:
        return False
    return True
