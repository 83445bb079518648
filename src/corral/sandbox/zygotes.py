"""One zygote from the keeper's side (docs/zygote.md): its process, and the packets to and from it."""

import asyncio
import collections
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec

from corral.errors import SandboxFailed
from corral.model import InstanceId, SlotId

UP_MAX_S = 30.0
"""A zygote that has not said `up` by then is ended; it takes 30 ms."""
PACKET_MAX = 16 * 1024

Command = Callable[[int], tuple[Sequence[str], Sequence[int]]]
"""The number of the zygote's descriptor -> its command line, and descriptors to close once it was started."""


class Order(NamedTuple):
    packet: bytes
    fds: list[int]
    refuse: Callable[[str], None]
    """Told why it could not be sent."""


class Nursery(Protocol):
    """Who is told what a zygote says."""

    def is_up(self, zygote: "Zygote", version: str) -> None: ...
    def is_down(self, zygote: "Zygote", detail: str) -> None:
        """It is gone; everything it sent before was told first."""
        ...

    def was_parked(self, slot: SlotId, pid: int, pidfd: int) -> None:
        """`pidfd` is the receiver's."""
        ...

    def was_not_parked(self, slot: SlotId, error: str) -> None: ...
    def parked_exited(self, slot: SlotId, status: int) -> None:
        """Whether it has become an instance meanwhile or not."""
        ...

    def was_started(self, instance: InstanceId, pid: int, pidfd: int) -> None:
        """`pidfd` is the receiver's."""
        ...

    def was_refused(self, instance: InstanceId, error: str) -> None: ...
    def has_exited(self, instance: InstanceId, status: int) -> None: ...
    def was_not_raised(self, zygote: InstanceId, why: str) -> None: ...


class Zygote:
    """A running zygote. Packets may be sent at once: they wait in its socket until it is up."""

    def __init__(self, runtime: str, command: Command, environment: Mapping[str, str], nursery: Nursery) -> None:
        """Starts it. Raises SandboxFailed."""
        self.runtime = runtime
        self.is_running = True
        self.is_up = False
        self.ended = asyncio.Event()
        self.started_at = time.monotonic()
        self._nursery = nursery
        self._loop = asyncio.get_running_loop()
        self._outbox: collections.deque[Order] = collections.deque()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _spawn(command, theirs, environment)
        self._socket.setblocking(False)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._socket, self._read)
        self._loop.add_reader(self._pidfd, self._ended)
        self._late = self._loop.call_later(UP_MAX_S, self.kill)

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, instance: InstanceId, is_isolated: bool, fds: Mapping[str, int]) -> None:
        """Ask for an instance; what it is to be is in the file `plan`. The descriptors are ours from now on."""
        packet = {"op": "start", "instance": instance, "fds": list(fds), "isolated": is_isolated}
        self._post(packet, fds, partial(self._nursery.was_refused, instance))

    def park(self, slot: SlotId, is_isolated: bool, fds: Mapping[str, int]) -> None:
        """Ask for a child that waits. The descriptors are ours from now on."""
        packet = {"op": "park", "slot": slot, "fds": list(fds), "isolated": is_isolated}
        self._post(packet, fds, partial(self._nursery.was_not_parked, slot))

    def raise_kept(self, name: InstanceId, fds: Mapping[str, int]) -> None:
        """Ask for a zygote of one function; what it is to be is in the file `plan`. The descriptors are ours from now
        on."""
        packet = {"op": "raise", "zygote": name, "fds": list(fds), "isolated": True}
        self._post(packet, fds, partial(self._nursery.was_not_raised, name))

    def _post(self, packet: Mapping[str, Any], fds: Mapping[str, int], refuse: Callable[[str], None]) -> None:
        self._outbox.append(Order(msgspec.json.encode(packet), list(fds.values()), refuse))
        if len(self._outbox) == 1:
            self._write()

    def kill(self) -> None:
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _write(self) -> None:
        while self._outbox:
            order, refused = self._outbox[0], None
            try:
                socket.send_fds(self._socket, [order.packet], order.fds)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._write)
                return
            except ConnectionError:
                # It is dying: `_ended` follows, and tells of everything in progress.
                self._drop_outbox()
                return
            except OSError as exc:
                refused = exc
            self._outbox.popleft()
            _close_all(order.fds)
            if refused is not None:
                # This one is at fault, or came at a bad moment; those behind it are not.
                order.refuse(f"its order could not be sent to the {self.runtime} zygote: {refused}")
        self._loop.remove_writer(self._socket)

    def _drop_outbox(self) -> None:
        while self._outbox:
            _close_all(self._outbox.popleft().fds)
        self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        while self._read_packet():
            pass

    def _read_packet(self) -> bool:
        """False: nothing more at the moment."""
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, PACKET_MAX, 1)
        except BlockingIOError:
            return False
        except ConnectionError:
            data, fds = b"", []
        if not data:
            # It closed its end; a process that lives on without hearing us is of no use.
            self._loop.remove_reader(self._socket)
            self.kill()
            return False
        self._take(msgspec.json.decode(data), fds)
        return True

    def _take(self, packet: Mapping[str, Any], fds: Sequence[int]) -> None:
        match packet:
            case {"op": "up", "version": version}:
                self._late.cancel()
                self.is_up = True
                self._nursery.is_up(self, version)
            case {"op": "started", "slot": slot, "pid": pid}:
                self._nursery.was_parked(slot, pid, fds[0])
            case {"op": "exited", "slot": slot, "status": status}:
                self._nursery.parked_exited(slot, status)
            case {"op": "failed", "slot": slot, "error": error}:
                self._nursery.was_not_parked(slot, error)
            case {"op": "started", "zygote": _}:
                # It speaks for itself.
                os.close(fds[0])
            case {"op": "exited", "zygote": name, "status": status} if status:
                self._nursery.was_not_raised(name, "its sandbox could not be made")
            case {"op": "failed", "zygote": name, "error": error}:
                self._nursery.was_not_raised(name, error)
            case {"op": "started", "instance": instance, "pid": pid}:
                self._nursery.was_started(instance, pid, fds[0])
            case {"op": "exited", "instance": instance, "status": status}:
                self._nursery.has_exited(instance, status)
            case {"op": "failed", "instance": instance, "error": error}:
                self._nursery.was_refused(instance, error)

    def _ended(self) -> None:
        self._read()
        self.is_running = False
        self._late.cancel()
        self._drop_outbox()
        self._loop.remove_reader(self._pidfd)
        self._loop.remove_reader(self._socket)
        self._socket.close()
        os.close(self._pidfd)
        status = self._process.wait()
        self.ended.set()
        self._nursery.is_down(self, f"ended by signal {-status}" if status < 0 else f"exited with status {status}")


def _spawn(command: Command, theirs: socket.socket, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    argv, plan_fds = command(theirs.fileno())
    try:
        return subprocess.Popen(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), *plan_fds],
            start_new_session=True,
        )
    except OSError as exc:
        raise SandboxFailed(f"a zygote could not be started: {exc}") from exc
    finally:
        _close_all(plan_fds)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
