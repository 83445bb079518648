"""A fresh child becomes a sandboxed instance, in two steps: `prepare`, which is the same for every function and may be
done long before there is one, and `finish`, which needs the plan and takes the rights away.

The order is that of docs/zygote.md, and it matters: groups first, so that everything counts against the limits;
mounts while the rights are there; the filter last, for it forbids what came before."""

import os
import resource
import socket
from typing import Any, Dict, Optional

from .. import kernel
from . import seccomp

LISTEN_FD = 3
ORDERS_FD = 4
"""Of a parked child, until it has its order."""
FILES_MAX = 4096
"""Descriptors of one instance where the plan names no number."""

_MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kallsyms", "/proc/kmsg")
"""Hidden although reading most of them needs rights an instance lacks: the second lock. /proc is mounted read-only,
which covers /proc/sys and /proc/sysrq-trigger."""

ZYGOTE_CAPABILITIES = frozenset((kernel.CAP_SETGID, kernel.CAP_SETUID, kernel.CAP_SETPCAP, kernel.CAP_SYS_ADMIN))
"""What dressing needs: identity, dropping the bounding set, and namespaces with their mounts."""


class Wardrobe:
    """What all children need, made once in the zygote."""

    def __init__(self) -> None:
        self.filter: Optional[seccomp.Filter] = seccomp.find_filter()
        self.wide_filter: Optional[seccomp.Filter] = seccomp.find_filter(is_wide=True)
        """For zygotes of functions."""
        self.null_fd = os.open("/dev/null", os.O_RDONLY)
        self.masked = [path for path in _MASKED if os.path.exists(path)]


def prepare(is_isolated: bool, fds: Dict[str, int], wardrobe: Wardrobe) -> None:
    """Uses up what it needs of `fds`; a child that is to wait keeps nothing but LISTEN_FD and ORDERS_FD besides 0, 1
    and 2."""
    join_groups(fds)
    if is_isolated:
        _enter_namespaces(fds)
        mount_own(fds, wardrobe)
    _keep_descriptors(fds, wardrobe)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        # Before the uid: leaving root takes away the right to.
        kernel.drop_bounding_set()
        os.setgroups([])
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def finish(is_isolated: bool, plan: Dict[str, Any], fds: Dict[str, int], wardrobe: Wardrobe) -> None:
    """Raises OSError or ValueError saying what the machine refused. Afterwards only 0, 1, 2 and LISTEN_FD are open."""
    os.dup2(fds["log"], 1)
    os.dup2(fds["log"], 2)
    if is_isolated:
        socket.sethostname(plan.get("hostname") or "instance")
        mount_code(fds)
    kernel.close_from(LISTEN_FD + 1)
    fds["log"] = 2
    limit(plan)
    _become(plan)
    if wardrobe.filter is not None:
        wardrobe.filter.install()
    os.environ.update(plan.get("env") or {})


def mount_code(fds: Dict[str, int], package: str = "/function") -> None:
    for name, target in (("code_root", package), ("layer_root", "/layer")):
        if name in fds:
            kernel.move_mount(fds.pop(name), target)


def inherit(fds: Dict[str, int], wardrobe: Wardrobe) -> None:
    """Instead of `prepare` in a child of a function's own zygote, which has its user and most of its namespaces from
    there. One that is to wait keeps nothing but the zygote's descriptor 3 and ORDERS_FD besides 0, 1 and 2."""
    kernel.unshare(kernel.CLONE_NEWNS)
    mount_own(fds, wardrobe)
    mount_code(fds)
    os.setsid()
    if "orders" in fds:
        os.dup2(fds.pop("orders"), ORDERS_FD, inheritable=False)
        kernel.close_from(ORDERS_FD + 1)
    kernel.drop_capabilities()
    if wardrobe.filter is not None:
        wardrobe.filter.install()


def move_in(fds: Dict[str, int]) -> None:
    """Instead of `finish` there. Afterwards only 0, 1, 2 and LISTEN_FD are open."""
    os.dup2(fds["log"], 1)
    os.dup2(fds["log"], 2)
    os.dup2(fds.pop("listen"), LISTEN_FD, inheritable=False)
    kernel.close_from(LISTEN_FD + 1)
    fds["log"] = 2


def join_groups(fds: Dict[str, int]) -> None:
    for name in [name for name in fds if name.startswith("tasks")]:
        fd = fds.pop(name)
        os.write(fd, b"0")
        os.close(fd)


def _enter_namespaces(fds: Dict[str, int]) -> None:
    if "netns" in fds:
        kernel.setns(fds.pop("netns"), kernel.CLONE_NEWNET)
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)


def mount_own(fds: Dict[str, int], wardrobe: Wardrobe) -> None:
    """The zygote's mounts are private already, so nothing of this is seen outside."""
    mount_proc()
    for path in wardrobe.masked:
        kernel.mount("/dev/null", path, None, kernel.MS_BIND)
    if "tmp" in fds:
        kernel.move_mount(fds.pop("tmp"), "/tmp")
        # The current folder was the one below it.
        os.chdir("/tmp")


def mount_proc() -> None:
    """Of the present pid namespace."""
    guarded = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", "/proc", "proc", guarded | kernel.MS_RDONLY)


def _keep_descriptors(fds: Dict[str, int], wardrobe: Wardrobe) -> None:
    """3 and 4 are taken by the zygote itself, so none of `fds` has such a number and is lost here."""
    os.setsid()
    os.dup2(wardrobe.null_fd, 0)
    os.dup2(fds.pop("listen"), LISTEN_FD, inheritable=False)
    if "orders" in fds:
        fds["orders"] = os.dup2(fds["orders"], ORDERS_FD, inheritable=False)
        kernel.close_from(ORDERS_FD + 1)


def limit(plan: Dict[str, Any]) -> None:
    files = min(plan.get("nofile") or FILES_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if plan.get("data_limit"):
        resource.setrlimit(resource.RLIMIT_DATA, (plan["data_limit"], plan["data_limit"]))


def _become(plan: Dict[str, Any]) -> None:
    if os.geteuid() != 0:
        return
    if plan.get("uid") is not None:
        os.setresgid(plan["gid"], plan["gid"], plan["gid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    kernel.drop_capabilities()
    # Without it the process could not read its own /proc/self; ptrace is forbidden by the filter instead.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


def set_environment() -> None:
    """In the zygote: what each function finds besides its own settings. Nothing else of ours remains."""
    os.environ.clear()
    os.environ.update(PATH="/usr/local/bin:/usr/bin:/bin", HOME="/tmp", TMPDIR="/tmp", LANG="C.UTF-8", TZ="UTC")
    os.chdir("/tmp")
