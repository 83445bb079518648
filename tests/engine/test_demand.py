"""Demand from a gateway's word to what people see of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from corral import link
from corral.engine.demand import AT_ONCE, Demand
from corral.model import FunctionKey, FunctionSpec, Observation, Revision, RevisionId, Share
from corral.ports import MinuteSeen, StoredFunction
from corral.store.sqlite import SqliteStore
from corral.testing import ManualClock

from .test_api import code
from .world import World, world

F = FunctionKey("default/f")
REVISION = Revision(
    id=RevisionId("default/f@1"), namespace="default", name="f", number=1, package="0" * 64, uid=100_002,
    spec=FunctionSpec(), created_at=0.0,
)  # fmt: skip
ONE = Observation(arrived=1, from_idle=1, peak=1)


def kept(path: Path, scene: Callable[[SqliteStore, ManualClock], Awaitable[None]]) -> None:
    async def run() -> None:
        with closing(SqliteStore(path / "db")) as store:
            whole = (Share(number=1, percent=100),)
            await store.put_functions([StoredFunction(revisions=(REVISION,), traffic=whole, updated_at=0.0)])
            await scene(store, ManualClock(wall=20_000 * 86_400.0))

    asyncio.run(run())


def test_minute_that_is_not_over_is_shown_and_counts_once_when_it_is(tmp_path: Path) -> None:
    async def scene(store: SqliteStore, clock: ManualClock) -> None:
        demand = Demand(store.demand, clock)
        for _ in range(3):
            demand.seen(F, ONE)
            clock.advance(1)
        before = await demand.of(F, 14)
        await demand.write()
        assert await demand.of(F, 14) == before
        assert [(day.day, day.calls, day.minutes) for day in before] == [(20_000, 3, [(0, 3)])]

    kept(tmp_path, scene)


def test_killed_engine_loses_the_minute_that_was_not_over_and_no_other(tmp_path: Path) -> None:
    async def scene(store: SqliteStore, clock: ManualClock) -> None:
        killed = Demand(store.demand, clock)
        killed.seen(F, ONE)
        await killed.write()
        clock.advance(600)
        killed.seen(F, ONE)
        clock.advance(60)
        successor = Demand(store.demand, clock)
        await successor.restore()
        successor.seen(F, ONE)
        [day] = await successor.of(F, 1)
        assert day.minutes == [(0, 1), (11, 1)]
        assert day.idle_times == [(10, 1)], "since the end of the last minute that was written"

    kept(tmp_path, scene)


def test_days_asked_for_end_today(tmp_path: Path) -> None:
    async def scene(store: SqliteStore, clock: ManualClock) -> None:
        demand = Demand(store.demand, clock)
        for _ in range(5):
            demand.seen(F, ONE)
            await demand.write()
            clock.advance(86_400)
        assert [day.day for day in await demand.of(F, 14)] == [20_000 + n for n in range(5)]
        assert [day.day for day in await demand.of(F, 3)] == [20_003, 20_004]
        clock.advance(-2 * 86_400)
        assert [day.day for day in await demand.of(F, 2)] == [20_002, 20_003], "what is to come did not happen"

    kept(tmp_path, scene)


class _Counted:
    """Takes everything."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def add(self, minutes: list[MinuteSeen]) -> None:
        self.asked.append(len(minutes))


def test_many_functions_are_written_some_at_a_time() -> None:
    store = _Counted()

    async def run() -> None:
        demand = Demand(store, ManualClock())  # type: ignore[arg-type]
        for number in range(2 * AT_ONCE + 1):
            demand.seen(FunctionKey(f"default/f-{number}"), ONE)
        await demand.write()
        await demand.write()

    asyncio.run(run())
    assert store.asked == [AT_ONCE, AT_ONCE, 1]


def test_nothing_wakes_up_while_nothing_is_called(tmp_path: Path) -> None:
    async def scene(store: SqliteStore, clock: ManualClock) -> None:
        demand = Demand(store.demand, clock)
        running = asyncio.create_task(demand.run())
        for _ in range(5):
            await asyncio.sleep(0)
        timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        assert not timers
        demand.seen(F, ONE)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(timers) == 1
        running.cancel()

    kept(tmp_path, scene)


def play(tmp_path: Path, scene: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with world(tmp_path, **options) as w:
            await scene(w)

    asyncio.run(run())


async def shown(w: World, calls: int) -> Any:
    """The answer that tells of so many calls."""
    async with asyncio.timeout(5):
        while True:
            answer = (await w.get("/namespaces/default/functions/hello/demand")).json
            if sum(day["calls"] for day in answer["days"]) == calls:
                return answer


def test_what_a_gateway_saw_is_told_and_outlives_the_engine(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)))
        revision = RevisionId("default/hello@1")
        assert (await shown(w, 0))["days"] == []
        for _ in range(2):
            w.gateway.send(link.Observed({revision: Observation(arrived=5, from_idle=3, peak=2)}))
        answer = await shown(w, 10)
        assert answer["function"] == "default/hello"
        assert sum(count for day in answer["days"] for _, count in day["idle_times"]) == 5
        assert sum(count for day in answer["days"] for _, count in day["minutes"]) == 10

    async def later(w: World) -> None:
        assert len((await shown(w, 10))["days"]) in (1, 2), "it may have been midnight"
        assert (await w.ask("DELETE", "/namespaces/default/functions/hello")).status == 204
        assert (await w.get("/namespaces/default/functions/hello/demand")).status == 404
        await w.put("hello", await w.upload(code(tmp_path)))
        assert (await shown(w, 0))["days"] == []

    play(tmp_path, scene)
    play(tmp_path, later)


def test_days_are_between_1_and_14(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)))
        for days in ("0", "15", "x"):
            answer = await w.get(f"/namespaces/default/functions/hello/demand?days={days}")
            assert answer.json["error"]["message"] == f"days = '{days}', must be a number between 1 and 14"

    play(tmp_path, scene)
