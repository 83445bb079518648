"""kill -9 of each part under 200 calls a second: replaced, honest answers, nothing hangs, nothing is lost for good."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .load import Load, Loop
from .server import Server, descendants, wait_for

RATE = 200.0
RUN_S, KILL_AT_S = 4.0, 1.0
HONEST = {200, 502, 503}
FUNCTION = """
import asyncio
async def handler(event):
    await asyncio.sleep(0.005)
    return "ok"
"""


def under_load(server: Server, kill: Callable[[], None], name: str = "steady") -> Load:
    """RUN_S of load with `kill` at KILL_AT_S; afterwards the function answers again."""
    loop = Loop(server.host, f"/function/{name}", RATE)

    async def both() -> Load:
        async with asyncio.TaskGroup() as group:
            run = group.create_task(loop.run(RUN_S))
            await asyncio.to_thread(
                wait_for, "calls under way", lambda: len(loop.load.outcomes) >= RATE * KILL_AT_S, RUN_S
            )
            await asyncio.to_thread(kill)
        return run.result()

    load = asyncio.run(both())
    assert len(load.outcomes) == RUN_S * RATE
    assert load.statuses()[-1] == 0, "a call hung"
    wait_for("an answer after the kill", lambda: server.call(name).status == 200)
    return load


@pytest.fixture
def steady(server: Server) -> Server:
    server.deploy("steady", FUNCTION)
    assert server.call("steady").body == b"ok"
    return server


def test_nothing_killed_nothing_lost(steady: Server) -> None:
    load = under_load(steady, lambda: None)
    assert load.statuses() == {200: RUN_S * RATE}


def test_killed_instance_is_replaced_and_its_calls_get_the_cause(steady: Server) -> None:
    load = under_load(steady, lambda: os.kill(instances(steady)[0], signal.SIGKILL))
    assert set(load.statuses()) <= HONEST
    assert load.statuses(KILL_AT_S + 1.5) == {200: (RUN_S - KILL_AT_S - 1.5) * RATE}
    assert all(b"instance" in body for body in load.bodies(502))
    assert [each["cause"] for each in steady.described("steady")["exits"]] == ["crashed"]


def test_killed_zygote_is_replaced_and_ends_no_instance(steady: Server) -> None:
    before = instances(steady)
    (zygote,) = steady.zygotes()
    load = under_load(steady, lambda: os.kill(zygote, signal.SIGKILL))
    assert load.statuses() == {200: RUN_S * RATE}
    assert set(before) <= set(instances(steady))
    wait_for("another zygote", lambda: steady.zygotes() not in ([], [zygote]))
    steady.deploy("fresh", "def handler(event): return 'new'\n")
    assert steady.call("fresh").body == b"new"


def test_killed_keeper_is_replaced_and_held_calls_are_kept(steady: Server) -> None:
    keeper = steady.pid("keeper")
    load = under_load(steady, lambda: os.kill(keeper, signal.SIGKILL))
    assert set(load.statuses()) <= HONEST
    assert load.statuses(KILL_AT_S + 2.0) == {200: (RUN_S - KILL_AT_S - 2.0) * RATE}
    assert steady.pid("keeper") != keeper


def test_killed_engine_does_not_touch_warm_calls(steady: Server) -> None:
    engine, before = steady.pid("engine"), instances(steady)
    load = under_load(steady, lambda: os.kill(engine, signal.SIGKILL))
    assert load.statuses() == {200: RUN_S * RATE}
    assert steady.pid("engine") != engine
    # It lives on and was adopted: known to the new engine.
    assert set(before) <= set(instances(steady))
    wait_for("its instances", lambda: len(steady.described("steady")["instances"]) >= len(before))


@pytest.mark.parametrize("part", ["engine", "keeper"])
def test_cold_calls_are_held_until_the_killed_part_is_back(server: Server, part: str) -> None:
    server.deploy("cold", FUNCTION, "--initial", "0")
    pid = server.pid(part)

    async def run() -> list[int]:
        loop = Loop(server.host, "/function/cold", 20)
        os.kill(pid, signal.SIGKILL)
        return [each.status for each in (await loop.run(0.5)).outcomes]

    assert asyncio.run(run()) == [200] * 10


def test_killed_gateway_is_replaced_within_a_second(steady: Server) -> None:
    gateway = steady.pid("gateway")
    load = under_load(steady, lambda: os.kill(gateway, signal.SIGKILL))
    statuses = load.statuses()
    assert set(statuses) <= HONEST | {0}
    # Its open connections end; what was not yet accepted waits in the parent's socket.
    broken = [each for each in load.outcomes if each.status == 0]
    assert all(each.sent_at < KILL_AT_S + 0.3 for each in broken)
    assert load.slowest_s() < 1.5
    assert load.statuses(KILL_AT_S + 1.0)[200] >= (RUN_S - KILL_AT_S - 1.0) * RATE * 0.99
    assert steady.pid("gateway") != gateway


def test_everything_killed_in_turn_leaves_no_slot_taken(server: Server) -> None:
    server.deploy("one", FUNCTION, "--concurrency", "1", "--max", "4")

    def kill() -> None:
        for name in ("engine", "gateway", "keeper"):
            pid = server.pid(name)
            os.kill(pid, signal.SIGKILL)
            wait_for(f"another {name}", lambda pid=pid, name=name: server.pid(name) != pid)  # type: ignore[misc]

    load = under_load(server, kill, "one")
    assert set(load.statuses()) <= HONEST | {0, 429}
    # All four slots of the maximum work at the same time: none is held by a call of the dead.
    assert asyncio.run(Loop(server.host, "/function/one", 100).run(1.0)).statuses() == {200: 100}


def instances(server: Server) -> list[int]:
    """Processes that run functions: those of the revisions' users; without root, children of a zygote."""
    if os.geteuid() != 0:
        return [pid for zygote in server.zygotes() for pid in descendants(zygote)]
    users = range(server.uid_base + 2, server.uid_base + 1000)
    found = []
    for pid in descendants(server.process.pid):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status.split("Uid:")[1].split()[0]) in users and "State:\tZ" not in status:
            found.append(pid)
    return found
