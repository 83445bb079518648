"""The zygote: one thread, one socket to the keeper, one fork for each `start`. Runs none of a user's code.

Siblings must not draw the same random numbers. `random` seeds itself anew after os.fork. OpenSSL seeds itself at its
first use, which is in the child because the zygote never draws from it, and again when the pid changes: the zygote is
not pid 1, an isolated child is. (Seeding OpenSSL here would cost each start 1.6 ms.) uuid is not imported here."""

import gc
import json
import os
import platform
import select
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
    dress.set_environment()
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
        self._child_by_pidfd: Dict[int, Tuple[str, int]] = {}
        # Children's ends come through their pidfds: with a SIGCHLD handler each child would have to undo it.
        self._poll = select.epoll()
        self._poll.register(keeper, select.EPOLLIN)

    def run(self) -> None:
        self._send({"op": "up", "version": platform.python_version(), "pid": os.getpid()})
        while True:
            for fd, _ in self._poll.poll():
                if fd in self._child_by_pidfd:
                    self._reap(fd)
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
            pid = self._fork(message["plan"], {fd_name: fds[place] for place, fd_name in enumerate(message["fds"])})
            pidfd = os.pidfd_open(pid)
        except OSError as exc:
            self._send({"op": "failed", "instance": name, "error": "the machine refused a process: %s" % exc})
            return
        self._child_by_pidfd[pidfd] = (name, pid)
        self._send({"op": "started", "instance": name, "pid": pid}, pidfd)
        self._poll.register(pidfd, select.EPOLLIN)

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

    def _reap(self, pidfd: int) -> None:
        name, pid = self._child_by_pidfd.pop(pidfd)
        # Closing would not do it: the keeper holds the same open file.
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._send({"op": "exited", "instance": name, "pid": pid, "status": status})

    def _send(self, message: Dict[str, Any], *fds: int) -> None:
        try:
            socket.send_fds(self._keeper, [json.dumps(message).encode()], list(fds))
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)
