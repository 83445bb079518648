"""`/recording`: what is told while somebody records, to whom, and within which bounds."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from corral import link
from corral.engine import recorder
from corral.engine.recorder import Recording
from corral.link import SeenCall
from corral.model import RevisionId
from corral.package.bundle import pack
from corral.race.recording import replayed

from .world import ADMIN, World, answer_of, world

F = RevisionId("default/f@1")
OTHER = RevisionId("shop/g@1")


@asynccontextmanager
async def deployed(path: Path) -> AsyncIterator[World]:
    (path / "app.py").write_text("def main(args): return args")
    async with world(path) as w:
        for name, namespace in (("f", "default"), ("g", "shop")):
            assert (await w.put(name, await w.upload(pack(path / "app.py"), namespace), namespace)).status == 201
        yield w


def called(revision: RevisionId, at: float = 1.0) -> SeenCall:
    return SeenCall(revision, at, 0.001, 0.02, False, 200)


async def read(w: World, path: str, *, seconds: float = 0.2, token: str = ADMIN) -> list[dict[str, Any]]:
    """The lines of a recording that ends by itself."""
    answer = await w.ask("GET", f"{path}?seconds={seconds}", token=token)
    assert answer.status == 200, answer
    return [json.loads(line) for line in answer.body.splitlines()]


def test_recording_holds_calls_and_events_and_replays_exactly(tmp_path: Path) -> None:
    async def scene() -> None:
        async with deployed(tmp_path) as w:
            reading = asyncio.create_task(read(w, "/recording"))
            await w.gateway.got(link.Record, where=lambda message: message.namespaces == ["*"])
            w.gateway.send(link.CallsSeen([called(F), called(OTHER)], 3))
            w.gateway.send(link.Want(F, 3, 0, 0.01, 1.0))
            w.gateway.send(link.Want(F, 3, 0, 0.2, 1.0))
            lines = await reading
            await w.gateway.got(link.Record, where=lambda message: not message.namespaces)
        head, state, *others = lines
        assert (head["corral_recording"], head["namespace"]) == (1, None)
        assert "state" in state
        assert [line["function"]["revision"] for line in others if "function" in line] == [F, OTHER]
        assert [line for line in others if "calls" in line] == [
            {"calls": [[F, 1.0, 0.001, 0.02, False, 200], [OTHER, 1.0, 0.001, 0.02, False, 200]], "left_out": 3}
        ]
        assert [line["event"] for line in others if "event" in line].count("want") == 2
        file = tmp_path / "recording"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        found = replayed(file)
        assert (found.difference, found.events >= 3, found.actions >= 2) == ("", True, True)

    asyncio.run(scene())


def test_recording_of_a_namespace_holds_its_calls_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with deployed(tmp_path) as w:
            token = (await w.ask("POST", "/tokens", b'{"label": "s", "namespaces": ["shop"], "manage": true}')).json[
                "token"
            ]
            reading = asyncio.create_task(read(w, "/namespaces/shop/recording", token=token))
            await w.gateway.got(link.Record, where=lambda message: message.namespaces == ["shop"])
            w.gateway.send(link.CallsSeen([called(F), called(OTHER)]), link.Want(F, 1, 0, 0.01, 1.0))
            head, *others = await reading
        assert head["namespace"] == "shop"
        assert [next(iter(line)) for line in others] == ["function", "calls"]
        assert others[1]["calls"] == [[OTHER, 1.0, 0.001, 0.02, False, 200]]
        assert "default" not in str(others)

    asyncio.run(scene())


@pytest.mark.parametrize("path", ["/recording", "/namespaces/default/recording"])
def test_recording_needs_the_rights_of_what_it_shows(tmp_path: Path, path: str) -> None:
    async def scene() -> None:
        async with world(tmp_path) as w:
            token = (await w.ask("POST", "/tokens", b'{"label": "s", "namespaces": ["shop"], "manage": true}')).json[
                "token"
            ]
            assert (await w.ask("GET", path, token=token)).status == 403
            assert (await w.ask("GET", path, token="wrong")).status == 401
            assert not w.gateway.all(link.Record)

    asyncio.run(scene())


def test_why_a_start_failed_is_not_recorded(tmp_path: Path) -> None:
    async def scene() -> None:
        async with deployed(tmp_path) as w:
            del w.gateway.answers[link.Assign]
            reading = asyncio.create_task(read(w, "/recording"))
            await w.gateway.got(link.Record)
            held = len(w.gateway.all(link.Assign))
            w.gateway.send(link.Want(F, 9, 1, 0.2, 1.0))
            instance = (await w.gateway.got(link.Assign, held + 1)).instance
            w.gateway.send(link.Failed(instance, "ValueError: the password is swordfish", "Traceback"))
            lines = await reading
        assert [line["args"][1] for line in lines if line.get("event") == "failed"] == ["not recorded"]
        assert "swordfish" not in str(lines)
        file = tmp_path / "recording"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert replayed(file).difference == ""

    asyncio.run(scene())


def test_reader_that_leaves_ends_its_recording(tmp_path: Path) -> None:
    async def scene() -> None:
        async with deployed(tmp_path) as w:
            reader, writer = await asyncio.open_unix_connection(str(w.api))
            fields = f"host: localhost\r\nauthorization: Bearer {ADMIN}\r\n"
            writer.write(f"GET /corral/v1/recording HTTP/1.1\r\n{fields}\r\n".encode())
            assert answer_of(await reader.readuntil(b"\r\n\r\n")).status == 200
            await w.gateway.got(link.Record, where=lambda message: message.namespaces == ["*"])
            writer.close()
            await w.gateway.got(link.Record, where=lambda message: not message.namespaces)

    asyncio.run(scene())


def test_a_gateway_that_comes_back_is_told_what_is_recorded(tmp_path: Path) -> None:
    async def scene() -> None:
        async with deployed(tmp_path) as w:
            reading = asyncio.create_task(read(w, "/recording", seconds=0.5))
            await w.gateway.got(link.Record)
            w.gateway.close()
            await w.gateway.gone()
            w.gateway = type(w.gateway)("g2")
            await w.gateway.connect(w.link)
            assert (await w.gateway.got(link.Record)).namespaces == ["*"]
            lines = await reading
        assert {"gateway_down", "gateway_up"} <= {line.get("event") for line in lines}

    asyncio.run(scene())


def test_reader_that_does_not_keep_up_loses_calls_first_and_then_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "KEPT_MAX_BYTES", 1000)
    recording = Recording(None)
    for _ in range(20):
        recording.add_calls([called(F)], 0)
    lines = [json.loads(line) for line in recording.take().splitlines()]
    assert 5 < len(lines) < 15
    recording.add_calls([called(F)], 0)
    assert json.loads(recording.take())["left_out"] == 20 - len(lines)
    for _ in range(100):
        recording.add(b'{"event":"tick","args":[1.0],"named":{},"actions":[]}\n')
    kept = recording.take().splitlines()
    assert recording.is_cut
    assert "not read as fast" in json.loads(kept[-1])["cut"]
    assert len(b"".join(kept)) < 1200


def test_only_so_many_record_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "READERS_MAX", 1)

    async def scene() -> None:
        async with deployed(tmp_path) as w:
            reading = asyncio.create_task(read(w, "/recording"))
            await w.gateway.got(link.Record)
            assert (await w.get("/recording")).status == 409
            await reading

    asyncio.run(scene())
