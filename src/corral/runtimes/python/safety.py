"""What loading a module may leave behind that a fork would break, or that its instances would share unasked: threads
aren't forked, sockets and files are shared with every sibling, children have one parent, and each instance has its own
/tmp."""

import os
import threading
import time
from typing import Dict, Iterable, List

KINDS = ("threads", "sockets", "child processes", "open files", "files in /tmp")
"""Known to the keeper by their places."""
SETTLE_S = 0.2
"""A thread that was joined is gone for the kernel only a moment later."""


def left_behind(own_fds: Iterable[int]) -> Dict[str, List[str]]:
    """Kind -> what there is of it, for people; kinds without any are left out. `own_fds`: those that are ours."""
    own = {str(fd) for fd in own_fds}
    until = time.monotonic() + SETTLE_S
    while True:
        found = {KINDS[place]: names for place, names in enumerate(_look(own)) if names}
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.005)


def _look(own: Iterable[str]) -> Iterable[List[str]]:
    yield _threads()
    files = _files(own)
    yield [name for name in files if name.startswith("socket:")]
    # Pid 1 is the reaper.
    yield ["process %s" % pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, os.getpid())]
    yield [name for name in files if not name.startswith("socket:")]
    yield sorted(os.listdir("/tmp"))


def _threads() -> List[str]:
    """By the kernel's count; names where Python knows them."""
    count = len(os.listdir("/proc/self/task")) - 1
    known = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    return (known + ["one not begun by Python"] * count)[:count]


def _files(own: Iterable[str]) -> List[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        if fd in own:
            continue
        try:
            found.append(os.readlink("/proc/self/fd/" + fd))
        except OSError:
            continue  # the listing's own
    return found


def described(found: Dict[str, List[str]]) -> str:
    """For the function's log."""
    parts = ["%s (%s)" % (kind, ", ".join(names[:10])) for kind, names in found.items()]
    return "corral: each instance loads this code by itself, as loading it leaves behind %s\n" % "; ".join(parts)
