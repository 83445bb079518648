"""Demand on disk: added to minute by minute, read by function, bounded by days, gone with its function."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from corral.errors import StoreFailed
from corral.model import FunctionKey
from corral.ports import MinuteSeen
from corral.store.demand import DAYS_KEPT
from corral.store.sqlite import SqliteStore

from .test_sqlite import function

F, G = FunctionKey("default/f"), FunctionKey("default/g")
HOUR, DAY = 60, 1440
NOON = 20_000 * DAY + 720
Use = Callable[[SqliteStore], Awaitable[None]]


def play(path: Path, use: Use) -> None:
    async def run() -> None:
        with closing(SqliteStore(path / "db")) as store:
            await use(store)

    asyncio.run(run())


async def deployed(store: SqliteStore) -> None:
    await store.put_functions([function("f", uid=100_002), function("g", uid=100_003)])


def seen(minute: int, calls: int = 1, key: FunctionKey = F, **idle_times: int) -> MinuteSeen:
    """`idle_times` as m3=2: two of three minutes."""
    lengths = {int(length[1:]): count for length, count in idle_times.items()}
    return MinuteSeen(key=key, minute=minute, calls=calls, idle_times=lengths)


def test_minutes_of_an_hour_are_appended_and_survive_a_restart(tmp_path: Path) -> None:
    # 0 and 128 and more are what a text would break on.
    minutes = [seen(NOON, 0x80FF, m0=200), seen(NOON + 1, 1, m240=0x8000), seen(NOON + 59, 300, m0=1, m7=2)]

    async def write(store: SqliteStore) -> None:
        await deployed(store)
        for each in minutes:
            await store.demand.add([each, seen(each.minute, key=G)])

    async def read(store: SqliteStore) -> None:
        assert await store.demand.load(F, 0) == minutes
        assert len(await store.demand.load(G, 0)) == 3
        assert await store.demand.last_calls() == {F: NOON + 59, G: NOON + 59}

    play(tmp_path, write)
    play(tmp_path, read)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        await deployed(store)
        await store.demand.add([seen(NOON + hours * HOUR) for hours in range(48)])
        found = await store.demand.load(F, NOON + 24 * HOUR)
        assert [each.minute for each in found] == [NOON + hours * HOUR for hours in range(24, 48)]
        assert await store.demand.load(F, NOON + 47 * HOUR + 1) == []

    play(tmp_path, use)


def test_minute_without_a_new_call_moves_only_the_last_one(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        await deployed(store)
        await store.demand.add([seen(NOON)])
        await store.demand.add([seen(NOON + 5, calls=0)])
        assert [each.minute for each in await store.demand.load(F, 0)] == [NOON]
        assert await store.demand.last_calls() == {F: NOON + 5}

    play(tmp_path, use)


def test_oldest_day_goes_hour_by_hour_once_there_are_more_than_are_kept(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        await deployed(store)
        for day in range(DAYS_KEPT):
            await store.demand.add([seen(NOON + day * DAY + hour * HOUR) for hour in range(3)])
        assert len(await store.demand.load(F, 0)) == 3 * DAYS_KEPT
        for minute in range(5):
            await store.demand.add([seen(NOON + DAYS_KEPT * DAY + minute)])
        found = await store.demand.load(F, 0)
        assert found[0].minute == NOON + DAY
        assert len(found) == 3 * (DAYS_KEPT - 1) + 5

    play(tmp_path, use)


def test_clock_that_is_wrong_for_a_while_costs_a_day_and_not_all(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        await deployed(store)
        for day in range(DAYS_KEPT):
            await store.demand.add([seen(NOON + day * DAY)])
        for year in (3, 50):
            await store.demand.add([seen(NOON + year * 365 * DAY)])
        assert len(await store.demand.load(F, 0)) == DAYS_KEPT

    play(tmp_path, use)


def test_deleted_function_takes_its_demand_along(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        await deployed(store)
        await store.demand.add([seen(NOON + hours * HOUR, key=key) for hours in range(30) for key in (F, G)])
        await store.delete_function(F)
        await store.demand.add([seen(NOON + DAY), seen(NOON + DAY, key=G)])  # taken before, written after
        await store.put_functions([function("f", number=2, uid=100_004)])
        assert await store.demand.load(F, 0) == []
        assert len(await store.demand.load(G, 0)) == 31
        assert await store.demand.last_calls() == {G: NOON + DAY}

    play(tmp_path, use)


def test_damaged_record_is_named(tmp_path: Path) -> None:
    async def write(store: SqliteStore) -> None:
        await deployed(store)
        await store.demand.add([seen(NOON)])

    async def read(store: SqliteStore) -> None:
        with pytest.raises(StoreFailed, match="what is stored of the calls of default/f cannot be read"):
            await store.demand.load(F, 0)
        assert await store.demand.load(G, 0) == []

    play(tmp_path, write)
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute("UPDATE demand SET entries = x'07'")
        connection.commit()
    play(tmp_path, read)


def test_reading_one_function_never_reads_all(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        await deployed(store)
        await store.demand.add([seen(NOON)])

    play(tmp_path, use)
    from corral.store import demand

    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        for statement in (demand.LOAD, demand.FORGET[0]):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", {"function": F, "first": 0}).fetchall()
            steps = [step for *_, step in plan if "demand" in step]
            assert steps, plan
            assert all(step.startswith("SEARCH demand") for step in steps), steps
