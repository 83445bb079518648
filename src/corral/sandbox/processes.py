"""Finding processes: children of ours, families, and what an earlier keeper left."""

import contextlib
import os
import signal
from collections.abc import Iterator

MARK = "CORRAL_KEEPER"
"""Variable in the environment every zygote is started with; its value names the data folder."""


PF_EXITING = 0x4


def children(pid: int) -> list[int]:
    """Direct children, adopted ones and zombies included."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        # It ended; or this kernel was built without the list.
        return [child for child in _all() if _stat(child, 1) == pid] if os.path.exists(f"/proc/{pid}") else []
    return found


def descendants(pid: int) -> list[int]:
    """All below it, parents before children."""
    family: list[int] = []
    for child in children(pid):
        family += [child, *descendants(child)]
    return family


def strangers(pid: int, known: set[int]) -> list[int]:
    """All below it but `known` and what is below those."""
    found: list[int] = []
    for child in children(pid):
        if child not in known:
            found += [child, *strangers(child, known)]
    return found


def kill_family(leader: int) -> None:
    """SIGKILL a session leader, its process group and everything below it."""
    for pid in [leader, *descendants(leader)]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    kill_group(leader)


def kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def is_ending(pid: int) -> bool:
    """Whether it is on its way out, or gone: then it may have left its groups already."""
    flags = _stat(pid, 6)
    return flags is None or bool(flags & PF_EXITING)


def is_marked(pid: int, mark: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{MARK}={mark}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def kill_marked(mark: str) -> int:
    """SIGKILL what carries the mark and all of its session, ourselves excepted; how many."""
    sessions = {_stat(pid, 3) for pid in _all() if pid != os.getpid() and is_marked(pid, mark)}
    killed = 0
    for pid in _all():
        if _stat(pid, 3) in sessions - {os.getsid(0), None}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def reap_strays(known: set[int], mark: str) -> bool:
    """End and collect children of ours that nobody waits for: they were adopted. False: some are still ending."""
    all_gone = True
    for pid in children(os.getpid()):
        if pid in known:
            continue
        if is_marked(pid, mark):
            all_gone = False
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return all_gone


def used(pid: int) -> tuple[float, float]:
    """CPU seconds of the process and its collected children, resident MiB of it and all below it."""
    ticks = sum(_stat(pid, field) or 0 for field in (11, 12, 13, 14))
    pages = sum(_stat(member, 21) or 0 for member in [pid, *descendants(pid)])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / (1024 * 1024)


def _all() -> Iterator[int]:
    return map(int, filter(str.isdigit, os.listdir("/proc")))


def _stat(pid: int, field: int) -> int | None:
    """Of /proc/PID/stat, counted from the state, which is 0: parent 1, session 3, utime 11, rss 21."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[field])
    except (FileNotFoundError, ProcessLookupError):
        return None
