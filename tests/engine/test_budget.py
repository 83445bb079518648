"""The machine's memory between engine, keeper and gateway: what is asked, told, refused and remembered."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from corral import link
from corral.config import Budget, Settings
from corral.engine.workingsets import WorkingSets
from corral.model import RevisionId
from corral.package.bundle import pack
from corral.store.sqlite import SqliteStore

from .world import Answer, Gateway, Keeper, World, world

F, G = RevisionId("default/f@1"), RevisionId("default/g@1")


def play(tmp_path: Path, scene: Callable[[World], Awaitable[None]], memory_mib: float = 1000) -> None:
    """On a machine with so much memory, 80 % of which is for functions, and a keeper that keeps zygotes."""

    async def run() -> None:
        # Whatever is loaded here is quick: a zygote for it all the same.
        settings = Settings(budget=Budget(zygote_saves_ms=0.001))
        async with world(tmp_path, connected=False, settings=settings) as w:
            w.keeper = Keeper(memory_mib=memory_mib, keeps_zygotes=True)
            await w.connect()
            await scene(w)

    asyncio.run(run())


async def put(w: World, name: str, query: str = "", **spec: object) -> Answer:
    (w.data / "app.py").write_text("def handle(event, context): return event")
    return await w.put(name, await w.upload(pack(w.data / "app.py")), query=query, **spec)


async def budget(w: World) -> dict[str, float]:
    found: dict[str, float] = (await w.get("/status")).json["budget"]
    return found


def test_a_revision_is_measured_when_its_code_has_loaded(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await put(w, "f", memory_mib=200)
        asked = await w.keeper.got(link.Measure)
        assert (await budget(w))["instances_mib"] == 200
        w.keeper.send(link.Measured(asked.instance, 12.5))
        while (await budget(w))["instances_mib"] != 13:
            pass
        memory = (await w.get("/namespaces/default/functions/f")).json["memory"]
        assert (memory["charged_mib"], memory["is_measured"], memory["shortage"]) == (13, True, None)

    play(tmp_path, scene)


def test_a_function_that_could_never_start_is_refused(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await put(w, "f", memory_mib=801)
        assert answer.status == 400
        assert answer.json["error"]["message"] == (
            "memory_mib = 801, must be at most 800: that is what all functions of this machine may use together "
            "(budget.memory)"
        )

    play(tmp_path, scene)


def test_a_deployment_for_which_there_is_no_room_is_told_so(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await put(w, "f", memory_mib=800, min=1)
        answer = await put(w, "g", memory_mib=100, query="?timeout=0.2")
        assert answer.status == 503
        message = answer.json["error"]["message"]
        assert message == (
            "no instance could load the code within 0.2 s: it needs 100 MiB, and 800 of 800 that functions of this "
            "machine may use are promised to instances by `min`"
        )

    play(tmp_path, scene)


def test_gateways_hear_why_starts_wait_and_when_they_do_no_longer(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await put(w, "f", memory_mib=800, min=1)
        await put(w, "g", memory_mib=100, initial=0)
        w.gateway.send(link.Want(G, 1, 0, 0.0))
        told = await w.gateway.got(link.Queued)
        assert told.revision == G and "it needs 100" in told.why
        successor = Gateway("g2", {F: [assign.instance for assign in w.gateway.all(link.Assign)]})
        w.gateway.close()
        await w.gateway.gone()
        await successor.connect(w.link)
        await successor.got(link.Synced)
        successor.send(link.Want(G, 1, 0, 0.0))
        await successor.got(link.Queued)
        assert (await w.ask("DELETE", "/namespaces/default/functions/f")).status == 204
        assert (await successor.got(link.Queued, 2)) == link.Queued(G, "")
        await w.keeper.got(link.Start, where=lambda start: start.revision.id == G)
        successor.close()

    play(tmp_path, scene)


def test_a_slow_load_raises_a_zygote_with_the_code_that_was_kept(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        w.gateway.answers[link.Assign] = lambda message: None
        deployment = asyncio.create_task(put(w, "f", memory_mib=100))
        assign = await w.gateway.got(link.Assign)
        stamps = {"dressed": 1.0, "loaded": 9.0}
        w.gateway.send(link.Ready(assign.instance, "handle", False, 1, stamps, b"code"))
        assert (await deployment).status == 201
        w.keeper.send(link.Measured(assign.instance, 20.0))
        kept = await w.keeper.got(link.KeepZygote)
        assert (kept.revision.id, kept.code) == (F, b"code")
        w.keeper.send(link.ZygoteKept(F, 25.0, 0.5))
        while (await budget(w))["zygotes_mib"] != 25:
            pass
        assert (await w.get("/namespaces/default/functions/f")).json["zygote_rank"]["state"] == "kept"
        assert (await w.ask("DELETE", "/namespaces/default/functions/f")).status == 204
        assert (await w.keeper.got(link.DropZygote)).revision == F

    play(tmp_path, scene)


def test_what_was_learned_counts_after_a_restart(tmp_path: Path) -> None:
    async def first(w: World) -> None:
        await put(w, "f", memory_mib=200)
        asked = await w.keeper.got(link.Measure)
        w.keeper.send(link.Measured(asked.instance, 30.0))
        async with asyncio.timeout(5):
            while not await w.store.load_working_sets():
                pass

    async def second(w: World) -> None:
        w.gateway.send(link.Want(F, 1, 0, 0.0))
        await w.keeper.got(link.Start)
        assert (await budget(w))["instances_mib"] == 30

    play(tmp_path, first)
    play(tmp_path, second)


def test_what_was_learned_of_revisions_that_are_gone_is_removed(tmp_path: Path) -> None:
    async def scene() -> None:
        store = SqliteStore(tmp_path / "corral.db")
        await store.put_working_sets({F: 10, G: 20})
        assert await WorkingSets(store).load({G}) == {G: 20}
        assert await store.load_working_sets() == {G: 20}
        await store.put_working_sets({G: 21})
        assert await store.load_working_sets() == {G: 21}
        store.close()

    asyncio.run(scene())


def test_a_keeper_that_says_nothing_of_memory_sets_no_limit(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        assert (await put(w, "f", memory_mib=100_000)).status == 201
        assert (await budget(w))["limit_mib"] is None

    play(tmp_path, scene, memory_mib=0)
