"""The zygote of one function: it has loaded the function's code, or only imported its dependencies, waits, and forks
an instance for each order; or a zygote that loads the code.

It runs the function's code, so the keeper believes nothing it says; and it is never any instance's only hope."""

import gc
import os
import select
import socket
import sys
import time
from typing import Any, Dict, NoReturn, Optional, Tuple

from .. import kernel
from . import (
    blas,
    chance,
    dress,
    hooks,
    instance,
    jsontext,
    layers,
    load,
    logs,
    orders,
    raising,
    rehearsal,
    safety,
    words,
)

KEEPER_FD = 3
CAPABILITIES = frozenset((kernel.CAP_SYS_ADMIN,))
"""In its own user namespace alone: for its children's namespaces and mounts."""


def live(
    plan: Dict[str, Any], code: bytes, wardrobe: dress.Wardrobe, threads: Optional[blas.Threads] = None
) -> NoReturn:
    """`threads`: of the zygote it was forked from, if that was the function's own. Never returns into the reaper."""
    status = instance.LOAD_FAILED
    try:
        zygote = Zygote(plan, wardrobe, threads)
        zygote.load(code)
        zygote.run()
        status = 0
    except load.LoadFailed as failed:
        instance.write_failure(failed)
        words.say(KEEPER_FD, words.FAILED)
    except BaseException as exc:
        sys.stderr.write("corral: the zygote of this function cannot go on: %s\n" % (exc or type(exc).__name__))
    finally:
        os._exit(status)


class Zygote:
    def __init__(self, plan: Dict[str, Any], wardrobe: dress.Wardrobe, threads: Optional[blas.Threads]) -> None:
        self._plan = plan
        self._wardrobe = wardrobe
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._serial_by_pidfd: Dict[int, Tuple[int, int]] = {}
        self._poll = select.epoll()
        self._poll.register(KEEPER_FD, select.EPOLLIN)
        kernel.drop_bounding_set()
        kernel.hold_capabilities(CAPABILITIES)
        # As for an instance: without it it could not read its own /proc/self.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        if wardrobe.wide_filter is not None and threads is None:
            wardrobe.wide_filter.install()
        os.chdir("/tmp")
        os.environ.update(plan.get("env") or {})
        self._blas = threads or blas.Threads(os.environ)
        self._loaded: Optional[load.Loaded] = None
        """None: it has imported dependencies, and is no function's instance."""

    def load(self, code: bytes) -> None:
        """Raises LoadFailed. What can't be forked is the keeper's to end."""
        begun = time.monotonic()
        if self._plan.get("is_layer"):
            layers.import_all(self._plan["package"], self._plan["layer"])
        else:
            self._loaded = load.load(self._plan, code)
        took_s = time.monotonic() - begun
        logs.configure_logging()
        gc.collect()
        found = safety.left_behind((0, 1, 2, KEEPER_FD, self._own_pids, self._poll.fileno()))
        if found:
            os.write(2, safety.described(found).encode("utf-8", "replace"))
            for kind, names in found.items():
                words.say(KEEPER_FD, words.UNSAFE, safety.KINDS.index(kind), len(names))
        self._blas.look()
        # Never looked at again by the collector, so children don't copy the pages of what they share.
        gc.freeze()
        words.say(KEEPER_FD, words.LOADED, 0, int(took_s * 1_000_000))

    def run(self) -> None:
        """Until the keeper is gone, or wants no more of it."""
        keeper = socket.socket(fileno=KEEPER_FD)
        while True:
            for fd, _ in self._poll.poll():
                if fd != KEEPER_FD:
                    self._reap(fd)
                    continue
                order = orders.receive(keeper)
                if order is None:
                    return
                self._begin(order)

    def _begin(self, order: orders.Order) -> None:
        fds = list(order.fds.values())
        if order.message["op"] == "raise":
            self._raise(order)
            for fd in fds:
                os.close(fd)
            return
        serial = order.message["serial"]
        try:
            pid = self._fork(order)
            pidfd = os.pidfd_open(pid)
        except OSError as exc:
            words.say(KEEPER_FD, words.REFUSED, serial, exc.errno or 0)
            return
        finally:
            for fd in fds:
                os.close(fd)
        self._serial_by_pidfd[pidfd] = (serial, pid)
        self._poll.register(pidfd, select.EPOLLIN)

    def _raise(self, order: orders.Order) -> None:
        """Whether it came to be the keeper sees at its socket."""
        try:
            pid = os.fork()
        except OSError:
            return
        if pid == 0:
            raising.raise_from_layer(order, self._wardrobe, self._blas)
        os.waitpid(pid, 0)

    def _fork(self, order: orders.Order) -> int:
        kernel.unshare(kernel.CLONE_NEWPID)
        try:
            pid = os.fork()
        finally:
            if os.getpid() != 1:
                kernel.setns(self._own_pids, kernel.CLONE_NEWPID)
        if pid == 0:
            self._live(order)
        return pid

    def _wait(self, order: orders.Order) -> Tuple[Dict[str, int], Dict[str, float]]:
        """In a spare: until the order that makes it an instance came, with what only that one has. Ends the process
        when it never comes."""
        serial = order.message["serial"]
        dress.inherit(order.fds, self._wardrobe)
        chance.reseed()
        rehearsal.warm_up()
        words.say(KEEPER_FD, words.WAITING, serial)
        start = orders.receive(socket.socket(fileno=dress.ORDERS_FD))
        if start is None:
            os._exit(0)
        words.say(KEEPER_FD, words.BORN, serial)
        return start.fds, dict(start.message["stamps"], forked=time.monotonic())

    def _reap(self, pidfd: int) -> None:
        serial, pid = self._serial_by_pidfd.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        words.say(KEEPER_FD, words.EXITED, serial, status)

    def _live(self, order: orders.Order) -> NoReturn:
        """In the child: an instance."""
        status, fds, plan = instance.DRESS_FAILED, order.fds, self._plan
        try:
            hooks.give_back()
            if self._loaded is None:
                plan, code = jsontext.read(orders.take(fds, "plan")), orders.take(fds, "code")
            dress.join_groups(fds)
            if order.message["op"] == "spare":
                fds, stamps = self._wait(order)
            else:
                words.say(KEEPER_FD, words.BORN, order.message["serial"])
                stamps = dict(order.message["stamps"], forked=time.monotonic())
                dress.inherit(fds, self._wardrobe)
                chance.reseed()
            dress.move_in(fds)
            self._blas.give_back(plan.get("cores") or 1)
            stamps["dressed"] = time.monotonic()
            status = instance.LOAD_FAILED
            if self._loaded is None:
                layers.forget_shadowed(plan["package"], plan["layer"])
                instance.run(plan, code, stamps)
            else:
                stamps["loaded"] = stamps["dressed"]
                gc.enable()
                instance.serve_loaded(self._loaded, plan, stamps)
        except BaseException as exc:
            status = instance.explain(exc, status, fds.get("log", 2))
        finally:
            os._exit(status)
