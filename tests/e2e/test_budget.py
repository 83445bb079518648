"""A machine whose memory is full: what is given up, who waits, and what callers are told."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .load import Load, Loop
from .server import Server, serving, wait_for

FLOOR_MIB = 50
LARGE = f"ballast = b'x' * ({FLOOR_MIB} << 20)\ndef handler(event): return 'large'\n"
GREEDY = """
import os, threading, time

def handler(event):
    end = time.monotonic() + 1.0
    kept = []
    try:
        while True: kept.append(open('/dev/null'))
    except OSError: pass
    try:
        with open('/tmp/full', 'wb') as file:
            for _ in range(8): file.write(bytes(1 << 20))
        for _ in range(100): threading.Thread(target=time.sleep, args=(1.0,), daemon=True).start()
    except (OSError, RuntimeError): pass
    kept.append(b'x' * (20 << 20))
    while time.monotonic() < end: print('x' * 1000)
"""


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[Server]:
    """128 MiB for all functions: two that hold their ballast, and not a third."""
    with serving(tmp_path, "--budget-memory", "128MiB") as server:
        yield server


def total(server: Server, line: str) -> float:
    """Of a metric with its labels."""
    page = server.ask("GET", "/metrics", headers=server.bearer).body.decode()
    return next((float(each.rpartition(" ")[2]) for each in page.splitlines() if each.startswith(line + " ")), 0.0)


def test_a_function_larger_than_the_budget_is_refused(cramped: Server) -> None:
    file = cramped.data.parent / "vast.py"
    file.write_text(LARGE)
    done = cramped.cli("deploy", "vast", str(file), "--memory", "129")
    assert done.returncode == 2
    assert b"memory_mib = 129, must be at most 128" in done.stderr


def test_an_idle_instance_makes_room_for_a_start(cramped: Server) -> None:
    for name in ("one", "two", "three"):
        cramped.deploy(name, LARGE, "--memory", "64", "--idle", "1h", "--initial", "0")
    for name in ("one", "two", "three", "one", "two", "three"):
        answer = cramped.call(name)
        assert answer.status == 200, answer
    assert total(cramped, 'corral_evictions_total{kind="instance"}') >= 2
    assert sum(len(cramped.described(name)["instances"]) for name in ("one", "two", "three")) <= 2
    assert "128 MiB for functions" in cramped.ok("doctor")


def test_a_call_is_told_at_its_hold_limit_that_the_machine_is_full(cramped: Server) -> None:
    cramped.deploy("promised", LARGE, "--memory", "64", "--min", "2")
    wait_for("both", lambda: [each["state"] for each in cramped.described("promised")["instances"]] == ["ready"] * 2)
    cramped.deploy("late", LARGE, "--memory", "64", "--initial", "0", "--hold", "3s")
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(cramped.call, "late")
        wait_for("its place in the queue", lambda: total(cramped, "corral_starts_waiting") == 1)
        assert "a start waits" in cramped.ok("describe", "late")
        answer = late.result()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1"), answer
    assert "of 128 that functions of this machine may use are promised to instances by `min`" in answer.body.decode()
    cramped.ok("delete", "promised")
    assert cramped.call("late").status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="T0 holds memory of single processes alone")
def test_a_function_that_asks_for_everything_slows_no_other(tmp_path: Path) -> None:
    """Its instances take all the memory there is and each limit they have, and more calls come than they can do. The
    neighbours: one that is warm, in the same namespace, and one that has to start for nearly each of its calls."""
    with serving(tmp_path, "--budget-memory", "256MiB") as server:
        server.deploy("warm", "async def handler(event): return 'fine'\n", "--min", "1", "--memory", "32")
        server.deploy("cold", "def handler(event): return 'fine'\n", "--idle", "100ms", "--memory", "32")
        server.deploy("greedy", GREEDY, "--memory", "64", "--cpu", "0.2", "--initial", "0", "--queue", "100")

        async def apart() -> tuple[Load, Load]:
            warm, cold = Loop(server.host, "/function/warm", 50), Loop(server.host, "/function/cold", 3)
            async with asyncio.TaskGroup() as group:
                loads = [group.create_task(loop.run(3.0)) for loop in (warm, cold)]
            return loads[0].result(), loads[1].result()

        async def beside() -> tuple[Load, Load]:
            async with asyncio.TaskGroup() as group:
                group.create_task(Loop(server.host, "/function/greedy", 20).run(4.0))
                await asyncio.to_thread(wait_for, "all it can get", lambda: total(server, "corral_starts_waiting") >= 1)
                measured = group.create_task(apart())
            return measured.result()

        alone, together = asyncio.run(apart()), asyncio.run(beside())
        for before, after in zip(alone, together, strict=True):
            assert set(after.statuses()) == {200}, after.statuses()
            assert median_s(after) < 10 * median_s(before) + 0.1
            assert after.slowest_s() < 2.0
        assert server.described("greedy")["exits"] or server.described("greedy")["instances"]


def median_s(load: Load) -> float:
    return sorted(each.took_s for each in load.outcomes)[len(load.outcomes) // 2]
