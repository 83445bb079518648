"""A child that was parked waits for one order, or ends."""

import json
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .keeper import DEADLINE_S, Gateway, Zygote

HELLO = "def handler(event):\n    return {'hello': event.get('name', 'nobody')}\n"


class Child:
    def __init__(self, zygote: Zygote, folder: Path, **fds: int) -> None:
        self._zygote = zygote
        self.path = folder / "child.sock"
        self.log = folder / "log"
        self.orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            listener.listen(8)
            fds |= {"listen": listener.fileno(), "orders": theirs.fileno()}
            packet = {"op": "park", "slot": "s1", "fds": list(fds), "isolated": zygote.isolated}
            socket.send_fds(zygote.pair, [json.dumps(packet).encode()], list(fds.values()))
        (self.pidfd,) = self.hear("started")[1]

    def hear(self, op: str) -> tuple[dict[str, Any], list[int]]:
        packet, fds, _, _ = socket.recv_fds(self._zygote.pair, 65_536, 4)
        said = json.loads(packet)
        assert (said["op"], said["slot"]) == (op, "s1")
        return said, fds

    def order(self, folder: Path) -> None:
        plan = {"package": str(folder), "function": "greet", "namespace": "default"}
        written = folder / "plan.json"
        written.write_text(json.dumps(plan))
        with self.log.open("wb") as log, written.open("rb") as file:
            packet = {"op": "start", "fds": ["log", "plan"]}
            socket.send_fds(self.orders, [json.dumps(packet).encode()], [log.fileno(), file.fileno()])

    def wait_exited(self) -> int:
        return os.waitstatus_to_exitcode(self.hear("exited")[0]["status"])

    def has_ended(self) -> bool:
        return bool(select.select([self.pidfd], [], [], DEADLINE_S)[0])


@contextmanager
def parked(zygote: Zygote, folder: Path, **fds: int) -> Iterator[Child]:
    child = Child(zygote, folder, **fds)
    try:
        yield child
    finally:
        child.orders.close()
        os.close(child.pidfd)


def test_a_parked_child_becomes_what_it_is_ordered_to(own_zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(HELLO)
    with parked(own_zygote, tmp_path) as child:
        child.order(tmp_path)
        gateway = Gateway(child.path)
        gateway.wait_ready()
        assert gateway.call(b'{"name": "Ada"}').json() == {"hello": "Ada"}
        gateway.close()
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        assert child.wait_exited() == -signal.SIGKILL


def test_an_instance_is_bound_for_life(own_zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(HELLO)
    with parked(own_zygote, tmp_path) as child:
        child.order(tmp_path)
        gateway = Gateway(child.path)
        gateway.wait_ready()
        # Nobody hears a second order: the child has closed its end.
        with pytest.raises(BrokenPipeError):
            child.order(tmp_path)
        # And the end of ours is not its own any more.
        child.orders.close()
        assert gateway.call(b'{"name": "Ada"}').json() == {"hello": "Ada"}
        gateway.close()
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        assert child.wait_exited() == -signal.SIGKILL


def test_a_parked_child_ends_with_its_orders(own_zygote: Zygote, tmp_path: Path) -> None:
    with parked(own_zygote, tmp_path) as child:
        child.orders.close()
        assert child.wait_exited() == 0


def test_a_parked_child_does_not_hold_its_zygotes_socket(own_zygote: Zygote, tmp_path: Path) -> None:
    with parked(own_zygote, tmp_path) as child:
        own_zygote.pair.shutdown(socket.SHUT_RDWR)
        assert own_zygote.process.wait(DEADLINE_S) == 0
        child.orders.close()
        assert child.has_ended()


def test_a_child_that_could_not_be_prepared_says_why_when_it_is_ordered(own_zygote: Zygote, tmp_path: Path) -> None:
    with open("/dev/null", "rb") as no_group, parked(own_zygote, tmp_path, tasks0=no_group.fileno()) as child:
        child.order(tmp_path)
        assert child.wait_exited() == 90
        assert "the sandbox could not be made" in child.log.read_text()


def test_warming_up_leaves_no_traces_in_a_parked_child(own_zygote: Zygote, tmp_path: Path) -> None:
    source = """
import os, sys
FOUND = [sys.path[0], sys.argv, "handler" in sys.modules, sorted(map(int, os.listdir("/proc/self/fd")))]
def main(args): return {"found": FOUND}
"""
    (tmp_path / "app.py").write_text(source)
    with parked(own_zygote, tmp_path) as child:
        child.order(tmp_path)
        gateway = Gateway(child.path)
        gateway.wait_ready()
        found = gateway.call().json()["found"]
        assert found == [str(tmp_path), [f"{tmp_path}/app.py"], False, [0, 1, 2, 3, 4]]
        gateway.close()
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        assert child.wait_exited() == -signal.SIGKILL
