"""The engine comes, goes and comes back: routes, tokens and instances are a difference, warm calls never notice."""

import asyncio
import hashlib
from pathlib import Path
from time import monotonic

import msgspec
import pytest

from corral import link
from corral.contract import frame as wire
from corral.link import RevisionDrop, RevisionPut, RouteDrop, Synced, TokenPut
from corral.model import ExitCause, FunctionKey, InstanceId, RevisionId

from .stage import Stage, Taken, echo, play


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def test_unknown_route_before_the_first_sync_is_a_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.gateway.main.SYNC_WAIT_S", 0.05)

    async def scene(s: Stage) -> None:
        assert (await s.get("/healthz")).status == 200
        answer = await s.get()
        assert (answer.status, answer.header("retry-after")) == (503, "1")
        await s.engine.start()
        await s.engine.hear(link.Holding)
        s.engine.say(Synced())
        await s.until(lambda: s.gateway.routes.is_synced)
        assert (await s.get()).status == 404
        await s.engine.stop()

    play(tmp_path, scene, engine=False)


def test_connection_that_comes_before_the_routes_waits_for_them(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        asked = asyncio.ensure_future(s.get())
        await s.engine.start()
        await s.engine.hear(link.Holding)
        revision = s.deploy()
        await s.instance(revision, echo)
        s.engine.say(Synced())
        assert (await asked).status == 200
        await s.engine.stop()

    play(tmp_path, scene, engine=False)


def test_warm_calls_go_on_while_the_engine_is_away(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        await s.engine.stop()
        for _ in range(5):
            assert (await s.get()).status == 200
        managed = await s.get("/corral/v1/functions")
        assert (managed.status, managed.error["code"]) == (503, "unavailable")
        assert managed.header("retry-after") == "1"

    play(tmp_path, scene)


def test_reconnect_says_what_is_held_and_what_waits(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        instance = await s.instance(revision)
        first = asyncio.ensure_future(s.get())
        call = await instance.call()
        second = asyncio.ensure_future(s.get())
        await s.until(lambda: s.calls_in_pools() == 2)
        await s.engine.stop()
        s.engine.heard.clear()
        await s.engine.start()
        assert (await s.engine.hear(link.Holding)).instances == {revision.id: [instance.id]}
        want = await s.engine.hear(link.Want)
        assert (want.waiting, want.executing) == (1, 1)
        call.answer()
        (await instance.call(2)).answer()
        assert (await first).status == (await second).status == 200

    play(tmp_path, scene)


def test_what_is_not_named_until_synced_is_gone(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        stays, goes = s.deploy("stays"), s.deploy("goes", private=True)
        await s.instance(stays, echo)
        await s.instance(goes, echo)
        s.engine.say(TokenPut(digest("t"), ["*"], True))
        assert (await s.get("/function/goes", headers="Authorization: Bearer t\r\n")).status == 200
        await s.engine.stop()
        s.engine.heard.clear()
        await s.engine.start()
        await s.engine.hear(link.Holding)
        s.serve(stays)
        s.engine.say(Synced())
        async with asyncio.timeout(5):
            while (await s.get("/function/goes")).status != 404:
                pass
        assert (await s.get("/function/stays")).status == 200
        s.serve(goes)
        s.engine.say(Synced())
        async with asyncio.timeout(5):
            while (await s.get("/function/goes", headers="Authorization: Bearer t\r\n")).status == 404:
                pass
        assert (await s.get("/function/goes", headers="Authorization: Bearer t\r\n")).status == 401

    play(tmp_path, scene)


def test_held_calls_go_to_the_revision_that_serves_now(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        asked = asyncio.ensure_future(s.post(b"which?"))
        await s.until(lambda: s.calls_in_pools() == 1)
        new = s.deploy(number=2)
        await s.instance(new, lambda call: call.answer(b"new"))
        assert (await asked).body == b"new"
        await s.until(lambda: old.id not in s.gateway.activator.lanes)

    play(tmp_path, scene)


def test_growing_need_is_told_again_at_once_and_small_growth_soon(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(concurrency=1))
        asked = [asyncio.ensure_future(s.get())]
        call = await instance.call()
        # Held within the gap after a Want, with nothing else to happen: the timer alone tells of them.
        for count in range(1, 5):
            asked.append(asyncio.ensure_future(s.get()))
            async with asyncio.timeout(0.045):
                while not any(w.waiting == count for w in s.engine.all(link.Want)):
                    await s.engine.hear(link.Want, len(s.engine.all(link.Want)) + 1)
        instance.behave = echo
        call.answer()
        assert [(await one).status for one in asked] == [200] * 5

    play(tmp_path, scene)


def test_revision_that_serves_again_is_known_again(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        first = await s.instance(old)
        running = asyncio.ensure_future(s.get())
        call = await first.call()
        s.deploy(number=2)
        s.serve(old)
        held = asyncio.ensure_future(s.get())
        await s.until(lambda: s.calls_in_pools() == 2)
        call.answer(b"old")
        (await first.call(2)).answer(b"again")
        assert ((await running).body, (await held).body) == (b"old", b"again")
        assert old.id in s.gateway.activator.lanes

    play(tmp_path, scene)


def test_executing_calls_of_the_revision_before_go_on(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        first = await s.instance(old)
        asked = asyncio.ensure_future(s.get())
        call = await first.call()
        new = s.deploy(number=2)
        await s.instance(new, lambda c: c.answer(b"new"))
        assert (await s.get()).body == b"new"
        s.engine.say(link.Retire(first.id))
        call.answer(b"old")
        assert (await asked).body == b"old"
        assert (await s.engine.hear(link.Released)).instance == first.id
        await s.until(lambda: old.id not in s.gateway.activator.lanes)

    play(tmp_path, scene)


def test_revision_that_does_not_serve_yet_can_be_verified(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        await s.instance(old, lambda c: c.answer(b"old"))
        new = msgspec.structs.replace(old, id=RevisionId("default/echo@2"), number=2)
        s.engine.say(RevisionPut.of(new))
        trial = await s.instance(new, echo)
        assert (await s.engine.hear(link.Ready, 2)).instance == trial.id
        assert (await s.get()).body == b"old"
        s.engine.say(RevisionDrop(new.id), link.Retire(trial.id))
        assert (await s.engine.hear(link.Released)).instance == trial.id
        await s.until(lambda: new.id not in s.gateway.activator.lanes)
        assert (await s.get()).body == b"old"

    play(tmp_path, scene)


def test_dropped_function_is_a_404_for_held_and_new_calls(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        instance = await s.instance(revision)
        running = asyncio.ensure_future(s.get())
        call = await instance.call()
        held = asyncio.ensure_future(s.get())
        await s.until(lambda: s.calls_in_pools() == 2)
        s.engine.say(RouteDrop(FunctionKey("default/echo")))
        assert (await held).status == 404
        assert (await s.get()).status == 404
        call.answer(b"to the end")
        assert (await running).body == b"to the end"

    play(tmp_path, scene)


def test_deployment_under_verification_outlives_the_deletion_of_what_serves(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        old = s.deploy(number=1)
        new = msgspec.structs.replace(old, id=RevisionId("default/echo@2"), number=2)
        s.engine.say(RevisionPut.of(new), RouteDrop(FunctionKey("default/echo")))
        await s.until(lambda: old.id not in s.gateway.activator.lanes)
        assert (await s.get()).status == 404
        trial = await s.instance(new, echo)
        assert (await s.engine.hear(link.Ready)).instance == trial.id
        s.serve(new)
        s.engine.say(link.Retire(InstanceId("unknown")))
        await s.engine.hear(link.Released)  # the answer to the second, so the first was heard
        assert (await s.get()).status == 200
        assert 'corral_calls_total{namespace="default",function="echo",status="2xx"} 1' in "".join(
            s.gateway.stats.lines()
        )

    play(tmp_path, scene)


def test_idle_instances_are_released_longest_idle_first(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        first = await s.instance(revision, echo)
        second = await s.instance(revision, echo)
        await s.until(lambda: len(s.gateway.activator.instances) == 2)
        await s.get()
        idle = second if first.calls else first
        s.engine.say(link.Release(revision.id, 1))
        assert (await s.engine.hear(link.Released)).instance == idle.id
        async with asyncio.timeout(5):
            await idle.ended.wait()
        assert (await s.get()).status == 200
        assert s.engine.all(link.Dropped) == []

    play(tmp_path, scene)


def test_busy_instance_is_released_only_after_its_call(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        instance = await s.instance(revision)
        asked = asyncio.ensure_future(s.get())
        call = await instance.call()
        s.engine.say(link.Release(revision.id, 1), link.Retire(instance.id))
        call.answer(b"whole")
        assert (await asked).body == b"whole"
        assert (await s.engine.hear(link.Released)).instance == instance.id

    play(tmp_path, scene)


def test_adopted_instance_keeps_the_slots_of_earlier_calls_taken(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        instance = await s.instance(revision, fresh=False, hello={"version": 1, "in_flight": 1})
        asked = asyncio.ensure_future(s.get())
        await s.engine.hear(link.Ready)
        await s.until(lambda: s.calls_in_pools() == 2)
        assert instance.calls == []
        assert instance.peer is not None
        instance.peer.send(wire.END, wire.LAST, 0)
        (await instance.call()).answer()
        assert (await asked).status == 200

    play(tmp_path, scene)


def test_assignment_to_an_unknown_revision_is_given_back(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        s.engine.say(RouteDrop(revision.key))
        await s.until(lambda: not s.gateway.activator.lanes)
        instance = await s.instance(revision)
        assert (await s.engine.hear(link.Released)).instance == instance.id

    play(tmp_path, scene)


def test_gone_before_the_connection_broke_names_the_cause_too(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy())
        asked = asyncio.ensure_future(s.get())
        (await instance.call()).ack()
        s.engine.say(link.Gone(instance.id, ExitCause.CRASHED, "killed by signal 11"))
        answer = await asked
        assert answer.status == 502 and "killed by signal 11" in answer.error["message"]

    play(tmp_path, scene)


def test_one_second_is_observed_and_silent_ones_are_not(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        await s.instance(revision, echo)
        for _ in range(3):
            await s.get()
        s.gateway.activator.report(asyncio.get_running_loop().time())
        seen = (await s.engine.hear(link.Observed)).observations[revision.id]
        assert (seen.arrived, seen.completed, seen.completed_200, seen.failed) == (3, 3, 3, 0)
        for _ in range(3):
            s.gateway.activator.report(asyncio.get_running_loop().time())
        await s.get()
        assert len(s.engine.all(link.Observed)) == 1

    play(tmp_path, scene)


# -- who may call -------------------------------------------------------------------------------------------

BEARERS = {
    "none": ("", 401),
    "unknown": ("Authorization: Bearer nope\r\n", 401),
    "not a bearer": ("Authorization: Basic Z29vZA==\r\n", 401),
    "empty": ("Authorization: Bearer \r\n", 401),
    "of another namespace": ("Authorization: Bearer elsewhere\r\n", 403),
    "of the namespace": ("Authorization: Bearer good\r\n", 200),
    "of all namespaces": ("Authorization: bearer every\r\n", 200),
}


@pytest.mark.parametrize("header, status", BEARERS.values(), ids=BEARERS.keys())
def test_private_function_asks_for_a_token(tmp_path: Path, header: str, status: int) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(private=True), echo)
        s.engine.say(
            TokenPut(digest("good"), ["default"], True),
            TokenPut(digest("elsewhere"), ["other"], True),
            TokenPut(digest("every"), ["*"], True),
            TokenPut(digest("revoked"), ["*"], True),
            TokenPut(digest("revoked"), [], False),
        )
        await s.engine.hear(link.Ready)
        answer = await s.get(headers=header)
        assert answer.status == status
        assert (answer.header("www-authenticate") is not None) is (status == 401)
        assert (await s.get(headers="Authorization: Bearer revoked\r\n")).status == 401
        # The token was for the gateway: the function never sees it.
        assert all(call.header("authorization") is None for call in instance.calls)

    play(tmp_path, scene)


def test_public_function_gets_the_authorization_header(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), echo)
        await s.get(headers="Authorization: Bearer its-own\r\n")
        assert (await instance.call()).header("authorization") == "Bearer its-own"

    play(tmp_path, scene)


def test_with_auth_all_every_call_and_metrics_ask_for_a_token(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        s.engine.say(TokenPut(digest("t"), ["default"], True))
        await s.engine.hear(link.Ready)
        assert (await s.get()).status == 401
        assert (await s.get("/metrics")).status == 401
        assert (await s.get("/healthz")).status == 200
        assert (await s.get(headers="Authorization: Bearer t\r\n")).status == 200
        assert (await s.get("/metrics", headers="Authorization: Bearer t\r\n")).status == 200

    play(tmp_path, scene, auth="all")


def test_cold_start_is_counted_once_with_its_parts(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        now = monotonic() - 0.1
        stamps = {name: now + n / 1000 for n, name in enumerate(("waited", "decided", "received", "forked", "dressed"))}
        ready = {"style": "main", "is_async": False, "concurrency": 1, "stamps": stamps}
        await s.instance(revision, echo, ready=ready)
        await s.engine.hear(link.Ready)
        for _ in range(3):
            await s.get()
        page = (await s.get("/metrics")).body.decode()
        assert 'corral_cold_starts_total{namespace="default",function="echo"} 1\n' in page
        assert 'corral_calls_total{namespace="default",function="echo",status="2xx"} 3\n' in page
        for part in ("decided", "received", "forked", "dressed", "ready", "whole"):
            assert f'corral_cold_start_seconds_count{{part="{part}"}} 1\n' in page
        assert 'corral_call_duration_seconds_count{namespace="default",function="echo"} 3\n' in page

    play(tmp_path, scene)


def test_an_instance_is_a_cold_start_only_when_a_call_waited_for_it(tmp_path: Path) -> None:
    counted = 'corral_cold_starts_total{namespace="default",function="echo"}'

    async def scene(s: Stage) -> None:
        revision = s.deploy()
        await s.instance(revision, echo)
        await s.engine.hear(link.Ready)
        assert (await s.get()).status == 200
        assert f"{counted} 0\n" in (await s.get("/metrics")).body.decode(), "it was there before the call"

    async def after_a_back_off(s: Stage) -> None:
        revision = s.deploy()
        async with asyncio.TaskGroup() as group:
            call = group.create_task(s.get())
            await s.engine.hear(link.Want)
            await s.instance(revision, echo)
        assert call.result().status == 200
        assert f"{counted} 1\n" in (await s.get("/metrics")).body.decode(), "no stamp says so, but the call does"

    play(tmp_path, scene)
    play(tmp_path, after_a_back_off)


def test_slow_and_left_calls_leave_no_slot_behind(tmp_path: Path) -> None:
    """Clients that leave in every state of a call: the pool is empty at the end."""

    def slowly(call: Taken) -> None:
        asyncio.get_running_loop().call_later(0.01, call.answer)

    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), slowly)
        for pause in (0.0, 0.0, 0.005, 0.012):
            for _ in range(5):
                client = await s.client()
                client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
                await asyncio.sleep(pause)
                await client.close()
        await s.settled()
        assert (await s.get()).status == 200

    play(tmp_path, scene)
