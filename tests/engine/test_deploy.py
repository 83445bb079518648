"""Deployments, from the request to what gateway and keeper are told."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from corral import link
from corral.config import Keeper as KeeperSettings
from corral.config import Settings
from corral.engine import catalog, traffic
from corral.errors import StoreFailed
from corral.model import ExitCause, InstanceId, RevisionId
from corral.package.bundle import pack
from corral.policy import SCALERS, Decision, Rule, Situation, Terms
from corral.policy.settings import Settings as NoSettings
from corral.ports import StoredFunction

from .world import Keeper, World, world


def code(tmp_path: Path, text: str = "def handle(event, context): return event") -> bytes:
    source = tmp_path / "app.py"
    source.write_text(text)
    return pack(source)


def play(tmp_path: Path, scene: Callable[[World], Awaitable[None]], **options: Settings) -> None:
    async def run() -> None:
        async with world(tmp_path, **options) as w:  # type: ignore[arg-type]
            await scene(w)

    asyncio.run(run())


def load_fails(w: World) -> None:
    """From now on no code loads."""
    w.gateway.answers[link.Assign] = lambda message: w.gateway.send(
        link.Failed(message.instance, "ModuleNotFoundError: no module named 'warp'", "Traceback: line 1")
    )


def test_a_deployed_function_has_loaded_and_serves(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        answer = await w.put("hello", package)
        assert answer.status == 201, answer
        view = answer.json
        assert (view["name"], view["number"], view["style"], view["instances"]) == ("hello", 1, "handle", 1)
        start = await w.keeper.got(link.Start)
        assert start.revision.package == package
        told = [type(message).__name__ for message in w.gateway.received]
        assert told.index("RevisionPut") < told.index("Assign") < told.index("RoutePut"), (
            "calls come when it has loaded"
        )
        assert w.gateway.all(link.RoutePut)[-1].shares == [("default/hello@1", 100)]
        listed = (await w.get("/functions")).json["functions"]
        assert [each["revision"] for each in listed] == ["default/hello@1"]

    play(tmp_path, scene)


def test_a_second_deployment_takes_over_and_the_first_is_drained(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        await w.put("hello", package)
        first = (await w.keeper.got(link.Start)).instance
        answer = await w.put("hello", package, memory_mib=64)
        assert (answer.status, answer.json["number"]) == (200, 2)
        assert (await w.gateway.got(link.Retire)).instance == first
        assert await w.keeper.got(link.Stop) == link.Stop(first, ExitCause.REMOVED)
        second = w.keeper.all(link.Start)[1].revision
        assert second.uid == w.keeper.all(link.Start)[0].revision.uid, "one user for each function"

    play(tmp_path, scene)


def test_code_that_does_not_load_leaves_the_old_revision_serving_and_nothing_else(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        await w.put("hello", package)
        load_fails(w)
        answer = await w.put("hello", package)
        assert answer.status == 422
        assert answer.json["error"] == {
            "code": "load_failed",
            "message": "ModuleNotFoundError: no module named 'warp'",
            "traceback": "Traceback: line 1",
        }
        assert (await w.gateway.got(link.RevisionDrop)).revision == "default/hello@2"
        assert (await w.get("/namespaces/default/functions/hello")).json["number"] == 1
        assert [put.shares for put in w.gateway.all(link.RoutePut)] == [[("default/hello@1", 100)]]

    play(tmp_path, scene)
    play(tmp_path, lambda w: only_the_first_is_stored(w))


async def only_the_first_is_stored(w: World) -> None:
    assert [each["number"] for each in (await w.get("/functions")).json["functions"]] == [1]


def test_a_new_function_that_does_not_load_does_not_exist(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        load_fails(w)
        w.keeper.answers.pop(link.Stop)
        package = await w.upload(code(tmp_path))
        assert (await w.put("hello", package)).status == 422
        assert (await w.get("/namespaces/default/functions/hello")).status == 404
        failed = w.keeper.all(link.Start)[0].instance
        await w.keeper.got(link.Stop, where=lambda stop: stop.instance == failed)
        await log_goes_after(w, failed)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("cause", "status", "sentence"),
    [
        (ExitCause.OUT_OF_MEMORY, 422, "ended while it loaded the code (out of memory): 256 MiB were used up"),
        (ExitCause.CRASHED, 422, "ended while it loaded the code (crashed): 256 MiB were used up"),
        (ExitCause.START_FAILED, 503, "256 MiB were used up"),
    ],
)
def test_an_instance_that_dies_before_it_is_ready_says_why(
    tmp_path: Path, cause: ExitCause, status: int, sentence: str
) -> None:
    async def scene(w: World) -> None:
        w.gateway.answers.pop(link.Assign)
        w.keeper.answers[link.Start] = lambda start: w.keeper.exit(start.instance, cause, "256 MiB were used up")
        answer = await w.put("hello", await w.upload(code(tmp_path)))
        assert answer.status == status
        assert sentence in answer.json["error"]["message"]

    play(tmp_path, scene)


def test_code_that_never_finishes_loading_is_refused_in_time(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        w.gateway.answers.pop(link.Assign)
        answer = await w.put("hello", await w.upload(code(tmp_path)), query="?timeout=0.1")
        assert answer.status == 422
        assert "did not finish loading within 0.1 s" in answer.json["error"]["message"]
        await w.keeper.got(link.Stop)

    play(tmp_path, scene)


def test_with_the_keeper_away_a_deployment_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, connected=False) as w:
            answer = await w.put("hello", await w.upload(code(tmp_path)), query="?timeout=0.1")
            assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
            assert (await w.put("hello", await w.upload(code(tmp_path)), initial=0)).status == 201

    asyncio.run(run())


def test_initial_0_deploys_without_loading(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await w.put("hello", await w.upload(code(tmp_path)), initial=0)
        assert (answer.status, answer.json["style"], answer.json["instances"]) == (201, None, 0)
        assert w.keeper.all(link.Start) == []
        assert (await w.gateway.got(link.RoutePut)).shares == [("default/hello@1", 100)]

    play(tmp_path, scene)


def test_what_the_first_load_shows_is_kept_for_good(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)), initial=0)
        commits = w.store.commits
        w.gateway.answers[link.Assign] = lambda message: w.gateway.ready(message.instance, is_async=True)
        w.gateway.send(link.Want("default/hello@1", 1, 0, 0.001, 5.0))  # type: ignore[arg-type]
        learned = await w.gateway.got(link.RevisionPut, where=lambda put: put.served.concurrency > 1)
        assert learned.served.concurrency == 100
        assert (await w.get("/namespaces/default/functions/hello")).json["is_async"]
        await w.until(lambda: w.store.commits > commits)

    async def after_a_restart(w: World) -> None:
        assert (await w.get("/namespaces/default/functions/hello")).json["style"] == "handle"

    play(tmp_path, scene)
    play(tmp_path, after_a_restart)


def test_what_the_first_load_shows_is_kept_when_the_store_fails_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "LEARNED_EVERY_S", 0.01)

    async def scene(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)), initial=0)
        commits, put, tries = w.store.commits, w.store.put_functions, 0

        async def failing_once(functions: Iterable[StoredFunction]) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise StoreFailed("the disk is full")
            await put(functions)

        monkeypatch.setattr(w.store, "put_functions", failing_once)
        w.gateway.send(link.Want(RevisionId("default/hello@1"), 1, 0, 0.001, 5.0))
        await w.until(lambda: w.store.commits > commits)
        assert tries == 2

    async def after_a_restart(w: World) -> None:
        assert (await w.get("/namespaces/default/functions/hello")).json["style"] == "handle"

    play(tmp_path, scene)
    play(tmp_path, after_a_restart)


def test_fifty_first_loads_do_not_wait_for_the_disk_fifty_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "LEARNED_EVERY_S", 0.05)
    names = [f"f{place}" for place in range(50)]

    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        wanted = [{"name": name, "package": package, "spec": {"initial": 0}} for name in names]
        await w.ask("POST", "/namespaces/default/functions", json.dumps(wanted).encode())
        told = len(w.gateway.all(link.RevisionPut))
        batches: list[int] = []
        put = w.store.put_functions

        async def counted(functions: Iterable[StoredFunction]) -> None:
            batch = list(functions)
            await put(batch)
            batches.append(len(batch))

        monkeypatch.setattr(w.store, "put_functions", counted)
        w.gateway.send(*(link.Want(RevisionId(f"default/{name}@1"), 1, 0, 0.001, 5.0) for name in names))
        await w.until(lambda: sum(batches) == len(names))
        assert len(batches) <= 10
        assert len(w.gateway.all(link.RevisionPut)) == told, "nothing that gateways go by has changed"

    async def after_a_restart(w: World) -> None:
        listed = (await w.get("/functions")).json["functions"]
        assert {each["name"]: each["style"] for each in listed} == dict.fromkeys(names, "handle")

    play(tmp_path, scene)
    play(tmp_path, after_a_restart)


def test_a_later_start_is_given_the_code_of_the_first(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        w.gateway.answers[link.Assign] = lambda message: w.gateway.ready(message.instance, b"marshal")
        await w.put("hello", await w.upload(code(tmp_path)))
        w.gateway.send(link.Want("default/hello@1", 1, 1, 0.001, 5.0))  # type: ignore[arg-type]
        assert w.keeper.all(link.Start)[0].code is None
        assert (await w.keeper.got(link.Start, 2)).code == b"marshal"

    play(tmp_path, scene)


class TwoForEach:
    """A scaler of somebody else's: two instances for each call that waits."""

    def __init__(self, terms: Terms) -> None:
        self._desired = 0

    def retune(self, terms: Terms) -> None:
        """It has nothing to set."""

    def decide(self, seen: Situation, now: float) -> Decision:
        self._desired = max(self._desired, 2 * seen.waiting)
        return Decision(self._desired, None, f"two for each of {seen.waiting} waiting calls")


