"""What gateway and keeper are told, in which order, and what a restart of either changes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from corral import link
from corral.config import Keeper as KeeperSettings
from corral.config import Settings
from corral.link import Hello
from corral.model import ExitCause, FunctionKey, FunctionSpec, InstanceId, Revision, RevisionId, SlotId
from corral.package.bundle import pack

from .world import DEADLINE_S, Gateway, Keeper, World, world

HELLO = RevisionId("default/hello@1")


def play(tmp_path: Path, scene: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with world(tmp_path, **options) as w:
            await scene(w)

    asyncio.run(run())


async def deployed(w: World, **spec: Any) -> None:
    (w.data / "app.py").write_text("def handle(event, context): return event")
    answer = await w.put("hello", await w.upload(pack(w.data / "app.py")), **spec)
    assert answer.status == 201, answer


async def zygote_is(w: World, sentence: str) -> None:
    """Until `describe` says so."""
    async with asyncio.timeout(DEADLINE_S):
        while (await w.get("/namespaces/default/functions/hello")).json["zygote"] != sentence:
            pass


def test_a_want_becomes_a_start_in_a_prepared_slot_and_its_assign(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w, initial=0)
        w.gateway.send(link.Want(HELLO, 1, 0, 0.001, waited=5.0))
        start, assign = await w.keeper.got(link.Start), await w.gateway.got(link.Assign)
        assert (start.slot, assign.address, assign.fresh) == ("s0", "unix:/run/s0", True)
        assert start.instance == assign.instance
        assert start.stamps["waited"] == 5.0
        assert start.stamps["decided"] > 0

    play(tmp_path, scene)


def test_a_revision_with_a_zygote_starts_in_a_bare_slot_and_another_where_a_child_waits(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w, initial=0)
        w.keeper.send(link.SlotReady(SlotId("bare"), "unix:/run/bare", is_bare=True))
        w.gateway.send(link.Want(HELLO, 1, 0, 0.001))
        assert (await w.keeper.got(link.Start)).slot == "s0"
        w.keeper.send(link.ZygoteKept(HELLO, 40.0, 0.3))
        await zygote_is(w, "kept: it saves 300 ms a start")
        w.gateway.send(link.Want(HELLO, 2, 0, 0.001))
        assert (await w.keeper.got(link.Start, 2)).slot == "bare"

    play(tmp_path, scene)


def test_describe_says_whether_a_revision_has_a_zygote_and_why_not(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w, initial=0)

        w.keeper.send(link.ZygoteKept(HELLO, 40.0, 0.3))
        await zygote_is(w, "kept: it saves 300 ms a start")
        w.keeper.send(link.ZygoteGone(HELLO, "importing it left 1 thread behind", is_unsafe=True))
        await zygote_is(w, "none: importing it left 1 thread behind")

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("isolation", "said"),
    [
        ("strict", "none: keeper.isolation = strict, so every instance loads its code by itself"),
        ("auto", "none: they need cgroups, which are not there"),
    ],
)
def test_describe_says_why_no_function_has_a_zygote(tmp_path: Path, isolation: str, said: str) -> None:
    async def scene(w: World) -> None:
        await deployed(w, initial=0)
        await zygote_is(w, said)

    play(tmp_path, scene, settings=Settings(keeper=KeeperSettings(isolation=isolation)))


def test_without_a_slot_the_assign_waits_for_started(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w, initial=2)
        w.keeper.answers.pop(link.Start)
        w.gateway.send(link.Want(HELLO, 1, 2, 0.001, waited=5.0))
        start = await w.keeper.got(link.Start, 3)
        assert start.slot is None
        assert len(w.gateway.all(link.Assign)) == 2
        w.keeper.started(start)
        assign = await w.gateway.got(link.Assign, 3)
        assert (assign.instance, assign.address) == (start.instance, f"unix:/run/{start.instance}")

    play(tmp_path, scene)


def test_an_exit_reaches_the_gateway_and_describe_with_its_cause(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w)
        instance = w.keeper.all(link.Start)[0].instance
        w.keeper.exit(instance, ExitCause.OUT_OF_MEMORY, "256 MiB were used up")
        gone = await w.gateway.got(link.Gone)
        assert (gone.instance, gone.cause, gone.detail) == (instance, ExitCause.OUT_OF_MEMORY, "256 MiB were used up")
        described = (await w.get("/namespaces/default/functions/hello")).json
        assert described["exits"][0]["cause"] == "out of memory"
        assert described["tier"] == "T1"
        parts = described["last_cold_start"]
        assert list(parts) == ["received", "forked", "dressed", "loaded", "ready"]
        assert parts["forked"] == pytest.approx(0.002)

    play(tmp_path, scene)


def test_a_new_engine_adopts_what_runs(tmp_path: Path) -> None:
    instances: list[InstanceId] = []

    async def before(w: World) -> None:
        await deployed(w)
        instances.append(w.keeper.all(link.Start)[0].instance)

    async def after(w: World) -> None:
        w.gateway = Gateway("g1", {HELLO: instances})
        w.keeper = Keeper("k1", {instances[0]: HELLO})
        await w.connect()
        described = (await w.get("/namespaces/default/functions/hello")).json
        assert [(each["instance"], each["state"]) for each in described["instances"]] == [(instances[0], "ready")]
        assert w.keeper.all(link.Stop) == w.keeper.all(link.Start) == []

    play(tmp_path, before)
    play(tmp_path, after, connected=False)


@pytest.mark.parametrize("first", ["gateway", "keeper"])
@pytest.mark.parametrize("is_held", [True, False])
def test_what_ended_while_the_engine_was_away_is_told_with_its_cause(tmp_path: Path, first: str, is_held: bool) -> None:
    instance = InstanceId("old-1")

    async def after(w: World) -> None:
        w.gateway = Gateway("g1", {HELLO: [instance]} if is_held else {})
        ended = link.Exited(instance, ExitCause.OUT_OF_MEMORY, "256 MiB were used up", revision=HELLO)
        w.keeper = Keeper("k1", exited=(ended,))
        for end in (w.gateway, w.keeper) if first == "gateway" else (w.keeper, w.gateway):
            await end.connect(w.link)
            await w.until_connected(end)
        gone = await w.gateway.got(link.Gone)
        assert (gone.instance, gone.cause) == (instance, ExitCause.OUT_OF_MEMORY)
        described = (await w.get("/namespaces/default/functions/hello")).json
        assert [each["cause"] for each in described["exits"]] == ["out of memory"]
        assert (described["instances"], w.keeper.all(link.Stop)) == ([], [])
        assert len(w.gateway.all(link.Gone)) == 1

    play(tmp_path, lambda w: deployed(w, initial=0))
    play(tmp_path, after, connected=False)


def test_what_ended_while_the_link_was_away_is_told_with_its_cause(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w)
        instance = w.keeper.all(link.Start)[0].instance
        w.keeper.close()
        await w.keeper.gone()
        ended = link.Exited(instance, ExitCause.OUT_OF_MEMORY, "256 MiB were used up", revision=HELLO)
        w.keeper = Keeper("k1", exited=(ended,))
        await w.keeper.connect(w.link)
        assert (await w.gateway.got(link.Gone)).cause is ExitCause.OUT_OF_MEMORY
        described = (await w.get("/namespaces/default/functions/hello")).json
        assert [each["cause"] for each in described["exits"]] == ["out of memory"]

    play(tmp_path, scene)


def test_a_new_engine_ends_what_belongs_to_nothing(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        stray = InstanceId("old-7")
        w.keeper = Keeper("k1", {stray: RevisionId("default/gone@3")})
        await w.connect()
        assert (await w.keeper.got(link.Stop)).instance == stray

    play(tmp_path, scene, connected=False)


def test_a_new_gateway_is_given_the_instances_of_the_one_before(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w)
        instance = w.keeper.all(link.Start)[0].instance
        w.gateway.close()
        await w.gateway.gone()
        w.gateway = Gateway("g2")
        await w.gateway.connect(w.link)
        assign = await w.gateway.got(link.Assign)
        assert (assign.instance, assign.fresh, assign.address) == (instance, False, "unix:/run/s0")
        order = [type(message).__name__ for message in w.gateway.received]
        assert order.index("RevisionPut") < order.index("RoutePut") < order.index("Synced") < order.index("Assign")

    play(tmp_path, scene)


def test_with_a_new_keeper_the_old_instances_are_gone_and_their_calls_know_why(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w, min=1)
        instance = w.keeper.all(link.Start)[0].instance
        w.keeper.close()
        await w.keeper.gone()
        w.keeper = Keeper("k2")
        await w.keeper.connect(w.link)
        gone = await w.gateway.got(link.Gone)
        assert (gone.instance, gone.cause) == (instance, ExitCause.KEEPER_LOST)
        assert (await w.keeper.got(link.Start)).instance != instance, "min = 1 is kept"

    play(tmp_path, scene)


def test_an_instance_that_broke_its_connection_and_lives_on_is_ended(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deployed(w)
        instance = w.keeper.all(link.Start)[0].instance
        w.gateway.send(link.Dropped(instance))
        assert await w.keeper.got(link.Stop) == link.Stop(instance, ExitCause.CRASHED)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "message",
    [link.Exited(InstanceId("i"), ExitCause.CRASHED, ""), link.SlotReady("s", "unix:/tmp/x")],  # type: ignore[arg-type]
)
def test_a_gateway_cannot_speak_as_the_keeper(
    tmp_path: Path, message: link.Message, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(w: World) -> None:
        w.gateway.send(message)
        await w.gateway.gone()

    play(tmp_path, scene)
    said = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert said[0].getMessage() == "link broken"
    assert vars(said[0])["peer"] == "gateway"
    assert f"sent {type(message).__name__}, which is not for it to say" in vars(said[0])["why"]
    assert not [record for record in said if record.name == "asyncio"], "a line, not a traceback"


def test_who_has_no_role_is_not_let_in(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        stranger = Gateway("x")
        stranger._link._hello = Hello("visitor", "x")
        await stranger.connect(w.link)
        await stranger.gone()
        assert stranger.all(link.RevisionPut) == []

    play(tmp_path, scene)


def test_logs_are_read_filtered_and_followed_over_a_rotation(tmp_path: Path) -> None:
    folder = tmp_path / "logs/default/hello"

    def written(*numbers: int, request: str = "r") -> bytes:
        lines = [{"t": float(n), "instance": "i", "request": f"{request}{n}", "line": f"line {n}"} for n in numbers]
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    async def scene(w: World) -> None:
        await deployed(w)
        folder.mkdir(parents=True)
        (folder / "previous.jsonl").write_bytes(written(1, 2))
        (folder / "current.jsonl").write_bytes(written(3, 4))
        path = "/namespaces/default/functions/hello/logs"
        tail = (await w.get(f"{path}?tail=3")).body
        assert [json.loads(line)["line"] for line in tail.splitlines()] == ["line 2", "line 3", "line 4"]
        one = (await w.get(f"{path}?request=r2")).body
        assert [json.loads(line)["line"] for line in one.splitlines()] == ["line 2"]
        assert (await w.get(f"{path}?tail=-1")).status == 400

        reader, writer = await asyncio.open_unix_connection(str(w.api))
        head = "host: localhost\r\nauthorization: Bearer admin-token\r\n\r\n"
        writer.write(f"GET /corral/v1{path}?tail=1&follow=1 HTTP/1.1\r\n{head}".encode())
        async with asyncio.timeout(5):
            await reader.readuntil(b"line 4")
            assert (await w.keeper.got(link.Follow)).on
            with (folder / "current.jsonl").open("ab") as file:
                file.write(written(5))
            (folder / "current.jsonl").rename(folder / "previous.jsonl")
            (folder / "current.jsonl").write_bytes(written(6) + b'{"t": 7, "li')
            w.keeper.send(link.LogGrew(FunctionKey("default/hello")))
            await reader.readuntil(b"line 5")
            await reader.readuntil(b"line 6")
            with (folder / "current.jsonl").open("ab") as file:
                file.write(b'ne": "line 7"}\n')
            w.keeper.send(link.LogGrew(FunctionKey("default/hello")))
            await reader.readuntil(b"line 7")
            writer.close()
            await writer.wait_closed()
            assert not (await w.keeper.got(link.Follow, 2)).on

    play(tmp_path, scene)


def test_calls_are_told_to_those_who_watch_them_and_asked_for_only_then(tmp_path: Path) -> None:
    key = FunctionKey("default/hello")

    def ended(request: str) -> link.CallEnded:
        return link.CallEnded(key, request, "GET", "/?a=1", 200, 0.0015)

    async def scene(w: World) -> None:
        await deployed(w)
        path = "/corral/v1/namespaces/default/functions/hello/logs?tail=0&follow=1&calls=1"
        reader, writer = await asyncio.open_unix_connection(str(w.api))
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer admin-token\r\n\r\n".encode())
        async with asyncio.timeout(5):
            assert await w.gateway.got(link.Watch) == link.Watch(key, True)
            w.gateway.send(ended("r1"))
            line = json.loads((await reader.readuntil(b"}}\n")).splitlines()[-1])
            assert (line["request"], line["call"]["path"], line["call"]["took_ms"]) == ("r1", "/?a=1", 1.5)
            # A new gateway knows of nobody.
            successor = Gateway("g2")
            await successor.connect(w.link)
            assert await successor.got(link.Watch) == link.Watch(key, True)
            successor.send(ended("r2"))
            await reader.readuntil(b'"r2"')
            writer.close()
            await writer.wait_closed()
            assert await successor.got(link.Watch, 2) == link.Watch(key, False)

    play(tmp_path, scene)


def test_gateway_learns_nothing_of_a_functions_environment() -> None:
    spec = FunctionSpec(env={"PASSWORD": "hunter2"})
    revision = Revision(
        id=RevisionId("default/hello@1"), namespace="default", name="hello", number=1, package="f" * 64, uid=123_456,
        spec=spec, created_at=0.0,
    )  # fmt: skip
    told = msgspec.json.encode(link.RevisionPut.of(revision)).decode()
    assert "default/hello@1" in told
    assert not any(secret in told for secret in ("hunter2", "PASSWORD", "ffff", "123456"))
