"""Deployments, from the request to what gateway and keeper are told."""

import asyncio
from pathlib import Path

from corral import link
from corral.package.bundle import pack

from .world import World, world


def code(tmp_path: Path, text: str = "def handle(event, context): return event") -> bytes:
    source = tmp_path / "app.py"
    source.write_text(text)
    return pack(source)


def test_a_deployed_function_has_loaded_and_serves(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as w:
            package = await w.upload(code(tmp_path))
            answer = await w.put("hello", package)
            assert answer.status == 201, answer
            view = answer.json
            assert (view["name"], view["number"], view["style"], view["instances"]) == ("hello", 1, "handle", 1)
            start = await w.keeper.got(link.Start)
            assert start.revision.package == package
            routes = w.gateway.all(link.RoutePut)
            assert [put.serving for put in routes] == [False, False, True], "known, then loaded, then serving"
            assert routes[-1].revision.style == "handle"
            listed = (await w.get("/functions")).json["functions"]
            assert [each["revision"] for each in listed] == ["default/hello@1"]

    asyncio.run(run())
