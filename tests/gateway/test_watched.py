"""Calls that somebody watches are told to the engine, and no others."""

from pathlib import Path

import pytest

from corral.gateway import watched
from corral.link import CallEnded, Watch
from corral.model import FunctionKey

from .stage import Stage, Taken, echo, play

ECHO = FunctionKey("default/echo")


async def watching(s: Stage, on: bool = True) -> None:
    s.engine.say(Watch(ECHO, on))
    await s.until(lambda: (ECHO in s.gateway.activator.watched.keys) is on)


def test_watched_call_is_told_with_what_was_asked_and_answered(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(), echo)
        await s.get()
        await watching(s)
        await s.post(b"{}", "/function/echo/x/y?q=1", headers="X-Request-Id: mine\r\n")
        told = await s.engine.hear(CallEnded)
        assert (told.key, told.request, told.method, told.path) == (ECHO, "mine", "POST", "/x/y?q=1")
        assert (told.status, told.is_whole, told.is_cold, told.left_out) == (200, True, False, 0)
        assert 0 < told.took_s < 10
        await watching(s, on=False)
        await s.get()
        await instance.call(3)
        assert len(s.engine.all(CallEnded)) == 1

    play(tmp_path, scene)


def test_call_that_waited_for_its_instance_is_told_as_cold(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        revision = s.deploy()
        await watching(s)
        client = await s.client()
        client.send(b"GET /function/echo HTTP/1.1\r\nHost: h\r\n\r\n")
        await s.until(lambda: s.calls_in_pools() == 1)
        await s.instance(revision, echo)
        assert (await client.response()).status == 200
        assert (await s.engine.hear(CallEnded)).is_cold

    play(tmp_path, scene)


def test_client_that_leaves_and_answer_that_breaks_off_are_told(tmp_path: Path) -> None:
    def half(call: Taken) -> None:
        if call.target == "/breaks":
            call.head(flags=0)
            call.part(b"half")
            call.raises("ValueError: no more")

    async def scene(s: Stage) -> None:
        instance = await s.instance(s.deploy(concurrency=2), half)
        await watching(s)
        client = await s.client()
        client.send(b"GET /function/echo/waits HTTP/1.1\r\nHost: h\r\n\r\n")
        await instance.call()
        await client.close()
        left = await s.engine.hear(CallEnded)
        assert (left.status, left.is_whole, left.path) == (499, False, "/waits")
        other = await s.client()
        other.send(b"GET /function/echo/breaks HTTP/1.1\r\nHost: h\r\n\r\n")
        cut = await s.engine.hear(CallEnded, 2)
        assert (cut.status, cut.is_whole, cut.path) == (500, False, "/breaks")

    play(tmp_path, scene)


def test_flood_is_told_in_part_and_the_rest_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(watched, "monotonic", lambda: now)
    monkeypatch.setattr(watched, "TOLD_PER_S", 2)

    async def scene(s: Stage) -> None:
        nonlocal now
        await s.instance(s.deploy(), echo)
        await watching(s)
        for _ in range(5):
            await s.get()
        now += 1
        await s.get()
        last = await s.engine.hear(CallEnded, 3)
        assert last.left_out == 3
        assert [told.left_out for told in s.engine.all(CallEnded)] == [0, 0, 3]

    play(tmp_path, scene)
