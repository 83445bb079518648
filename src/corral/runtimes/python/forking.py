"""The zygote: one thread, one socket to the keeper, one fork for each order. Runs none of a user's code.

Siblings must not draw the same random numbers. `random` seeds itself anew after os.fork. OpenSSL seeds itself at its
first use, which is in the child because the zygote never draws from it, and again when the pid changes: the zygote is
not pid 1, an isolated child is. (Seeding OpenSSL here would cost each start 1.6 ms.) uuid is not imported here."""

import gc
import json
import os
import platform
import select
import socket
from typing import Any, Dict, NoReturn, Tuple

from .. import kernel
from . import dress, instance, logs, orders, raising, rehearsal

KINDS = {"start": "instance", "park": "slot", "raise": "zygote"}
"""Order -> the field that names what is to be forked."""


def serve(fd: int) -> NoReturn:
    """Until the keeper is gone."""
    keeper = socket.socket(fileno=fd)
    keeper.set_inheritable(False)
    zygote = Zygote(keeper)
    logs.install()
    dress.set_environment()
    gc.disable()
    rehearsal.rehearse()
    gc.collect()
    # Never looked at again by the collector, so children don't copy the pages of what they share.
    gc.freeze()
    zygote.run()
    os._exit(0)


class Zygote:
    def __init__(self, keeper: socket.socket) -> None:
        if os.geteuid() == 0:
            kernel.keep_capabilities(dress.ZYGOTE_CAPABILITIES)
        self._keeper = keeper
        self._wardrobe = dress.Wardrobe()
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._child_by_pidfd: Dict[int, Tuple[Dict[str, str], int]] = {}
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
        order = orders.receive(self._keeper)
        if order is None:
            return False
        fds = list(order.fds.values())
        try:
            self._begin(order)
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _begin(self, order: orders.Order) -> None:
        """A child: to start at once, to be parked, or to raise a function's own zygote."""
        kind = KINDS[order.message["op"]]
        name = {kind: order.message[kind]}
        try:
            pid = self._fork(order)
            pidfd = os.pidfd_open(pid)
        except OSError as exc:
            self._send({"op": "failed", "error": "the machine refused a process: %s" % exc, **name})
            return
        self._child_by_pidfd[pidfd] = (name, pid)
        self._send({"op": "started", "pid": pid, **name}, pidfd)
        self._poll.register(pidfd, select.EPOLLIN)

    def _fork(self, order: orders.Order) -> int:
        """The pid as the host counts. os.fork, not a raw clone: Python's and libc's fork hooks must run."""
        if order.message["op"] == "raise" or not order.message["isolated"]:
            pid = os.fork()
        else:
            kernel.unshare(kernel.CLONE_NEWPID)
            try:
                pid = os.fork()
            finally:
                if os.getpid() != 1:
                    kernel.setns(self._own_pid_namespace, kernel.CLONE_NEWPID)
        if pid == 0 and order.message["op"] == "raise":
            raising.raise_zygote(order, self._wardrobe, self._own_pid_namespace)
        if pid == 0:
            instance.live(order, self._wardrobe)
        return pid

    def _reap(self, pidfd: int) -> None:
        name, pid = self._child_by_pidfd.pop(pidfd)
        # Closing would not do it: the keeper holds the same open file.
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._send({"op": "exited", "pid": pid, "status": status, **name})

    def _send(self, message: Dict[str, Any], *fds: int) -> None:
        try:
            socket.send_fds(self._keeper, [json.dumps(message).encode()], list(fds))
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)
