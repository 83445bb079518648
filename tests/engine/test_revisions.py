"""Revisions in the engine: which calls go where, what gateway and keeper are told of it, and what stays."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from corral import link
from corral.engine import catalog, traffic
from corral.model import ExitCause, InstanceId, RevisionId
from corral.package.bundle import pack

from .world import Answer, Gateway, Keeper, World, world

HELLO = "/namespaces/default/functions/hello"


def play(data: Path, *scenes: Callable[[World], Awaitable[None]]) -> None:
    """Each scene after a restart of the engine."""

    async def run() -> None:
        for scene in scenes:
            async with world(data) as w:
                await scene(w)

    asyncio.run(run())


async def uploaded(w: World, version: int = 0) -> str:
    source = w.data / "app.py"
    source.write_text(f"VERSION = {version}\ndef handle(event, context): return event")
    return await w.upload(pack(source))


async def deploy(w: World, package: str, **more: Any) -> Answer:
    body = {"package": package, "spec": more.pop("spec", {})} | more
    return await w.ask("PUT", HELLO, json.dumps(body).encode())


async def deployed(w: World, count: int, **more: Any) -> str:
    """So many revisions of one package."""
    package = await uploaded(w)
    for _ in range(count):
        answer = await deploy(w, package, **more)
        assert answer.status in (200, 201), answer
    return package


async def change(w: World, **wanted: Any) -> Answer:
    return await w.ask("PATCH", f"{HELLO}/traffic", json.dumps(wanted).encode())


async def roll_back(w: World, **wanted: int) -> Answer:
    return await w.ask("POST", f"{HELLO}/rollback", json.dumps(wanted).encode())


async def listed(w: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await w.get(f"{HELLO}/revisions")).json["revisions"]
    return found


def shares(**percent: int) -> list[dict[str, int]]:
    return [{"number": int(name[1:]), "percent": value} for name, value in percent.items()]


def starts_of(w: World, number: int) -> list[InstanceId]:
    return [start.instance for start in w.keeper.all(link.Start) if start.revision.number == number]


def test_what_is_shown_of_revisions_traffic_and_rollback(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await deployed(w, 2, spec={"initial": 0})
        answer = await deploy(w, package, spec={"initial": 0}, tag="canary", no_traffic=True)
        assert (answer.json["number"], answer.json["percent"]) == (3, 0)
        first, second, third = reversed(await listed(w))
        assert first | {"created_at": 0.0} == {
            "number": 1, "revision": "default/hello@1", "created_at": 0.0, "package": package, "layer": None,
            "percent": 0, "tags": [], "instances": 0, "state": "kept",
        }  # fmt: skip
        assert (second["percent"], second["state"]) == (100, "serving")
        assert (third["tags"], third["state"]) == (["canary"], "tagged")
        now = [
            {"number": 1, "percent": 30, "tags": ["old"]},
            {"number": 2, "percent": 70, "tags": []},
            {"number": 3, "percent": 0, "tags": ["canary"]},
        ]
        changed = await change(w, shares=shares(r1=30, r2=70), tags={"old": 1})
        assert (changed.status, changed.json) == (200, {"name": "hello", "namespace": "default", "traffic": now})
        assert (await w.get(HELLO)).json["traffic"] == now
        assert (await w.get(HELLO)).json["number"] == 2, "that with the largest share"
        back = await roll_back(w)
        assert (back.status, back.json["traffic"]) == (200, [
            {"number": 1, "percent": 0, "tags": ["old"]},
            {"number": 2, "percent": 100, "tags": []},
            {"number": 3, "percent": 0, "tags": ["canary"]},
        ])  # fmt: skip

    play(tmp_path, scene)


def test_a_new_revision_takes_calls_when_it_has_as_many_instances_as_the_one_before(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await deployed(w, 1)
        w.gateway.send(link.Want(RevisionId("default/hello@1"), 3, 1, 0.001, 5.0))
        await w.keeper.got(link.Start, 2)
        have = len((await w.get(HELLO)).json["instances"])
        w.gateway.answers.pop(link.Assign)
        async with asyncio.TaskGroup() as group:
            second = group.create_task(deploy(w, package))
            await w.keeper.got(link.Start, have, lambda start: start.revision.number == 2)
            for instance in starts_of(w, 2)[1:]:
                w.gateway.ready(instance)
            await w.get("/status")
            assert len(w.gateway.all(link.RoutePut)) == 1, "one is not ready yet"
            w.gateway.ready(starts_of(w, 2)[0])
        assert second.result().status == 200
        assert len(starts_of(w, 2)) == have > 1

    play(tmp_path, scene)


def test_calls_move_with_fewer_instances_when_no_more_come(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await deployed(w, 1)
        w.gateway.send(link.Want(RevisionId("default/hello@1"), 3, 1, 0.001, 5.0))
        await w.keeper.got(link.Start, 2)
        w.gateway.answers.pop(link.Assign)
        async with asyncio.TaskGroup() as group:
            path = f"{HELLO}?timeout=0.3"
            second = group.create_task(w.ask("PUT", path, json.dumps({"package": package}).encode()))
            start = await w.keeper.got(link.Start, 1, lambda start: start.revision.number == 2)
            w.gateway.ready(start.instance)
        assert (second.result().status, second.result().json["percent"]) == (200, 100)

    play(tmp_path, scene)


def test_rollback_starts_instances_first_and_then_drains_what_is_left(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w, 2)
        second = starts_of(w, 2)[0]
        w.gateway.answers.pop(link.Assign)
        async with asyncio.TaskGroup() as group:
            back = group.create_task(roll_back(w))
            await w.keeper.got(link.Start, 2, lambda start: start.revision.number == 1)
            assert len(w.gateway.all(link.RoutePut)) == 2
            w.gateway.ready(starts_of(w, 1)[1])
        assert back.result().status == 200
        assert (await w.gateway.got(link.RoutePut, 3)).shares == [("default/hello@1", 100)]
        assert (await w.gateway.got(link.Retire, 1, lambda retire: retire.instance == second)).instance == second
        assert (await w.keeper.got(link.Stop, 1, lambda stop: stop.instance == second)).cause is ExitCause.REMOVED
        w.gateway.answers[link.Assign] = lambda message: w.gateway.ready(message.instance)
        assert (await deploy(w, (await w.get(HELLO)).json["package"])).json["number"] == 3

    play(tmp_path, scene)


def test_rollback_to_what_does_not_load_any_more_changes_nothing(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w, 2)
        w.gateway.answers[link.Assign] = lambda message: w.gateway.send(link.Failed(message.instance, "gone", ""))
        answer = await roll_back(w)
        assert (answer.status, answer.json["error"]["message"]) == (422, "gone")
        assert [each["percent"] for each in await listed(w)] == [100, 0]
        assert len(w.gateway.all(link.RoutePut)) == 2

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "rollback", {"to": 7}, 404, "revision 7 of default/hello is not kept, must be one of 1"),
        ("POST", "rollback", {"to": "1"}, 400, "to = '1', must be the number of a revision"),
        ("POST", "rollback", {}, 409, "default/hello has no revision to go back to, that had all its calls before"),
        ("PATCH", "traffic", {"shares": shares(r1=90)}, 400, "shares add up to 90 (90), must add up to 100"),
        ("PATCH", "traffic", {"shares": [*shares(r1=50), *shares(r1=50)]}, 400, "shares names a revision twice"),
        ("PATCH", "traffic", {"shares": {"1": 100}}, 400, "must be a list of number and percent"),
        ("PATCH", "traffic", {"weights": []}, 400, "weights: no such field, must be one of shares, tags"),
        ("PATCH", "traffic", {"tags": {"7": 1}}, 400, "tag = '7', must not be a number"),
        ("PATCH", "traffic", {"tags": {"old": None}}, 400, "tag 'old' is not there"),
        (
            "PATCH",
            "traffic",
            {"tags": {f"t{n}": 1 for n in range(101)}},
            400,
            "101 tags, must be at most 100 of a function",
        ),
        ("PATCH", "traffic", {}, 400, "must be an object with shares or tags"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_changes_nothing(
    tmp_path: Path, method: str, path: str, body: dict[str, Any], status: int, sentence: str
) -> None:
    async def scene(w: World) -> None:
        await deployed(w, 1, spec={"initial": 0})
        before = await listed(w)
        answer = await w.ask(method, f"{HELLO}/{path}", json.dumps(body).encode())
        assert (answer.status, sentence in answer.json["error"]["message"]) == (status, True), answer
        assert await listed(w) == before

    play(tmp_path, scene)


def test_the_first_revision_must_take_calls(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await deploy(w, await uploaded(w), no_traffic=True)
        assert answer.status == 400
        assert "has no other revision yet, so its first must take all calls" in answer.json["error"]["message"]
        assert w.keeper.all(link.Start) == []
        assert (await deploy(w, await uploaded(w))).status == 201, "its user and its package are free"

    play(tmp_path, scene)


def test_a_revision_without_traffic_proves_itself_and_leaves(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await deployed(w, 1)
        assert (await deploy(w, package, no_traffic=True)).status == 200
        [trial] = starts_of(w, 2)
        assert (await w.keeper.got(link.Stop, 1, lambda stop: stop.instance == trial)).cause is ExitCause.REMOVED
        assert [each["state"] for each in await listed(w)] == ["kept", "serving"]
        w.gateway.answers[link.Assign] = lambda message: w.gateway.send(link.Failed(message.instance, "no", ""))
        assert (await deploy(w, package, no_traffic=True)).status == 422
        assert len(await listed(w)) == 2

    play(tmp_path, scene)


def test_traffic_and_revisions_survive_a_restart(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def before(w: World) -> None:
        await deployed(w, 3, spec={"initial": 0})
        await change(w, shares=shares(r1=25, r3=75), tags={"middle": 2})
        seen.append((await listed(w), w.gateway.all(link.RoutePut)[-1]))

    async def after(w: World) -> None:
        assert (await listed(w), await w.gateway.got(link.RoutePut)) == seen[0]
        assert {put.served.id for put in w.gateway.all(link.RevisionPut)} == {f"default/hello@{n}" for n in (1, 2, 3)}
        back = await roll_back(w)
        assert [each["percent"] for each in back.json["traffic"]] == [0, 100]

    async def last(w: World) -> None:
        assert (await roll_back(w)).json["traffic"][0] == {"number": 2, "percent": 100, "tags": ["middle"]}

    play(tmp_path, before, after, last)


def test_the_eleventh_newest_goes_with_its_package_unless_calls_go_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "LEARNED_EVERY_S", 0.01)
    packages = tmp_path / "packages/default"

    async def scene(w: World) -> None:
        mine = [await uploaded(w, version) for version in range(traffic.REVISIONS_KEPT + 3)]
        for package in mine[:-2]:
            await deploy(w, package, spec={"initial": 0})
        await change(w, tags={"oldest": 2})
        assert [each["number"] for each in await listed(w)] == list(range(11, 1, -1))
        await w.until(lambda: mine[0] not in {path.name for path in packages.iterdir()})
        for package in mine[-2:]:
            await deploy(w, package, spec={"initial": 0})
        assert [each["number"] for each in await listed(w)] == [*range(13, 3, -1), 2]
        await w.until(lambda: {path.name for path in packages.iterdir()} == {mine[1], *mine[3:]})
        await change(w, tags={"oldest": None})
        await w.until(lambda: {path.name for path in packages.iterdir()} == set(mine[3:]))

    async def after_a_restart(w: World) -> None:
        assert [each["number"] for each in await listed(w)] == list(range(13, 3, -1))

    play(tmp_path, scene, after_a_restart)


def test_a_package_stays_while_an_instance_of_its_collected_revision_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "LEARNED_EVERY_S", 0.01)
    monkeypatch.setattr(traffic, "REVISIONS_KEPT", 1)
    packages = tmp_path / "packages/default"

    async def scene(w: World) -> None:
        old, new = await uploaded(w, 1), await uploaded(w, 2)
        await deploy(w, old)
        w.gateway.answers.pop(link.Retire)  # a call runs in it
        await deploy(w, new)
        third = await uploaded(w, 3)
        await deploy(w, third, spec={"initial": 0})
        assert [each["number"] for each in await listed(w)] == [3, 2]
        assert old in {path.name for path in packages.iterdir()}
        w.gateway.send(link.Released(starts_of(w, 1)[0]))
        await w.until(lambda: old not in {path.name for path in packages.iterdir()})

    play(tmp_path, scene)


def test_deletion_ends_all_revisions_and_frees_the_user(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w, 3)
        await change(w, shares=shares(r1=50, r3=50), tags={"middle": 2})
        assert (await w.ask("DELETE", HELLO)).status == 204
        assert (await w.gateway.got(link.RouteDrop)).key == "default/hello"
        running = {start.instance for start in w.keeper.all(link.Start)}
        await w.keeper.got(link.Stop, len(running))
        await w.until(lambda: {stop.instance for stop in w.keeper.all(link.Stop)} == running)
        assert (await w.get(f"{HELLO}/revisions")).status == 404
        uid = w.keeper.all(link.Start)[0].revision.uid
        other = await w.put("other", await uploaded(w))
        assert other.status == 201
        assert w.keeper.all(link.Start)[-1].revision.uid == uid

    async def after_a_restart(w: World) -> None:
        assert [each["name"] for each in (await w.get("/functions")).json["functions"]] == ["other"]

    play(tmp_path, scene, after_a_restart)


def test_a_rollback_overtakes_a_deployment_that_began_before(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await deployed(w, 2)
        w.gateway.answers.pop(link.Assign)
        async with asyncio.TaskGroup() as group:
            third = group.create_task(deploy(w, package))
            trial = await w.keeper.got(link.Start, 1, lambda start: start.revision.number == 3)
            back = group.create_task(roll_back(w))
            start = await w.keeper.got(link.Start, 2, lambda start: start.revision.number == 1)
            w.gateway.ready(start.instance)
        assert back.result().status == 200
        assert third.result().status == 409, "at once: its code never said that it has loaded"
        assert "calls were sent elsewhere meanwhile" in third.result().json["error"]["message"]
        assert (
            await w.keeper.got(link.Stop, 1, lambda stop: stop.instance == trial.instance)
        ).cause is ExitCause.REMOVED
        assert [(each["number"], each["percent"]) for each in await listed(w)] == [(2, 0), (1, 100)]

    play(tmp_path, scene)


def test_a_deployment_that_began_after_a_rollback_stands(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await deployed(w, 2)
        w.gateway.answers.pop(link.Assign)
        async with asyncio.TaskGroup() as group:
            back = group.create_task(roll_back(w))
            first = await w.keeper.got(link.Start, 2, lambda start: start.revision.number == 1)
            third = group.create_task(deploy(w, package))
            trial = await w.keeper.got(link.Start, 1, lambda start: start.revision.number == 3)
            w.gateway.ready(first.instance)
            await w.gateway.got(link.RoutePut, 3)
            w.gateway.ready(trial.instance)
        assert (back.result().status, third.result().status) == (200, 200)
        assert w.gateway.all(link.RoutePut)[-1].shares == [("default/hello@3", 100)]

    play(tmp_path, scene)


def test_engine_that_ended_before_the_swap_was_written_serves_the_old_and_gives_up_the_new(tmp_path: Path) -> None:
    old, new = InstanceId("a-1"), InstanceId("a-2")
    one, two = RevisionId("default/hello@1"), RevisionId("default/hello@2")

    async def before(w: World) -> None:
        await deployed(w, 1, spec={"initial": 0})

    async def run() -> None:
        async with world(tmp_path) as w:
            await before(w)
        async with world(tmp_path, connected=False) as w:
            w.gateway = Gateway("g1", {one: [old], two: [new]})
            w.keeper = Keeper("k1", {old: one, new: two})
            await w.connect()
            assert w.gateway.all(link.RoutePut)[0].shares == [(one, 100)]
            assert (await w.gateway.got(link.Retire)).instance == new
            assert (await w.keeper.got(link.Stop)).instance == new
            assert [each["instance"] for each in (await w.get(HELLO)).json["instances"]] == [old]

    asyncio.run(run())


def test_a_deployment_brings_no_more_tags_than_a_function_may_have(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await deployed(w, 1, spec={"initial": 0})
        assert (await change(w, tags={f"t{number}": 1 for number in range(100)})).status == 200
        refused = await deploy(w, package, spec={"initial": 0}, tag="one-more")
        assert (refused.status, refused.json["error"]["message"]) == (
            400,
            "101 tags, must be at most 100 of a function",
        )
        assert (await deploy(w, package, spec={"initial": 0}, tag="t7")).status == 200

    play(tmp_path, scene)