def test_each_function_names_its_scaler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCALERS, "twice", Rule(NoSettings, TwoForEach))

    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        assert (await w.put("hello", package, initial=0, scaling={"engine": "twice"})).status == 201
        w.gateway.send(link.Want(RevisionId("default/hello@1"), 2, 0, 0.001, 5.0))
        await w.keeper.got(link.Start, 4)
        described = (await w.get("/namespaces/default/functions/hello")).json
        assert (described["scaling"]["engine"], described["why"]) == ("twice", "two for each of 2 waiting calls")

    play(tmp_path, scene)


def test_a_scaler_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await w.put("hello", await w.upload(code(tmp_path)), scaling={"engine": "carrol"})
        assert answer.status == 400
        assert answer.json["error"]["message"].startswith("scaling.engine = 'carrol', must be one of corral")

    play(tmp_path, scene)


def test_delete_ends_routes_instances_and_log(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)))
        w.keeper.answers.pop(link.Stop)
        assert (await w.ask("DELETE", "/namespaces/default/functions/hello")).status == 204
        assert (await w.gateway.got(link.RouteDrop)).key == "default/hello"
        assert (await w.keeper.got(link.Forget)).key == "default/hello"
        stop = await w.keeper.got(link.Stop)
        assert stop.cause == ExitCause.REMOVED
        await log_goes_after(w, stop.instance)
        assert (await w.ask("DELETE", "/namespaces/default/functions/hello")).status == 404
        assert (await w.put("hello", await w.upload(code(tmp_path)))).json["number"] == 2, "numbers are not used twice"

    play(tmp_path, scene)


