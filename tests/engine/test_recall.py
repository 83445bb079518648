"""A rule that goes by idle times knows those of before: after a restart, and when a function that serves gets it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from corral import link
from corral.model import FunctionKey, RevisionId
from corral.ports import MinuteSeen

from .test_api import code
from .world import World, world

REVISION = RevisionId("default/hello@1")
HELLO = "/namespaces/default/functions/hello"
HYBRID = {"engine": "hybrid"}
SILENCES = 20


def play(data: Path, *scenes: Callable[[World], Awaitable[None]]) -> None:
    """Each scene after a restart of the engine."""

    async def run() -> None:
        for scene in scenes:
            async with world(data) as w:
                await scene(w)

    asyncio.run(run())


async def have_past(w: World) -> None:
    """Called each ten minutes until half an hour ago."""
    last, key = int(time.time() // 60) - 30, FunctionKey("default/hello")
    minutes = range(last - 10 * SILENCES, last, 10)
    await w.store.demand.add([MinuteSeen(key=key, minute=each, calls=1, idle_times={9: 1}) for each in minutes])


async def known_at_a_call(w: World) -> float:
    """How many idle times the rule goes by when a call waits."""
    await w.get(f"{HELLO}/demand")  # the store does one thing after the other, and was asked by the engine before
    w.gateway.send(link.Want(REVISION, 1, 0, 0.0))
    await w.keeper.got(link.Start)
    decisions = (await w.get(HELLO)).json["decisions"]
    return float(decisions[-1]["inputs"]["idle_times"])


def test_restarted_engine_knows_idle_times_of_before(tmp_path: Path) -> None:
    async def before(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)), scaling=HYBRID, initial=0)
        await have_past(w)

    async def after(w: World) -> None:
        assert await known_at_a_call(w) == SILENCES

    play(tmp_path, before, after)


def test_function_that_gets_the_rule_while_it_serves_begins_with_its_past(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)), initial=0)
        await have_past(w)
        await w.ask("PUT", f"{HELLO}/scaling", json.dumps({"scaling": HYBRID}).encode())
        assert await known_at_a_call(w) == SILENCES

    play(tmp_path, scene)


def test_function_of_a_deleted_ones_name_begins_with_nothing(tmp_path: Path) -> None:
    async def before(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)), scaling=HYBRID, initial=0)
        await have_past(w)

    async def after(w: World) -> None:
        assert (await w.ask("DELETE", HELLO)).status == 204
        await w.put("hello", await w.upload(code(tmp_path)), scaling=HYBRID, initial=0)
        await w.get(f"{HELLO}/demand")
        w.gateway.send(link.Want(RevisionId("default/hello@2"), 1, 0, 0.0))
        await w.keeper.got(link.Start)
        assert (await w.get(HELLO)).json["decisions"][-1]["inputs"]["idle_times"] == 0

    play(tmp_path, before, after)
