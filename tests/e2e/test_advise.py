"""`corral advise` on a server that knows two days of calls."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from corral.model import FunctionKey
from corral.ports import MinuteSeen
from corral.store.sqlite import SqliteStore

from .server import Server, serving, wait_for

DAY = 1440
HANDLER = "def handler(event): return 'ok'\n"
SLOW = f"import time; time.sleep(0.4)\n{HANDLER}"


def seen(name: str, every: int) -> list[MinuteSeen]:
    """A call each so many minutes, of the last two days."""
    key, until = FunctionKey(f"default/{name}"), int(time.time() // 60)
    return [
        MinuteSeen(key=key, minute=minute, calls=1, idle_times={every - 1: 1})
        for minute in range(until - 2 * DAY, until, every)
    ]


async def write(file: Path, minutes: list[MinuteSeen]) -> None:
    with closing(SqliteStore(file)) as store:
        await store.demand.add(minutes)


@pytest.fixture(scope="module")
def advised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("advised")
    before = Server(folder)
    before.deploy("hourly", SLOW, "--scaling", "engine=corral,utilization_percent=60", "--idle", "15s")
    before.deploy("often", HANDLER)
    before.deploy("kept", HANDLER, "--min", "1")
    before.deploy("never", HANDLER)
    before.stop()
    asyncio.run(write(before.data / "corral.db", [*seen("hourly", 60), *seen("often", 10), *seen("kept", 30)]))
    with serving(folder) as server:
        assert server.call("hourly").status == 200  # so that it is known how long it takes to start
        wait_for("its call to be counted", lambda: calls_of(server, "hourly") == 49)
        yield server


def calls_of(server: Server, name: str) -> int:
    found = json.loads(server.ok("advise", "default", "--json"))
    return next(row["calls"] for row in found["functions"] if row["function"] == name)


def scaling(server: Server, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.ok("scaling", name, "--json"))
    return found


def test_advice_is_shown_set_and_then_nothing_is_left_to_advise(advised: Server) -> None:
    before = {name: scaling(advised, name) for name in ("hourly", "often", "kept", "never")}
    found = json.loads(advised.ok("advise", "default", "--json"))
    assert {name: scaling(advised, name) for name in before} == before, "asking changes nothing"
    rows = {row["function"]: row for row in found["functions"]}
    hourly = rows["hourly"]
    assert hourly["now"]["cold_starts"] == 49, "48 hours, and the one call that came"
    assert hourly["now"]["added_s"] > 48 * 0.4
    assert hourly["advised"]["scaling"]["engine"] == "hybrid"
    assert hourly["advised"]["cold_starts"] <= 6
    assert rows["kept"]["advised"] is None
    assert rows["kept"]["now"]["cold_starts"] == 0
    assert (rows["never"]["advised"], rows["never"]["why"]) == (None, "not called")

    table = advised.ok("advise", "default", "--apply")
    assert "hourly" in table
    assert f"set for {sum(row['advised'] is not None for row in rows.values())} of 4 functions" in table
    assert scaling(advised, "hourly")["engine"] == "hybrid"
    assert scaling(advised, "never") == before["never"]
    assert advised.call("hourly").status == 200

    again = json.loads(advised.ok("advise", "default", "--json"))
    [followed] = [row for row in again["functions"] if row["function"] == "hourly"]
    assert (followed["advised"], followed["now"]["cold_starts"] <= 6) == (None, True)
    advised.ok("scaling", "hourly", "--reset")
    assert scaling(advised, "hourly") == before["hourly"]


def test_empty_namespace_and_wrong_values_are_told(advised: Server) -> None:
    assert advised.ok("advise", "elsewhere") == "no functions in namespace elsewhere\n"
    assert advised.cli("advise", "default", "--second-gib-min", "-1").returncode == 2
    assert advised.cli("advise", "default", "--days", "15").returncode == 2