async def log_goes_after(w: World, instance: InstanceId) -> None:
    """When nothing writes to it any more: otherwise the instance's last lines would begin it anew."""
    before = len(w.keeper.all(link.Forget))
    w.keeper.exit(instance, ExitCause.REMOVED)
    assert (await w.keeper.got(link.Forget, before + 1)).key == "default/hello"


def test_the_log_of_a_deployment_that_replaced_another_stays(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        for _ in range(2):
            await w.put("hello", await w.upload(code(tmp_path)))
        first = w.keeper.all(link.Start)[0].instance
        assert (await w.keeper.got(link.Stop)).instance == first
        await w.until_metrics_say('corral_instance_exits_total{cause="removed"} 1')
        assert w.keeper.all(link.Forget) == []

    play(tmp_path, scene)


def test_a_log_that_could_not_be_removed_goes_when_the_keeper_is_back(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)), initial=0)
        w.keeper.close()
        await w.keeper.gone()
        while (await w.get("/status")).json["connected"]["keeper"]:
            pass
        assert (await w.ask("DELETE", "/namespaces/default/functions/hello")).status == 204
        w.keeper = Keeper("k1")
        await w.keeper.connect(w.link)
        assert (await w.keeper.got(link.Forget)).key == "default/hello"

    play(tmp_path, scene)


