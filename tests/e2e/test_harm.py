"""Functions that misbehave: a clear error, a cause in `describe` and the log, and a neighbour who notices nothing."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from .load import Load, Loop
from .server import Answer, Server, serving, wait_for

NEIGHBOUR = "async def handler(event): return 'fine'\n"


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on which a neighbour lives."""
    with serving(tmp_path_factory.mktemp("street")) as server:
        server.deploy("neighbour", NEIGHBOUR, "--min", "1")
        yield server


def beside(server: Server, name: str, timeout_s: float = 30.0) -> Answer:
    """Call `name` while the neighbour is called 50 times a second: all of those calls are answered in good time."""

    async def both() -> tuple[Answer, Load]:
        async with asyncio.TaskGroup() as group:
            harm = group.create_task(asyncio.to_thread(server.call, name, {}, timeout_s))
            load = group.create_task(Loop(server.host, "/function/neighbour", 50).run(2.0))
        return harm.result(), load.result()

    answer, load = asyncio.run(both())
    assert load.statuses() == {200: 100}
    # Two cores are shared with the offender: fair, not free.
    assert load.slowest_s() < 1.0
    return answer


def last_exit(server: Server, name: str) -> dict[str, str]:
    exits = wait_for("its exit", lambda: server.described(name)["exits"])
    last: dict[str, str] = exits[-1]
    return last


def test_out_of_memory_is_named(street: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("T0 has no limit for the instance as a whole")
    street.deploy(
        "greedy", "def handler(event):\n    hoard = [bytearray(8 << 20) for _ in range(100)]\n", "--memory", "64"
    )
    answer = beside(street, "greedy")
    assert answer.status == 502, answer
    assert "used more than its 64 MiB" in answer.body.decode()
    assert last_exit(street, "greedy")["cause"] == "out of memory"


def test_crash_is_named(street: Server) -> None:
    street.deploy("crash", "import ctypes\ndef handler(event): ctypes.string_at(0)\n")
    answer = beside(street, "crash")
    assert answer.status == 502, answer
    seen = last_exit(street, "crash")
    assert seen["cause"] == "crashed"
    assert "SIGSEGV" in seen["detail"] or "11" in seen["detail"]


def test_exit_is_named(street: Server) -> None:
    street.deploy("leaves", "import os\ndef handler(event): os._exit(7)\n")
    assert beside(street, "leaves").status == 502
    seen = last_exit(street, "leaves")
    assert seen["cause"] == "exited"
    assert "7" in seen["detail"]


def test_endless_loop_ends_at_its_timeout(street: Server) -> None:
    street.deploy("endless", "def handler(event):\n    while True: pass\n", "--timeout", "1s")
    assert beside(street, "endless").status == 504
    assert last_exit(street, "endless")["cause"] == "timeout"


def test_fork_bomb_is_held(street: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("T0 does not limit processes")
    code = "import os\ndef handler(event):\n    while True:\n        os.fork()\n"
    street.deploy("bomb", code, "--timeout", "2s", "--idle", "1")
    answer = beside(street, "bomb")
    assert answer.status in (500, 502, 504), answer
    wait_for("the end of its processes", lambda: not street.described("bomb")["instances"], 20)


def test_flood_of_lines_slows_its_author_only(street: Server) -> None:
    code = "def handler(event):\n    for _ in range(10**9): print('x' * 200)\n"
    street.deploy("flood", code, "--timeout", "2s")
    assert beside(street, "flood").status == 504
    log = street.data / "logs"
    size = sum(file.stat().st_size for file in log.rglob("*") if file.is_file())
    assert size < 10 * 1024 * 1024


def test_neighbours_on_one_instance_get_the_cause_when_another_call_ends_it(street: Server) -> None:
    code = (
        "import asyncio, time\n"
        "async def handler(event):\n"
        "    if event.get('block'): time.sleep(60)\n"
        "    await asyncio.sleep(20)\n"
    )
    street.deploy("crowded", code, "--timeout", "1s")

    async def both() -> list[Answer]:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(asyncio.to_thread(street.call, "crowded", {"block": n == 0})) for n in range(3)]
        return [call.result() for call in calls]

    statuses = sorted(answer.status for answer in asyncio.run(both()))
    assert set(statuses) <= {502, 504}
    assert 504 in statuses
