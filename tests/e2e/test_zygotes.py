"""A function that is slow to load gets a zygote, from the whole server; and nobody notices when that is killed."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from .server import Server, wait_for
from .test_kills import RATE, RUN_S, under_load

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")

SLOW = """
import os, time
time.sleep(0.1)
LOADED_BY = os.getpid()
def handler(event):
    time.sleep(0.004)
    return LOADED_BY
"""
"""Loaded by pid 1 of its own namespace, or by pid 2 of a zygote's."""


def zygotes(server: Server) -> list[int]:
    """Pids, on this machine, of zygotes of functions."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            is_ours = server.uid_base <= folder.stat().st_uid < server.uid_base + 1000
            if is_ours and status["NSpid"].split()[1:] == ["2"] and "/zygote-" in (folder / "cgroup").read_text():
                found.append(int(folder.name))
    return found


@pytest.fixture
def slow(server: Server) -> Server:
    server.deploy("slow", SLOW, "--idle", "0.3")
    server.call("slow")
    wait_for("a zygote", lambda: zygotes(server))
    wait_for("no instance", lambda: not server.described("slow")["instances"])
    return server


def test_a_slow_function_is_forked_from_its_zygote_and_describe_says_so(slow: Server) -> None:
    assert slow.call("slow").body == b"2"
    described = slow.described("slow")
    assert described["zygote"].startswith("kept: it saves 1")
    assert described["last_cold_start"]["loaded"] < 0.05


def test_a_zygote_killed_under_load_costs_no_call(slow: Server) -> None:
    (zygote,) = zygotes(slow)
    load = under_load(slow, lambda: os.kill(zygote, signal.SIGKILL), "slow")
    assert load.statuses() == {200: RUN_S * RATE}
    assert {exit["cause"] for exit in slow.described("slow")["exits"]} <= {"stopped"}


def test_a_function_that_starts_threads_when_loaded_says_why_it_has_no_zygote(server: Server) -> None:
    server.deploy("threads", "import threading\nthreading.Timer(600, print).start()\n" + SLOW)
    assert server.call("threads").body == b"1"
    says = wait_for("the reason", lambda: (server.described("threads")["zygote"] or "").partition("none: ")[2])
    assert says.startswith("loading its code leaves behind 1 thread")
    assert "each instance loads this code by itself" in server.ok("logs", "threads")
    assert "leaves behind 1 thread" in server.ok("describe", "threads")


def test_deleting_a_function_ends_its_zygote(slow: Server) -> None:
    slow.ok("delete", "slow")
    wait_for("its end", lambda: not zygotes(slow))