def test_a_function_deleted_while_it_is_deployed_stays_deleted(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        await w.put("hello", package)
        w.gateway.answers.pop(link.Assign)
        async with asyncio.TaskGroup() as group:
            second = group.create_task(w.put("hello", package))
            await w.keeper.got(link.Start, 2)
            await w.ask("DELETE", "/namespaces/default/functions/hello")
            # At once: its code never says that it has loaded.
        assert second.result().status == 409
        assert "was deleted while it was being deployed" in second.result().json["error"]["message"]
        assert (await w.get("/functions")).json["functions"] == []

    play(tmp_path, scene)


def test_of_two_deployments_at_once_the_later_one_stands(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        w.gateway.answers.pop(link.Assign)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(w.put("hello", package))
            one = await w.keeper.got(link.Start)
            second = group.create_task(w.put("hello", package))
            two = await w.keeper.got(link.Start, 2)
            w.gateway.ready(two.instance)
            await w.gateway.got(link.RoutePut)
            w.gateway.ready(one.instance)
        assert (first.result().status, second.result().status) == (409, 201)
        assert "deployed again meanwhile, as revision 2" in first.result().json["error"]["message"]

    play(tmp_path, scene)


def test_many_are_deployed_all_or_none(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        good = [{"name": f"f{place}", "package": package, "spec": {}} for place in range(5)]
        bad = {"name": "broken", "package": package, "spec": {}}
        w.gateway.answers[link.Assign] = lambda message: (
            w.gateway.send(link.Failed(message.instance, "SyntaxError: f.py line 3", "here"))
            if message.revision.startswith("default/broken@")
            else w.gateway.ready(message.instance)
        )
        path = "/namespaces/default/functions"
        answer = await w.ask("POST", path, json.dumps([*good, bad]).encode())
        assert answer.status == 422
        assert answer.json["error"]["message"] == "functions.broken: SyntaxError: f.py line 3"
        assert (await w.get("/functions")).json["functions"] == []
        good[4]["spec"] = {"initial": 0}
        answer = await w.ask("POST", path, json.dumps({"functions": good}).encode())
        assert answer.status == 200
        assert [each.get("load_s", 0) > 0 for each in answer.json["functions"]] == [True] * 4 + [False]
        assert [each["name"] for each in answer.json["functions"]] == ["f0", "f1", "f2", "f3", "f4"]

    play(tmp_path, scene)


def test_every_mistake_of_every_function_is_in_one_answer(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        wanted = [
            {"name": "Bad_Name", "package": "f" * 64, "spec": {"memory_mib": -1, "cpu": 0}},
            {"name": "twice", "package": "nothing", "spec": {"min": 5, "max": 2}},
            {"name": "twice", "package": "nothing", "spec": {}},
        ]
        answer = await w.ask("POST", "/namespaces/default/functions", json.dumps(wanted).encode())
        assert answer.status == 400
        said = "\n".join(answer.json["error"]["problems"])
        for part in ("'Bad_Name', must be a DNS label", "memory_mib = -1", "cpu = 0", "min = 5", "'twice' twice"):
            assert part in said
        assert said.count("must be one uploaded to namespace 'default'") == 3
        assert w.keeper.all(link.Start) == []

    play(tmp_path, scene)


def test_a_package_of_another_namespace_is_not_found(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path), namespace="theirs")
        answer = await w.put("hello", package)
        assert answer.status == 400
        assert "must be one uploaded to namespace 'default'" in answer.json["error"]["message"]

    play(tmp_path, scene)


def test_used_up_users_are_refused_and_come_back(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        for name in ("one", "two"):
            assert (await w.put(name, package, initial=0)).status == 201
        answer = await w.put("three", package, initial=0)
        assert answer.status == 409
        assert "all 2 users of the range are in use" in answer.json["error"]["message"]
        await w.ask("DELETE", "/namespaces/default/functions/one")
        assert (await w.put("three", package, initial=0)).status == 201

    play(tmp_path, scene, settings=Settings(keeper=KeeperSettings(uid_count=4)))


def test_a_thousand_functions_are_deployed_at_once_and_loaded_again(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        wanted = [{"name": f"f{place}", "package": package, "spec": {"initial": 0}} for place in range(1000)]
        answer = await w.ask("POST", "/namespaces/default/functions", json.dumps(wanted).encode())
        assert answer.status == 200
        assert len({put.key for put in w.gateway.all(link.RoutePut)}) == 1000

    async def after_a_restart(w: World) -> None:
        assert len((await w.get("/functions")).json["functions"]) == 1000
        assert len(w.gateway.all(link.RoutePut)) == 1000

    play(tmp_path, scene)
    play(tmp_path, after_a_restart)


def test_a_superseded_package_is_removed_when_no_function_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "LEARNED_EVERY_S", 0.01)
    monkeypatch.setattr(traffic, "REVISIONS_KEPT", 1)

    async def scene(w: World) -> None:
        shared, alone, before, last = [await w.upload(code(tmp_path, f"x = {number}")) for number in range(4)]
        packages = tmp_path / "packages/default"
        await w.put("neighbour", shared)
        for package in (shared, alone, before, last):
            await w.put("hello", package)
        await w.until(lambda: {path.name for path in packages.iterdir()} == {shared, before, last})
        await w.keeper.got(link.Stop, 3)  # all that were superseded
        w.keeper.answers.pop(link.Stop)
        for name in ("hello", "neighbour"):
            await w.ask("DELETE", f"/namespaces/default/functions/{name}")
        stops = [await w.keeper.got(link.Stop, number) for number in (4, 5)]
        assert {path.name for path in packages.iterdir()} >= {shared, last}, "its instance may still read it"
        for stop in stops:
            w.keeper.exit(stop.instance, stop.cause)
        await w.until(lambda: not list(packages.iterdir()))

    play(tmp_path, scene)


def test_what_could_not_be_deployed_can_be_tried_again_without_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "LEARNED_EVERY_S", 0.01)

    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        load_fails(w)
        assert (await w.put("hello", package)).status == 422
        await w.until(lambda: len(w.keeper.all(link.Stop)) > 0)
        removed = await w.upload(code(tmp_path, "x = 2"))
        await w.put("other", removed, initial=0)
        await w.ask("DELETE", "/namespaces/default/functions/other")
        await w.until(lambda: [path.name for path in (tmp_path / "packages/default").iterdir()] == [package])
        assert (await w.put("hello", package, initial=0)).status == 201

    play(tmp_path, scene)


def test_uploads_nobody_deployed_are_gone_after_a_restart(tmp_path: Path) -> None:
    kept, gone = [], []

    async def scene(w: World) -> None:
        kept.append(await w.upload(code(tmp_path)))
        gone.append(await w.upload(code(tmp_path, "x = 2")))
        await w.put("hello", kept[0])

    async def after_a_restart(w: World) -> None:
        assert [path.name for path in (tmp_path / "packages/default").iterdir()] == kept

    play(tmp_path, scene)
    play(tmp_path, after_a_restart)
