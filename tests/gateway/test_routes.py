"""Where a function's calls go when several revisions share them or have a tag."""

import asyncio
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from corral import link
from corral.link import RevisionDrop, RevisionPut, RoutePut, Synced
from corral.model import FunctionKey, Revision, RevisionId

from .stage import Instance, Response, Stage, play

ECHO = FunctionKey("default/echo")


def another(revision: Revision, number: int) -> Revision:
    return msgspec.structs.replace(revision, id=RevisionId(f"{revision.key}@{number}"), number=number)


async def beside(s: Stage, old: Revision, number: int) -> tuple[Revision, Instance]:
    """One more revision with an instance that answers its number; nothing goes to it yet."""
    revision = another(old, number)
    s.engine.say(RevisionPut.of(revision))
    return revision, await s.instance(revision, lambda call: call.answer(b"%d" % number))


def test_calls_are_shared_exactly(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        await s.instance(old, lambda call: call.answer(b"1"))
        new, _ = await beside(s, old, 2)
        s.engine.say(RoutePut(ECHO, [(old.id, 90), (new.id, 10)]))
        await s.until(lambda: ECHO in s.gateway.routes._splits)
        client = await s.client()
        answers = []
        for _ in range(100):
            client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
            answers.append((await client.response()).body)
        assert Counter(answers) == {b"1": 90, b"2": 10}
        assert set(answers[:11]) == {b"1", b"2"}, "spread, not ninety and then ten"

    play(tmp_path, scene)


def test_tag_leads_to_its_revision_whatever_its_share(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        await s.instance(old, lambda call: call.answer(b"1"))
        new, _ = await beside(s, old, 2)
        s.engine.say(RoutePut(ECHO, [(old.id, 100)], {"canary": new.id}))
        async with asyncio.timeout(5):
            while (await s.get("/function/echo@canary")).status == 404:
                pass
        assert (await s.get("/function/echo@canary/path?q=1")).body == b"2"
        assert (await s.get("/function/echo.default%40canary")).body == b"2"
        assert (await s.get("/function/echo")).body == b"1"
        missing = await s.get("/function/echo@nope")
        assert (missing.status, missing.error["message"]) == (404, "function default/echo has no tag 'nope'")
        assert (await s.get("/function/nope@canary")).error["message"] == "function default/nope does not exist"
        assert (await s.get("/function/echo@")).status == 404

    play(tmp_path, scene)


def test_held_calls_of_a_tag_follow_it_and_those_of_a_tag_that_went_are_told(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        new = another(old, 2)
        s.engine.say(RevisionPut.of(new), RoutePut(ECHO, [(old.id, 100)], {"moves": old.id, "goes": old.id}))
        await s.until(lambda: len(s.gateway.activator.lanes) == 2)
        asked = [asyncio.ensure_future(s.get(f"/function/echo{tag}")) for tag in ("@moves", "@goes", "")]
        await s.until(lambda: s.calls_in_pools() == 3)
        s.engine.say(RoutePut(ECHO, [(old.id, 100)], {"moves": new.id}))
        gone = await asked[1]
        assert (gone.status, gone.error["message"]) == (404, "function default/echo has no tag 'goes'")
        await s.instance(new, lambda call: call.answer(b"new"))
        assert (await asked[0]).body == b"new"
        await s.instance(old, lambda call: call.answer(b"old"))
        assert (await asked[2]).body == b"old", "its way has not changed"

    play(tmp_path, scene)


def test_held_calls_go_by_the_new_shares_when_their_revision_has_none(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        asked = [asyncio.ensure_future(s.get()) for _ in range(4)]
        await s.until(lambda: s.calls_in_pools() == 4)
        (second, _), (third, _) = await beside(s, old, 2), await beside(s, old, 3)
        s.engine.say(RoutePut(ECHO, [(second.id, 50), (third.id, 50)]), RevisionDrop(old.id))
        assert Counter([(await each).body for each in asked]) == {b"2": 2, b"3": 2}
        await s.until(lambda: old.id not in s.gateway.activator.lanes)

    play(tmp_path, scene)


def arrived(s: Stage) -> int:
    """Calls that were counted, told to the engine already or not."""
    told = [seen for message in s.engine.all(link.Observed) for seen in message.observations.values()]
    pools = [lane.pool for lane in s.gateway.activator.lanes.values() if lane.has_pool]
    return sum(seen.arrived for seen in (*told, *(pool.observe(monotonic()) for pool in pools)) if seen is not None)


async def moved(s: Stage, count: int, **spec: Any) -> tuple[Revision, list[asyncio.Future[Response]]]:
    """Calls that waited in a revision whose calls go to another from now on, which has no instance yet."""
    old = s.deploy(number=1, **spec)
    asked = []
    for place in range(count):
        asked.append(asyncio.ensure_future(s.get(f"/function/echo/{place}")))
        await s.until(lambda: s.calls_in_pools() == len(asked))
    new = another(old, 2)
    s.engine.say(RevisionPut.of(new), RoutePut(ECHO, [(new.id, 100)]), RevisionDrop(old.id))
    await s.until(lambda: old.id not in s.gateway.activator.lanes)
    return new, asked


def test_held_calls_that_move_count_once(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        asked = [asyncio.ensure_future(s.get()) for _ in range(3)]
        await s.until(lambda: s.calls_in_pools() == 3)
        new = another(old, 2)
        s.engine.say(RevisionPut.of(new), RoutePut(ECHO, [(new.id, 100)]))  # the old one is there still, with its count
        lanes = s.gateway.activator.lanes
        await s.until(lambda: new.id in lanes and lanes[new.id].has_pool)
        assert arrived(s) == 3
        await s.instance(new, lambda call: call.answer(b"new"))
        assert [(await each).body for each in asked] == [b"new"] * 3

    play(tmp_path, scene)


def test_held_calls_that_move_keep_their_order_and_are_not_too_many_for_the_queue(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        new, asked = await moved(s, 3, queue=3)
        smaller = msgspec.structs.replace(new, spec=msgspec.structs.replace(new.spec, queue=1), number=3)
        smaller = msgspec.structs.replace(smaller, id=RevisionId(f"{ECHO}@3"))
        s.engine.say(RevisionPut.of(smaller), RoutePut(ECHO, [(smaller.id, 100)]), RevisionDrop(new.id))
        instance = await s.instance(smaller, lambda call: call.answer())
        assert [(await each).status for each in asked] == [200] * 3
        assert [call.target for call in instance.calls] == ["/0", "/1", "/2"]

    play(tmp_path, scene)


def test_held_call_that_moves_waits_no_longer_than_its_limit_in_all(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        new, [asked] = await moved(s, 1, hold_s=20.0)
        lane = s.gateway.activator.lanes[new.id]
        [call] = lane.waiting()
        lane._carry_out(lane.pool.tick(call.arrived + 20.0))
        answer = await asked
        assert (answer.status, answer.error["code"]) == (503, "start_timeout")
        assert "within 20 s, its limit" in answer.error["message"]

    play(tmp_path, scene)


def test_engine_that_comes_back_in_the_middle_of_a_swap_changes_nothing_it_does_not_name(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        await s.instance(old, lambda call: call.answer(b"1"))
        _, trial = await beside(s, old, 2)
        await s.engine.hear(link.Ready, 2)
        await s.engine.stop()
        s.engine.heard.clear()
        await s.engine.start()
        await s.engine.hear(link.Holding)
        # It died before the new one was written down: it knows the old one alone.
        s.engine.say(RevisionPut.of(old), RoutePut(ECHO, [(old.id, 100)]), Synced(), link.Retire(trial.id))
        assert (await s.engine.hear(link.Released)).instance == trial.id
        assert set(s.gateway.activator.lanes) == {old.id}
        assert (await s.get()).body == b"1"

    play(tmp_path, scene)


def test_call_that_was_not_begun_in_a_revision_that_is_left_goes_to_the_new_one(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1, concurrency=2)
        first = await s.instance(old)
        asked = asyncio.ensure_future(s.get())
        await first.call()
        new, _ = await beside(s, old, 2)
        s.engine.say(RoutePut(ECHO, [(new.id, 100)]), RevisionDrop(old.id), link.Retire(first.id))
        await s.until(lambda: s.gateway.activator.lanes[old.id].closing)
        first.die()
        answer = await asked
        assert (answer.status, answer.body) == (200, b"2")
        assert arrived(s) <= 1, "it came once, and may have been counted in a pool that is gone"
        await s.until(lambda: old.id not in s.gateway.activator.lanes)

    play(tmp_path, scene)
