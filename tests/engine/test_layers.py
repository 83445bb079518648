"""Dependencies as the engine sees them: asked for before the code is loaded, held while revisions need them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corral import link
from corral.config import Layers, Settings
from corral.package.bundle import pack

from .world import Keeper, World, world


def code(tmp_path: Path, requirements: str = "jinja2", text: str = "") -> bytes:
    folder = tmp_path / "code"
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(text + "def handle(event, context): return event")
    (folder / "requirements.txt").write_text(requirements)
    return pack(folder)


def play(tmp_path: Path, scene: Callable[[World], Awaitable[None]], settings: Settings | None = None) -> None:
    async def run() -> None:
        async with world(tmp_path, settings=settings) as w:
            w.keeper.answers[link.Build] = lambda message: w.keeper.send(link.Built(message.revision.id))
            await scene(w)

    asyncio.run(run())


def test_dependencies_are_there_before_the_code_is_loaded(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await w.put("hello", await w.upload(code(tmp_path)))
        assert answer.status == 201, answer
        build, start = w.keeper.all(link.Build)[0], w.keeper.all(link.Start)[0]
        assert w.keeper.received.index(build) < w.keeper.received.index(start)
        assert (build.source, build.requirements, build.constraints) == ("requirements.txt", "jinja2\n", "")
        assert answer.json["layer"] == build.revision.layer == start.revision.layer

    play(tmp_path, scene)


def test_a_function_without_dependencies_asks_for_none(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await w.put("hello", await w.upload(code(tmp_path, "# none\n")))
        assert (answer.status, answer.json["layer"]) == (201, None)
        assert not w.keeper.all(link.Build)

    play(tmp_path, scene)


def test_changed_code_needs_the_same_layer(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        first = await w.put("hello", await w.upload(code(tmp_path)))
        second = await w.put("hello", await w.upload(code(tmp_path, text="x = 1\n")))
        assert first.json["package"] != second.json["package"]
        assert first.json["layer"] == second.json["layer"]
        assert not w.keeper.all(link.LayerDrop)

    play(tmp_path, scene)


def test_a_failed_installation_is_the_deployers_fault_and_changes_nothing(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        before = await w.put("hello", await w.upload(code(tmp_path, "")))
        w.keeper.answers[link.Build] = lambda message: w.keeper.send(
            link.Built(message.revision.id, "No solution found", "line 1\nline 2")
        )
        answer = await w.put("hello", await w.upload(code(tmp_path)))
        assert answer.status == 422
        assert answer.json["error"]["code"] == "build_failed"
        sentence = "the dependencies of requirements.txt could not be installed: No solution found"
        assert answer.json["error"]["message"] == sentence
        assert answer.json["error"]["output"] == "line 1\nline 2"
        serving = await w.get("/namespaces/default/functions/hello")
        assert serving.json["number"] == before.json["number"]
        dropped = await w.keeper.got(link.LayerDrop)
        assert dropped.layer == w.keeper.all(link.Build)[0].revision.layer

    play(tmp_path, scene)


def test_of_several_functions_each_is_named(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        w.keeper.answers[link.Build] = lambda message: w.keeper.send(link.Built(message.revision.id, "no", "output"))
        body = json.dumps({"functions": [{"name": name, "package": package} for name in ("a", "b")]}).encode()
        answer = await w.ask("POST", "/namespaces/default/functions", body)
        assert (answer.status, answer.json["error"]["code"]) == (422, "build_failed")
        assert {line.split(":")[0] for line in answer.json["error"]["message"].splitlines()} == {
            "functions.a",
            "functions.b",
        }

    play(tmp_path, scene)


def test_a_keeper_that_goes_ends_the_deployment_with_a_sentence(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        w.keeper.answers[link.Build] = lambda message: w.keeper.close()
        answer = await w.put("hello", await w.upload(code(tmp_path)))
        assert answer.status == 503
        assert answer.json["error"]["message"].startswith("the keeper ended while it installed the dependencies")
        assert (await w.get("/namespaces/default/functions/hello")).status == 404

    play(tmp_path, scene)


def test_without_a_keeper_nothing_can_be_installed(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        w.keeper.close()
        async with asyncio.timeout(5.0):
            while (await w.get("/status")).json["connected"]["keeper"]:
                pass
        answer = await w.put("hello", package)
        assert answer.status == 503 and "the keeper is away" in answer.json["error"]["message"]

    play(tmp_path, scene)


def test_a_layer_goes_with_the_last_revision_that_needs_it(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        for name in ("one", "two"):
            assert (await w.put(name, package)).status == 201
        layer = w.keeper.all(link.Build)[0].revision.layer
        await w.ask("DELETE", "/namespaces/default/functions/one")
        await w.until(lambda: True)
        assert not w.keeper.all(link.LayerDrop)
        await w.ask("DELETE", "/namespaces/default/functions/two")
        assert (await w.keeper.got(link.LayerDrop)).layer == layer

    play(tmp_path, scene)


def test_a_keeper_is_told_of_all_layers_that_are_needed(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        assert (await w.keeper.got(link.LayersKept)).layers == {}
        layer = (await w.put("hello", await w.upload(code(tmp_path)))).json["layer"]
        again = Keeper("k2")
        w.keeper.close()
        await again.connect(w.link)
        assert (await again.got(link.LayersKept)).layers == {"default": [layer]}
        again.close()

    play(tmp_path, scene)


def test_layers_of_stored_functions_are_needed_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as w:
            w.keeper.answers[link.Build] = lambda message: w.keeper.send(link.Built(message.revision.id))
            layer = (await w.put("hello", await w.upload(code(tmp_path)))).json["layer"]
        async with world(tmp_path) as w:
            assert (await w.keeper.got(link.LayersKept)).layers == {"default": [layer]}
            assert (await w.get("/namespaces/default/functions/hello")).json["layer"] == layer

    asyncio.run(run())


@pytest.mark.parametrize(
    ("install", "requirements", "why"),
    [
        ("none", "a\nb\n", "requirements.txt names 2 requirements, must be empty: layers.install = none"),
        ("wheels", "a @ https://example.com/a.whl", "names an address, a path or an option, must hold names"),
        ("wheels", "--index-url https://example.com/simple\na", "names an address, a path or an option"),
        ("source", "-r ../other.txt", "requirements.txt line 1: ../other.txt, must be a file of the package"),
    ],
)
def test_what_this_server_does_not_install_is_refused(
    tmp_path: Path, install: str, requirements: str, why: str
) -> None:
    async def scene(w: World) -> None:
        answer = await w.put("hello", await w.upload(code(tmp_path, requirements)))
        assert answer.status == 400 and why in answer.json["error"]["message"], answer
        assert not w.keeper.all(link.Build)

    play(tmp_path, scene, Settings(layers=Layers(install=install)))


def test_what_the_index_has_is_installed_where_only_wheels_are(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        assert (await w.put("hello", await w.upload(code(tmp_path, "a==1\nb>=2")))).status == 201

    play(tmp_path, scene, Settings(layers=Layers(install="wheels")))
