"""How a function gets a zygote of its own (docs/zygote.md). Three processes follow each other: one that still has the
runtime zygote's rights makes the sandbox and ends; the reaper (reaper.py) is pid 1 in there; the zygote (kept.py) is
pid 2 and the only one that runs the function's code.

Whatever that code does with the rights a zygote has, it does inside a user namespace that knows one user, its own. All
mounts made before that namespace are locked in it: none can be taken away or made writable."""

import os
import resource
import socket
from typing import Any, Dict, NoReturn

from .. import kernel
from . import blas, dress, jsontext, kept, orders, reaper

DRESS_FAILED = 90


def raise_zygote(order: orders.Order, wardrobe: dress.Wardrobe, host_pids: int) -> NoReturn:
    """In a fresh child. `host_pids`: the pid namespace it is in."""
    status, fds = DRESS_FAILED, order.fds
    try:
        plan = jsontext.read(orders.take(fds, "plan"))
        code = orders.take(fds, "code")
        _dress(plan, fds, wardrobe)
        _enter_user_namespace(plan["uid"], plan["gid"], host_pids)
        kernel.close_from(kept.KEEPER_FD + 1)
        kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS)
        if os.fork() == 0:
            reaper.live(plan, code, wardrobe)
        status = 0
    except BaseException as exc:
        text = "corral: the sandbox of a zygote could not be made: %s\n" % (exc or type(exc).__name__)
        os.write(fds.get("log", 2), text.encode("utf-8", "replace"))
    finally:
        os._exit(status)


def raise_from_layer(order: orders.Order, wardrobe: dress.Wardrobe, threads: blas.Threads) -> NoReturn:
    """In a child of a zygote that has imported the function's dependencies, and whose user namespace it stays in.
    Mounts made here aren't locked: that /function is not made writable is for the filter to see to."""
    status, fds = DRESS_FAILED, order.fds
    try:
        plan = jsontext.read(orders.take(fds, "plan"))
        code = orders.take(fds, "code")
        dress.join_groups(fds)
        kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS)
        _take_parts(plan, fds)
        kernel.close_from(kept.KEEPER_FD + 1)
        if os.fork() == 0:
            reaper.live(plan, code, wardrobe, threads)
        status = 0
    except BaseException as exc:
        text = "corral: the sandbox of a zygote could not be made: %s\n" % (exc or type(exc).__name__)
        os.write(fds.get("log", 2), text.encode("utf-8", "replace"))
    finally:
        os._exit(status)


def _take_parts(plan: Dict[str, Any], fds: Dict[str, int]) -> None:
    kernel.move_mount(fds.pop("tmp"), "/tmp")
    os.chdir("/tmp")
    dress.mount_code(fds, plan["package"])
    os.setsid()
    os.dup2(fds["log"], 1)
    os.dup2(fds["log"], 2)
    fds["log"] = 2
    os.dup2(fds["orders"], kept.KEEPER_FD, inheritable=False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    dress.limit(plan)


def _dress(plan: Dict[str, Any], fds: Dict[str, int], wardrobe: dress.Wardrobe) -> None:
    dress.join_groups(fds)
    if "netns" in fds:
        kernel.setns(fds.pop("netns"), kernel.CLONE_NEWNET)
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
    socket.sethostname(plan["hostname"])
    os.dup2(wardrobe.null_fd, 0)
    _take_parts(plan, fds)
    os.setgroups([])
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _enter_user_namespace(uid: int, gid: int, host_pids: int) -> None:
    """Made while we have all rights: a host may forbid it to others. What it maps can be said only from outside, and by
    a process with rights there, so a helper does it."""
    entered, tell = os.pipe()
    own = os.getpid()
    kernel.unshare(kernel.CLONE_NEWPID)
    helper = os.fork()
    if helper == 0:
        _help(own, {"uid_map": uid, "gid_map": gid}, entered, tell)
    kernel.setns(host_pids, kernel.CLONE_NEWPID)
    kernel.unshare(kernel.CLONE_NEWUSER)
    os.write(tell, b"\0")
    _, status = os.waitpid(helper, 0)
    if status:
        raise OSError("its user namespace could not be given its user: the helper ended with wait status %d" % status)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _help(pid: int, maps: Dict[str, int], entered: int, tell: int) -> NoReturn:
    """In a pid namespace where nobody else is. Puts its empty /proc in the place of the host's: inside the user
    namespace the kernel mounts a proc only where one can be seen, and this is what shows when that is taken away."""
    status = 1
    try:
        os.close(tell)
        host = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        kernel.unmount("/proc")
        dress.mount_proc()
        if os.read(entered, 1):
            for name, number in maps.items():
                fd = os.open("%d/%s" % (pid, name), os.O_WRONLY, dir_fd=host)
                os.write(fd, b"%d %d 1\n" % (number, number))
            status = 0
    finally:
        os._exit(status)
