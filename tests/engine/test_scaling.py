"""How functions are scaled, said and changed while they serve."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from corral import link
from corral.model import RevisionId
from corral.package.bundle import pack
from corral.policy import SCALERS, Decision, Rule, Settings, Situation, Terms

from .world import Answer, World, world

HELLO = "/namespaces/default/functions/hello"


def play(data: Path, *scenes: Callable[[World], Awaitable[None]]) -> None:
    """Each scene after a restart of the engine."""

    async def run() -> None:
        for scene in scenes:
            async with world(data) as w:
                await scene(w)

    asyncio.run(run())


async def deploy(w: World, tmp_path: Path, name: str = "hello", **spec: Any) -> Answer:
    source = tmp_path / "app.py"
    source.write_text("def handle(event, context): return event")
    answer = await w.put(name, await w.upload(pack(source)), **spec)
    assert answer.status in (200, 201), answer
    return answer


async def say(w: World, path: str, **value: Any) -> Answer:
    return await w.ask("PUT", path, json.dumps(value).encode())


async def scaling(w: World) -> dict[str, Any]:
    found: dict[str, Any] = (await w.get(f"{HELLO}/scaling")).json
    return found


def test_limit_set_live_counts_at_once(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deploy(w, tmp_path, initial=0)
        assert w.keeper.all(link.Start) == []
        assert (await say(w, f"{HELLO}/scaling", min=3)).json["min"] == 3
        await w.keeper.got(link.Start, 3)

    play(tmp_path, scene)


def test_what_was_set_live_survives_a_restart(tmp_path: Path) -> None:
    async def set_live(w: World) -> None:
        await deploy(w, tmp_path)
        await say(w, f"{HELLO}/scaling", max=7, scaling={"engine": "corral", "utilization_percent": 50})

    async def look(w: World) -> None:
        now = await scaling(w)
        assert (now["max"], now["settings"]["utilization_percent"], now["origin"]) == (7, 50, "live")

    play(tmp_path, set_live, look)


def test_what_was_set_live_stays_until_a_deployment_says_otherwise_than_the_one_before(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deploy(w, tmp_path, max=20)
        await say(w, f"{HELLO}/scaling", min=1, max=7)
        await deploy(w, tmp_path, max=20)
        now = await scaling(w)
        assert (now["min"], now["max"], now["live"]) == (1, 7, ["min", "max"])
        await deploy(w, tmp_path, max=30)
        now = await scaling(w)
        assert (now["min"], now["max"], now["live"]) == (1, 30, ["min"])

    play(tmp_path, scene)


def test_null_goes_back_to_what_the_deployment_says(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deploy(w, tmp_path, max=20)
        await say(w, f"{HELLO}/scaling", max=7)
        assert (await say(w, f"{HELLO}/scaling", max=None)).json["max"] == 20

    play(tmp_path, scene)


def test_deployment_that_does_not_fit_to_what_was_set_live_is_refused(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deploy(w, tmp_path)
        await say(w, f"{HELLO}/scaling", max=4)
        answer = await w.put("hello", (await w.get(HELLO)).json["package"], min=5)
        assert answer.status == 400
        assert answer.json["error"]["problems"] == [
            "min = 5, must not be above max = 4; max set while it served, see corral scaling"
        ]

    play(tmp_path, scene)


def test_every_mistake_is_named_with_what_is_allowed_and_nothing_changes(tmp_path: Path) -> None:
    wrong = {"engine": "corral", "utilization_percent": 7, "patience": 1}

    async def scene(w: World) -> None:
        await deploy(w, tmp_path)
        before = await scaling(w)
        answer = await say(w, f"{HELLO}/scaling", scaling=wrong, min=9, max=3)
        assert answer.status == 400
        assert answer.json["error"]["problems"] == [
            "min = 9, must not be above max = 3",
            "scaling.utilization_percent = 7, must be a number between 10 and 100 (engine corral)",
            "scaling.patience is no setting of it, "
            "must be one of second_gib_min, utilization_percent, double_after_s (engine corral)",
        ]
        assert await scaling(w) == before
        answer = await w.put("hello", (await w.get(HELLO)).json["package"], scaling=wrong)
        assert len(answer.json["error"]["problems"]) == 2

    play(tmp_path, scene)


def test_namespace_default_holds_for_functions_that_say_nothing_also_those_that_serve(tmp_path: Path) -> None:
    async def set_default(w: World) -> None:
        await deploy(w, tmp_path, initial=0)
        await deploy(w, tmp_path, "own", initial=0, scaling={"engine": "corral"})
        said = {"engine": "corral", "utilization_percent": 42}
        assert (await say(w, "/namespaces/default", scaling=said)).json["scaling"] == said
        assert (await scaling(w))["origin"] == "namespace"

    async def look(w: World) -> None:
        assert (await scaling(w))["settings"]["utilization_percent"] == 42
        own = (await w.get("/namespaces/default/functions/own/scaling")).json
        assert (own["origin"], own["settings"]["utilization_percent"]) == ("deployment", 70)
        await say(w, "/namespaces/default", scaling={})
        assert (await scaling(w))["origin"] == "default"

    play(tmp_path, set_default, look)


def test_namespace_default_is_checked_like_a_functions_own(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await say(w, "/namespaces/default", scaling={"engine": "corrall"})
        assert answer.status == 400
        assert answer.json["error"]["message"].endswith("; corral?")

    play(tmp_path, scene)


def test_describe_shows_the_last_decisions_with_what_they_were_made_from(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deploy(w, tmp_path, initial=0)
        w.gateway.send(link.Want(RevisionId("default/hello@1"), 2, 0, 0.001, 5.0))
        await w.keeper.got(link.Start)
        (decision,) = (await w.get(HELLO)).json["decisions"]
        assert (decision["desired"], decision["inputs"]["waiting"], decision["inputs"]["ready"]) == (1, 2, 0)
        assert decision["number"] == 1

    play(tmp_path, scene)


def test_gateways_learn_at_once_how_another_rule_spreads_calls(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await deploy(w, tmp_path, initial=0)
        assert [put.served.choose for put in w.gateway.all(link.RevisionPut)] == ["most_recent"]
        await say(w, f"{HELLO}/scaling", scaling={"engine": "knative"})
        put = await w.gateway.got(link.RevisionPut, 2)
        assert (put.served.id, put.served.choose) == ("default/hello@1", "knative")
        await say(w, f"{HELLO}/scaling", scaling={"engine": "knative", "window_s": 30}, max=5)
        assert len(w.gateway.all(link.RevisionPut)) == 2, "nothing that gateways go by has changed"

    play(tmp_path, scene)


def test_instances_that_a_rule_keeps_are_there_before_the_first_call_and_after_a_restart(tmp_path: Path) -> None:
    async def set_live(w: World) -> None:
        await deploy(w, tmp_path, initial=0)
        await say(w, f"{HELLO}/scaling", scaling={"engine": "openfaas", "min_awake": 2})
        await w.keeper.got(link.Start, 2)
        assert (await scaling(w))["min"] == 0

    async def look(w: World) -> None:
        await w.keeper.got(link.Start, 2)
        assert (await w.get(HELLO)).json["why"] == "its rule keeps 2"

    play(tmp_path, set_live, look)


class Thirsty(Settings, frozen=True):
    @property
    def needs_usage(self) -> bool:
        return True


class OneForEachCore:
    def __init__(self, terms: Terms) -> None:
        self._desired = 1

    def retune(self, terms: Terms) -> None: ...

    def decide(self, seen: Situation, now: float) -> Decision:
        if seen.usage is not None:
            self._desired = ceil(seen.usage.cpu_cores)
        return Decision(self._desired, None, "by cpu")


def test_what_instances_use_reaches_the_rule_that_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCALERS, "thirsty", Rule(Thirsty, OneForEachCore))

    async def scene(w: World) -> None:
        await deploy(w, tmp_path, max=3, scaling={"engine": "thirsty"})
        started = await w.keeper.got(link.Start)
        w.keeper.send(link.Used({started.instance: (1000.0, 10.0)}))
        await w.keeper.got(link.Start, 3)

    play(tmp_path, scene)
