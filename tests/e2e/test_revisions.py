"""Revisions on a real server: calls move between them, and none fails."""

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from typing import Any

import pytest

from .load import Loop
from .server import Server, wait_for


def version(number: int) -> str:
    return f"async def handler(event): return '{number}'\n"


def listed(server: Server, name: str) -> dict[int, dict[str, Any]]:
    found = json.loads(server.ok("revisions", name, "--json"))
    return {each["number"]: each for each in found}


def test_calls_go_back_to_the_revision_before_and_forth_with_the_next_deployment(shared: Server) -> None:
    for number in (1, 2, 3):
        shared.deploy("back", version(number))
    assert shared.call("back").body == b"3"
    assert shared.ok("rollback", "back") == "back: 100 % to 2\n"
    assert shared.call("back").body == b"2"
    assert shared.ok("rollback", "back", "--to", "3") == "back: 100 % to 3\n"
    assert shared.call("back").body == b"3"
    shared.ok("rollback", "back", "--to", "1")
    assert "as revision 4" in shared.deploy("back", version(4))
    assert shared.call("back").body == b"4"


def test_calls_are_shared_by_weights_and_found_by_tags(shared: Server) -> None:
    shared.deploy("split", version(1))
    said = shared.deploy("split", version(2), "--no-traffic", "--tag", "canary")
    assert "no calls go to it yet" in said and "/function/split@canary" in said
    assert (shared.call("split").body, shared.call("split@canary").body) == (b"1", b"2")
    assert (
        shared.ok("traffic", "split", "1=75", "2=25", "--tag", "stable=1")
        == "split: 75 % to 1 (stable), 25 % to 2 (canary)\n"
    )
    assert Counter(shared.call("split").body for _ in range(40)) == {b"1": 30, b"2": 10}
    assert shared.call("split@stable").body == b"1"
    shared.ok("traffic", "split", "--untag", "canary")
    assert shared.call("split@canary").status == 404
    # A deployment takes over the share of the newest that has one.
    shared.deploy("split", version(3))
    assert Counter(shared.call("split").body for _ in range(40)) == {b"1": 30, b"3": 10}
    assert [(each["percent"], each["tags"]) for _, each in sorted(listed(shared, "split").items())] == [
        (75, ["stable"]), (0, []), (25, []),
    ]  # fmt: skip


def test_a_redeployment_is_compared_with_the_revision_it_replaces(shared: Server) -> None:
    shared.deploy("compared", version(1))
    private = shared.deploy("compared", version(2), "--private", "--env", "KEY=1", "--no-traffic")
    assert "now private" in private and "revision 1 stays open: 100 % of the calls go to it" in private
    shared.ok("traffic", "compared", "1=90", "2=10", "--tag", "first=1")
    again = shared.deploy("compared", version(3))
    assert "no longer private" in again and "env KEY is gone" in again
    closed = shared.deploy("compared", version(4), "--private")
    assert "revision 1 stays open: 90 % of the calls go to it" in closed


def test_describe_says_how_the_revisions_of_a_split_differ(shared: Server) -> None:
    shared.deploy("differs", version(1), "--env", "SAME=1", "--env", "KEY=1")
    shared.deploy("differs", version(2), "--private", "--env", "SAME=1", "--env", "KEY=2", "--no-traffic")
    shared.ok("traffic", "differs", "1=90", "2=10")
    shown = shared.ok("describe", "differs")
    [line] = [each for each in shown.splitlines() if each.startswith("revision 2")]
    assert line.endswith(" 10 % of the calls; another value of env KEY, private")
    assert "/function/differs (private in part" in shown
    assert "KEY=2" not in shown
    assert shared.described("differs")["specs"]["2"]["private"] is True


def test_no_call_fails_while_revisions_come_go_and_come_back(server: Server) -> None:
    server.deploy("steady", version(1), "--idle", "60")

    def change() -> None:
        for number in range(2, 7):
            server.deploy("steady", version(number), "--idle", "60")
            server.ok("rollback", "steady")
            server.ok("traffic", "steady", f"{number}=50", f"{number - 1}=50")

    async def under_load() -> Loop:
        loop, changed = Loop(server.host, "/function/steady", 300.0), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(loop.run(3.0, until=changed))
            await asyncio.to_thread(wait_for, "calls under way", lambda: loop.load.outcomes)
            await asyncio.to_thread(change)
            changed.set()
        return loop

    load = asyncio.run(under_load()).load
    assert set(load.statuses()) == {200} and len(load.outcomes) >= 900
    assert load.bodies(200) == {b"1", b"2", b"3", b"4", b"5", b"6"}


def test_long_call_survives_its_revision(server: Server) -> None:
    slow = "import time\ndef handler(event):\n    time.sleep(event['s'])\n    return 'old'\n"
    server.deploy("slow", slow)

    async def scene() -> tuple[bytes, bytes]:
        async with asyncio.TaskGroup() as group:
            long = group.create_task(asyncio.to_thread(server.call, "slow", {"s": 2}))
            await asyncio.to_thread(
                wait_for,
                "its call",
                lambda: any(each["state"] == "ready" for each in server.described("slow")["instances"]),
            )
            await asyncio.to_thread(server.deploy, "slow", version(2))
            new = await asyncio.to_thread(server.call, "slow")
        return new.body, long.result().body

    assert asyncio.run(scene()) == (b"2", b"old")
    wait_for("its end", lambda: listed(server, "slow")[1]["state"] == "kept")


@pytest.mark.parametrize("part", ["engine", "gateway"])
def test_killed_in_the_middle_of_swaps_nothing_is_lost(server: Server, part: str) -> None:
    """Whatever moment it dies at: answers are honest, what was acknowledged stands, and nothing is left over."""
    server.deploy("swapped", version(1), "--idle", "60")
    acknowledged: list[int] = []

    def swap() -> None:
        for number in range(2, 9):
            if number in (4, 6):
                os.kill(server.pid(part), signal.SIGKILL)
            done = server.cli("rollback", "swapped") if number % 3 == 0 else _deploy(server, "swapped", version(number))
            if done.returncode == 0 and number % 3:
                acknowledged.append(number)

    async def under_load() -> Loop:
        loop = Loop(server.host, "/function/swapped", 100.0)
        async with asyncio.TaskGroup() as group:
            group.create_task(loop.run(8.0))
            await asyncio.to_thread(swap)
        return loop

    load = asyncio.run(under_load()).load
    statuses = load.statuses()
    # A killed gateway takes the calls with it that it holds; a killed engine takes none.
    assert statuses[200] >= 760 if part == "gateway" else statuses == {200: 800}, statuses
    server.deploy("swapped", version(9))
    assert server.call("swapped").body == b"9"
    wait_for(
        "the end of all but the last",
        lambda: {each["state"] for each in listed(server, "swapped").values()} == {"serving", "kept"},
    )
    assert len(acknowledged) >= 3


def _deploy(server: Server, name: str, code: str) -> "subprocess.CompletedProcess[bytes]":
    """It may fail: a part of the server may be away."""
    file = server.data.parent / f"{name}.py"
    file.write_text(code)
    return server.cli("deploy", name, str(file), "--idle", "60")
