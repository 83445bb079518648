"""What this machine lets us hold, found by trying. `corral doctor` and the keeper print it."""

import errno
import os
import platform
import threading
from collections.abc import Callable

import msgspec

from corral.sandbox import cgroups, mounts, network, syscalls

_NAMESPACES = {
    "mount": syscalls.CLONE_NEWNS,
    "pid": syscalls.CLONE_NEWPID,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "net": syscalls.CLONE_NEWNET,
}
FILTERED = ("aarch64", "x86_64")
"""Machines that runtimes/python/seccomp.py has a filter for."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    kernel: str
    is_root: bool
    namespaces: tuple[str, ...]
    """Kinds of namespaces we may make."""
    cgroups: str
    """`v1`, `v2` or `none`."""
    has_detached_mounts: bool
    has_pidfd: bool
    has_seccomp: bool

    @property
    def allows_namespaces(self) -> bool:
        """Whether tier T1 works here."""
        return self.is_root and self.has_detached_mounts and self.has_pidfd and set(self.namespaces) == set(_NAMESPACES)

    def tier(self, isolation: str) -> str:
        """`T0` or `T1`, for the setting keeper.isolation."""
        return "T1" if isolation != "process" and self.allows_namespaces else "T0"

    def refusal(self, isolation: str) -> str | None:
        """Why the setting cannot be had here; None: it can."""
        if isolation not in ("namespaces", "strict") or self.allows_namespaces:
            return None
        return f"keeper.isolation = {isolation}, must be auto or process here: {self.not_held('T0')[0]}"

    def not_held(self, tier: str) -> list[str]:
        """One sentence for each protection that `tier` on this machine does not give."""
        found = []
        if tier == "T0":
            found += [f"instances are not apart from this machine: {self._why_process()}"]
            found += ["memory: each process is limited alone and only in its own data, not the instance as a whole"]
            found += ["cpu and number of processes: not limited"]
            found += ["network: functions reach whatever this machine reaches, also with network = none"]
            found += ["a process that leaves its instance ends only when the keeper notices, within a second"]
        elif self.cgroups == "none":
            found += [
                "memory of an instance as a whole, cpu and number of processes: no cgroups that Corral may divide"
            ]
        if not self.has_seccomp:
            found += ["system calls: this kernel takes no seccomp filters of ours, so all of them are allowed"]
        return found

    def _why_process(self) -> str:
        if not self.is_root:
            return "Corral does not run as root"
        missing = [name for name in _NAMESPACES if name not in self.namespaces]
        if missing:
            return f"this machine refuses namespaces ({', '.join(missing)})"
        if not self.has_detached_mounts or not self.has_pidfd:
            return f"Linux {self.kernel} is too old, must be 5.12 or later"
        return "keeper.isolation = process"


def probe() -> Host:
    """Tries everything in a thread of its own, so that nothing of it stays. Takes some milliseconds."""
    is_root = os.geteuid() == 0
    found: dict[str, bool] = {}
    if is_root:
        # A thread that entered namespaces takes them with it when it ends.
        trial = threading.Thread(target=_try_all, args=(found,), name="probe")
        trial.start()
        trial.join()
    return Host(
        kernel=platform.release(),
        is_root=is_root,
        namespaces=tuple(name for name in _NAMESPACES if found.get(name, False)),
        cgroups=cgroups.open_groups("corral-trial").version if is_root else "none",
        has_detached_mounts=found.get("detached mounts", False),
        has_pidfd=_works(lambda: os.close(os.pidfd_open(os.getpid()))),
        has_seccomp=platform.machine() in FILTERED and _offers_filters(),
    )


def _offers_filters() -> bool:
    """Asked with a filter that lies nowhere, which is noticed only by a kernel that would look at one."""
    try:
        syscalls.prctl(syscalls.PR_SET_SECCOMP, syscalls.SECCOMP_MODE_FILTER)
    except OSError as exc:
        return exc.errno == errno.EFAULT
    return True


def _try_all(found: dict[str, bool]) -> None:
    found["detached mounts"] = _works(_try_mounts)
    found["net"] = _works(lambda: os.close(network.loopback_namespace()))
    for name, flag in _NAMESPACES.items():
        if name != "net":
            found[name] = _works(lambda flag=flag: syscalls.unshare(flag))  # type: ignore[misc]


def _try_mounts() -> None:
    tree = mounts.private_tmp(1)
    try:
        syscalls.mount_setattr(tree, syscalls.MOUNT_ATTR_RDONLY)
    finally:
        os.close(tree)


def _works(trial: Callable[[], object]) -> bool:
    try:
        trial()
    except OSError:
        return False
    return True
