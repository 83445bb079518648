"""What a function costs the gateway while nobody calls it."""

import asyncio
from pathlib import Path
from time import monotonic

from corral import link
from corral.link import Release, RevisionPut, Served, Synced

from .stage import Stage, echo, play


def pools(s: Stage) -> int:
    return sum(lane.has_pool for lane in s.gateway.activator.lanes.values())


def test_function_has_a_pool_only_while_it_is_used(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revisions = [s.deploy(f"f-{number}") for number in range(500)]
        s.engine.say(Synced())
        await s.until(lambda: len(s.gateway.activator.lanes) == 500)
        assert pools(s) == 0
        used = revisions[7]
        instance = await s.instance(used, echo)
        await s.engine.hear(link.Ready)
        assert (await s.get("/function/f-7")).status == 200
        await s.settled()
        assert (await s.get("/metrics")).status == 200
        assert pools(s) == 1
        for _ in range(2):  # the second one is silent
            s.gateway.activator.report(monotonic())
        assert pools(s) == 1, "it has an instance"
        s.engine.say(Release(used.id, 1))
        assert (await s.engine.hear(link.Released)).instance == instance.id
        await s.until(lambda: pools(s) == 0)

    play(tmp_path, scene)


def test_function_whose_pool_was_given_up_is_called_again(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        instance = await s.instance(revision, echo)
        assert (await s.get()).status == 200
        await s.settled()
        for _ in range(2):
            s.gateway.activator.report(monotonic())
        s.engine.say(Release(revision.id, 1))
        await s.engine.hear(link.Released)
        await s.until(lambda: pools(s) == 0)
        s.engine.heard.clear()
        asked = asyncio.ensure_future(s.get())
        want = await s.engine.hear(link.Want)
        assert (want.revision, want.waiting, want.executing) == (revision.id, 1, 0)
        again = await s.instance(revision, echo)
        assert again.id != instance.id
        assert (await asked).status == 200

    play(tmp_path, scene)


def test_block_outlasts_the_silence(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        s.engine.say(link.Block(revision.id, "its code is at fault", monotonic() + 60))
        await s.until(lambda: pools(s) == 1)
        assert (await s.get()).status == 502
        for _ in range(3):
            s.gateway.activator.report(monotonic())
        assert (await s.get()).status == 502

    play(tmp_path, scene)


def test_how_calls_are_spread_changes_while_they_run(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy(concurrency=8)
        first = await s.instance(revision)
        second = await s.instance(revision)
        await s.engine.hear(link.Ready, 2)
        asked = [asyncio.ensure_future(s.get()) for _ in range(2)]
        await s.until(lambda: s.calls_in_pools() == 2)
        s.engine.say(RevisionPut(Served.of(revision, choose="knative")))
        lane = s.gateway.activator.lanes[revision.id]
        await s.until(lambda: lane.served.choose == "knative")
        asked += [asyncio.ensure_future(s.get()) for _ in range(2)]
        await s.until(lambda: len(first.calls) + len(second.calls) == 4)
        assert {len(first.calls), len(second.calls)} == {3, 1}, "the first two went to one, the others to each in turn"
        for call in first.calls + second.calls:
            call.answer()
        assert [(await each).status for each in asked] == [200] * 4

    play(tmp_path, scene)


def test_instance_of_a_rule_that_uses_each_once_is_given_back_after_its_call(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy(concurrency=8)
        s.engine.say(RevisionPut(Served.of(revision, once=True)))
        first = await s.instance(revision, echo)
        assert (await s.get()).status == 200
        assert (await s.engine.hear(link.Released)).instance == first.id
        held = asyncio.ensure_future(s.get())
        assert (await s.engine.hear(link.Want, 2)).waiting == 1
        second = await s.instance(revision, echo)
        assert (await held).status == 200
        assert (await s.engine.hear(link.Released, 2)).instance == second.id

    play(tmp_path, scene)


def test_rule_may_give_an_instance_fewer_calls_than_it_takes(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy(concurrency=8)
        s.engine.say(RevisionPut(Served.of(revision, slots=2)))
        instance = await s.instance(revision)
        await s.engine.hear(link.Ready)
        asked = [asyncio.ensure_future(s.get()) for _ in range(3)]
        await s.until(lambda: s.calls_in_pools() == 3)
        assert s.gateway.activator.lanes[revision.id].pool.waiting == 1
        s.engine.say(RevisionPut(Served.of(revision, slots=3)))
        for number in (1, 2, 3):
            (await instance.call(number)).answer()
        assert [(await each).status for each in asked] == [200] * 3

    play(tmp_path, scene)
