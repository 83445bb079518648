"""Enter a root made of an allow-list, give up rights, and become another program.

    python -I -S enter.py FD

FD is read to its end: one JSON object, the plan. Keys, all but `argv` optional:

root        an empty folder; a small tmpfs is mounted on it, filled and pivoted into. null: stay in the present root
binds       [[source, target, "ro" | "rw"], …] in order, with the mounts below them; always nosuid and nodev
files       {path: text}; symlinks {path: target}; devices ["null", …] of /dev
mounts      {path: FD}: detached mounts, attached to empty folders made for them
tmpfs       {path: options}, writable; `/tmp`, `/function`, `/layer` and `/base` exist as empty folders anyway
proc        "bind": the present /proc; "new": one for the present pid namespace; null: an empty folder
hostname    its own uts namespace with this name
groups      [FD, …]: files of groups, joined first of all by writing "0" to each
report      FD: stay behind as the program's parent, and write its wait status there, in decimal, when it ended
alone       with `report`: pid and ipc namespaces of its own, so that nothing it started outlives it
limits      {"nofile": n, …}: resource limits, by the names of RLIMIT_*
filter      forbid the system calls that no function may make
uid, gid    numeric, set together with no further groups
drop        no capabilities, no bounding set, no_new_privs
keep_caps   without `drop`: the capabilities (numbers) the bounding set keeps; null keeps all
pdeathsig   signal when the starter ends; `parent_pid`: the starter, in case it ended before that was set
argv, env   what to become, with exactly this environment
keep_fds    descriptors that survive; 0, 1 and 2 always do

A fault is one sentence on standard error and exit status 90. Standard library only; Python 3.9 and later."""

import json
import os
import resource
import signal
import socket
import sys
import types
from typing import Any, Dict, NoReturn

DRESS_FAILED = 90


def main() -> NoReturn:
    plan = read_plan(int(sys.argv[1]))
    try:
        for fd in plan.get("groups", []):
            os.write(fd, b"0")
        if plan.get("report") is not None:
            _stay_behind(plan)
        # Found while our own modules can be seen.
        forbidden = _find_filter() if plan.get("filter") else None
        if plan.get("hostname"):
            _name_host(plan["hostname"])
        if plan.get("root"):
            make_root(plan)
        for name, value in plan.get("limits", {}).items():
            resource.setrlimit(getattr(resource, "RLIMIT_" + name.upper()), (value, value))
        give_up_rights(plan)
        _tie_to_parent(plan)
        if forbidden is not None:
            forbidden.install()
        kernel.close_from(3, cloexec=True)
        for fd in plan.get("keep_fds", []):
            os.set_inheritable(fd, True)
        os.execve(plan["argv"][0], plan["argv"], plan.get("env", {}))
    except OSError as exc:
        sys.stderr.write("corral: cannot start %s in its own root: %s\n" % (plan["argv"][0], exc))
        os._exit(DRESS_FAILED)


def read_plan(fd: int) -> Dict[str, Any]:
    with os.fdopen(fd, "rb") as file:
        plan: Dict[str, Any] = json.loads(file.read())
    return plan


def _stay_behind(plan: Dict[str, Any]) -> None:
    """Returns in a child. Its parent, which runs nothing of others, waits for its end: whoever started us need not be
    the one that collects us."""
    report = plan["report"]
    if plan.get("alone"):
        kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC)
    pid = os.fork()
    if pid == 0:
        os.close(report)
        plan["parent_pid"] = os.getppid()  # 0 in a pid namespace of its own
        return
    os.dup2(report, 3)
    kernel.close_from(4)
    _tie_to_parent(plan)
    _, status = os.waitpid(pid, 0)
    os.write(3, b"%d" % status)
    os._exit(0)


def _find_filter() -> Any:
    from .python import seccomp

    return seccomp.find_filter()


def _name_host(name: str) -> None:
    kernel.unshare(kernel.CLONE_NEWUTS)
    socket.sethostname(name)


def make_root(plan: Dict[str, Any]) -> None:
    root = plan["root"]
    os.umask(0o022)
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("corral", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=4m")
    for folder in ("/tmp", "/function", "/layer", "/base", "/proc", "/dev"):
        os.mkdir(root + folder)
    _fill(root, plan)
    kernel.mount(None, root, None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | _HARMLESS)
    os.chdir(root)
    # The old root is stacked on the new one and detached: no folder for it is needed.
    kernel.pivot_root(".", ".")
    kernel.unmount(".")
    os.chdir("/")


def _fill(root: str, plan: Dict[str, Any]) -> None:
    for path, text in plan.get("files", {}).items():
        _make_parent(root + path)
        with open(root + path, "w") as file:
            file.write(text)
    for path, target in plan.get("symlinks", {}).items():
        _make_parent(root + path)
        os.symlink(target, root + path)
    for source, target, mode in plan.get("binds", []):
        _bind(source, root + target, _HARMLESS | (kernel.MS_RDONLY if mode == "ro" else 0))
    for name in plan.get("devices", []):
        # Not nodev: it is the device that is wanted.
        _bind("/dev/" + name, root + "/dev/" + name, kernel.MS_NOSUID | kernel.MS_NOEXEC)
    for path, fd in plan.get("mounts", {}).items():
        os.makedirs(root + path)
        kernel.move_mount(fd, root + path)
    for path, options in plan.get("tmpfs", {}).items():
        os.makedirs(root + path, exist_ok=True)
        kernel.mount("corral", root + path, "tmpfs", _HARMLESS, options)
    if plan.get("proc") == "bind":
        kernel.mount("/proc", root + "/proc", None, kernel.MS_BIND | kernel.MS_REC)
    elif plan.get("proc") == "new":
        kernel.mount("proc", root + "/proc", "proc", _HARMLESS | kernel.MS_NOEXEC)


def _bind(source: str, target: str, flags: int) -> None:
    """Restricted at once, so that a later target inside this one cannot create anything on the host."""
    if not os.path.lexists(target):
        if os.path.isdir(source):
            os.makedirs(target)
        else:
            _make_parent(target)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)
    kernel.restrict_mount(target, flags)


def _make_parent(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)


def give_up_rights(plan: Dict[str, Any]) -> None:
    keep = plan.get("keep_caps")
    if plan.get("drop"):
        # Before the uid: leaving root takes away the right to drop.
        kernel.drop_bounding_set()
    elif keep is not None:
        kernel.drop_bounding_set(frozenset(keep))
    if plan.get("uid") is not None:
        os.setgroups([])
        os.setresgid(plan["gid"], plan["gid"], plan["gid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    if plan.get("drop"):
        kernel.drop_capabilities()
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _tie_to_parent(plan: Dict[str, Any]) -> None:
    """After the uid: a change of credentials clears the signal."""
    if plan.get("pdeathsig"):
        kernel.prctl(kernel.PR_SET_PDEATHSIG, plan["pdeathsig"])
        if plan.get("parent_pid", os.getppid()) != os.getppid():
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    # Run as a script, outside any package and with an isolated path: this folder becomes the package `_corral`.
    package = types.ModuleType("_corral")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules["_corral"] = package
    __package__ = "_corral"

from . import kernel  # noqa: E402

_HARMLESS = kernel.MS_NOSUID | kernel.MS_NODEV

if __name__ == "__main__":
    main()
