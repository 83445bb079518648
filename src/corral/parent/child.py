"""One process the parent keeps alive: how it is started, when it is started again, and how strays are swept up."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
QUICK_S = 1.0
"""A process that ends within this time after its start died quickly."""
PAUSE_FIRST_S, PAUSE_MAX_S = 0.1, 5.0
SWEEP_MAX_S = 2.0

_libc = ctypes.CDLL(None, use_errno=True)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What to execute. `fds` stay open in it under their own numbers; we close `once` after the start."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    fds: Sequence[int] = ()
    once: Sequence[int] = ()


def become_subreaper() -> None:
    """From now on processes that lose their parent below us become ours."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def spawn(command: Command) -> int:
    """Start it, in a session of its own (Ctrl-C is for the parent alone), ended by the kernel when we end. Its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the prctl
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        for fd in command.fds:
            os.set_inheritable(fd, True)
        os.execve(command.argv[0], list(command.argv), dict(command.environment))
    except BaseException as exc:
        os.write(2, f"{command.argv[0]} cannot be started: {exc}\n".encode())
    finally:
        os._exit(127)


class Child:
    """A process by name and what is known of its life. `command` is asked anew at each start: it may hold descriptors
    that serve once."""

    def __init__(self, name: str, command: Callable[[], Command]) -> None:
        self.name = name
        self._command = command
        self.pid: int | None = None
        self.start_at: float | None = None
        """When it is to be started next; None: it runs, or is not wanted."""
        self._started_at = 0.0
        self._quick_deaths = 0

    def start(self, now: float) -> None:
        command = self._command()
        self.pid = spawn(command)
        for fd in command.once:
            os.close(fd)
        self.start_at = None
        self._started_at = now

    def ended(self, now: float) -> float:
        """It is gone: the pause in seconds before its next start. None at all, unless it dies quickly again and
        again: then from 0.1 s doubling to 5 s, so that a broken machine is not also a busy one."""
        self.pid = None
        self._quick_deaths = self._quick_deaths + 1 if now - self._started_at < QUICK_S else 0
        pause = 0.0
        if self._quick_deaths > 1:
            pause = min(PAUSE_FIRST_S * 2.0 ** (self._quick_deaths - 2), PAUSE_MAX_S)
        self.start_at = now + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def sweep(keep: set[int]) -> int:
    """Kill and reap every child of ours but `keep`, and what falls to us while they die. How many were killed."""
    killed: set[int] = set()
    deadline = time.monotonic() + SWEEP_MAX_S
    while time.monotonic() < deadline:
        strays = [pid for pid in children() if pid not in keep]
        if not strays:
            break
        for pid in strays:
            if pid not in killed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.001)
    return len(killed)


def children() -> list[int]:
    """Our children, adopted ones and zombies included."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent_of(pid) == me]


def _parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
