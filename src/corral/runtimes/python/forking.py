"""The zygote: one thread, one socket to the keeper, one fork for each `start`. Runs none of a user's code."""

import contextlib
import gc
import json
import os
import platform
import select
import signal
import socket
from typing import Any, Dict, List, NoReturn, Tuple

from .. import kernel
from . import dress, instance, logs

PACKET_MAX = 256 * 1024
FDS_MAX = 32


def serve(fd: int) -> NoReturn:
    """Until the keeper is gone."""
    keeper = socket.socket(fileno=fd)
    keeper.set_inheritable(False)
    zygote = Zygote(keeper)
    logs.install()
    gc.disable()
    gc.collect()
    # Never looked at again by the collector, so children don't copy the pages of what they share.
    gc.freeze()
    zygote.run()
    os._exit(0)


class Zygote:
    def __init__(self, keeper: socket.socket) -> None:
        if os.geteuid() == 0:
            kernel.drop_bounding_set(dress.ZYGOTE_CAPABILITIES)
        self._keeper = keeper
        self._wardrobe = dress.Wardrobe()
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._instance_by_pid: Dict[int, str] = {}
        self._wakeup, wakeup_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)

    def run(self) -> None:
        self._send({"op": "up", "version": platform.python_version(), "pid": os.getpid()})
        poll = select.poll()
        poll.register(self._keeper, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wakeup:
                    self._reap()
                elif not self._receive():
                    return

    def _receive(self) -> bool:
        """False: the keeper is gone."""
        try:
            packet, fds, _, _ = socket.recv_fds(self._keeper, PACKET_MAX, FDS_MAX)
        except ConnectionError:
            return False
        if not packet:
            return False
        try:
            self._start(json.loads(packet), fds)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _start(self, message: Dict[str, Any], fds: List[int]) -> None:
        name = message["instance"]
        try:
            pid = self._fork(message["plan"], {name: fds[place] for place, name in enumerate(message["fds"])})
            pidfd = os.pidfd_open(pid)
        except OSError as exc:
            self._send({"op": "failed", "instance": name, "error": "the machine refused a process: %s" % exc})
            return
        self._instance_by_pid[pid] = name
        self._send({"op": "started", "instance": name, "pid": pid}, pidfd)
        os.close(pidfd)

    def _fork(self, plan: Dict[str, Any], fds: Dict[str, int]) -> int:
        """The pid as the host counts. os.fork, not a raw clone: Python's and libc's fork hooks must run."""
        if not plan.get("isolated"):
            pid = os.fork()
        else:
            kernel.unshare(kernel.CLONE_NEWPID)
            try:
                pid = os.fork()
            finally:
                if os.getpid() != 1:
                    kernel.setns(self._own_pid_namespace, kernel.CLONE_NEWPID)
        if pid == 0:
            instance.live(plan, fds, self._wardrobe)
        return pid

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        for pid, status in _ended():
            name = self._instance_by_pid.pop(pid, None)
            if name is not None:
                self._send({"op": "exited", "instance": name, "pid": pid, "status": status})

    def _send(self, message: Dict[str, Any], *fds: int) -> None:
        try:
            socket.send_fds(self._keeper, [json.dumps(message).encode()], list(fds))
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)


def _ended() -> List[Tuple[int, int]]:
    ended: List[Tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, status))
