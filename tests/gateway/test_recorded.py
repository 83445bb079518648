"""Calls of namespaces that somebody records are told to the engine, in batches and without what they carried."""

from pathlib import Path

import pytest

from corral.gateway import recorded
from corral.link import CallEnded, CallsSeen, Record, SeenCall

from .stage import Stage, echo, play


async def recording(s: Stage, *namespaces: str) -> None:
    s.engine.say(Record(list(namespaces)))
    await s.until(lambda: s.gateway.activator.watched.recorded.namespaces == set(namespaces))


def seen(s: Stage) -> list[SeenCall]:
    return [call for message in s.engine.all(CallsSeen) for call in message.calls]


@pytest.mark.parametrize("namespaces", [("default",), ("*",), ("other", "default")])
def test_calls_that_end_together_are_told_together(tmp_path: Path, namespaces: tuple[str, ...]) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        await s.instance(revision, echo)
        await s.get()
        await recording(s, *namespaces)
        await s.post(b"{}", "/function/echo/secret?q=1")
        await s.get()
        told = (await s.engine.hear(CallsSeen)).calls
        assert [(call.revision, call.is_cold, call.status) for call in told] == [(revision.id, False, 200)] * 2
        assert all(0 <= call.wait_s < 1 and 0 < call.service_s < 5 for call in told)
        assert told[0].arrived < told[1].arrived
        assert "secret" not in str(s.engine.all(CallsSeen))
        assert not s.engine.all(CallEnded), "nobody watches"

    play(tmp_path, scene)


def test_nothing_is_told_of_other_namespaces_or_when_nobody_records_any_more(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        await recording(s, "other")
        await s.get()
        await recording(s, "default")
        await s.get()
        await recording(s)
        await s.get()
        await s.engine.hear(CallsSeen)
        assert len(seen(s)) == 1, "the batch that was begun goes out when recording ends"
        assert s.gateway.activator.watched.told is s.gateway.activator.watched.keys

    play(tmp_path, scene)


def test_call_that_waited_for_its_instance_has_its_wait_apart(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        await recording(s, "*")
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
        await s.until(lambda: s.calls_in_pools() == 1)
        await s.instance(revision, echo)
        assert (await client.response()).status == 200
        [call] = (await s.engine.hear(CallsSeen)).calls
        assert call.is_cold
        assert call.wait_s > 0

    play(tmp_path, scene)


def test_call_that_nobody_served_has_waited_all_its_time(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        s.deploy()
        await recording(s, "*")
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
        await s.until(lambda: s.calls_in_pools() == 1)
        await client.close()
        [call] = (await s.engine.hear(CallsSeen)).calls
        assert (call.service_s, call.is_cold, call.status) == (0.0, False, 499)
        assert call.wait_s > 0

    play(tmp_path, scene)


def test_flood_is_told_in_part_and_the_rest_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "TOLD_PER_S", 2)
    monkeypatch.setattr(recorded, "monotonic", lambda: 1000.0)

    async def scene(s: Stage) -> None:
        await s.instance(s.deploy(), echo)
        await recording(s, "*")
        for _ in range(5):
            await s.get()
        await recording(s)
        await s.engine.hear(CallsSeen)
        assert len(seen(s)) + sum(message.left_out for message in s.engine.all(CallsSeen)) == 5
        assert len(seen(s)) == 2

    play(tmp_path, scene)
