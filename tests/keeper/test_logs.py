import asyncio
import contextlib
import errno
import json
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from corral.clock import SystemClock
from corral.config import Keeper
from corral.keeper.logs import Logs
from corral.model import FunctionKey, InstanceId

KEY, OTHER = FunctionKey("default/hello"), FunctionKey("default/other")
ONE, TWO = InstanceId("one"), InstanceId("two")


class Room:
    """Logs that run, with what they reported."""

    def __init__(self, folder: Path, settings: Keeper) -> None:
        self.data = folder
        self.grown: list[FunctionKey] = []
        self.logs = Logs(folder, settings, None, self._grew, SystemClock())
        self._news = asyncio.Event()

    def _grew(self, key: FunctionKey) -> None:
        self.grown.append(key)
        self._news.set()

    def records(self, key: FunctionKey = KEY) -> list[dict[str, Any]]:
        folder = self.data / "logs" / key
        files = [folder / name for name in ("previous.jsonl", "current.jsonl")]
        return [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]

    def lines(self, key: FunctionKey = KEY) -> list[str]:
        return [record["line"] for record in self.records(key)]

    async def until(self, claim: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not claim():
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.01)


def play(folder: Path, scene: Callable[[Room], Awaitable[None]], **settings: Any) -> Room:
    async def run() -> Room:
        room = Room(folder, Keeper(**settings))
        service = asyncio.create_task(room.logs.run())
        try:
            await scene(room)
        finally:
            service.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await service
        return room

    return asyncio.run(run())


def test_lines_reach_the_disk_with_time_instance_and_request(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        fd = room.logs.open(ONE, KEY, None)
        os.write(fd, b"plain\n\x1er-1\x1ftagged\n")
        await room.until(lambda: len(room.lines()) == 2)
        room.logs.close(ONE)

    first, second = play(tmp_path, scene).records()
    assert (first["instance"], first["request"], first["line"]) == ("one", "", "plain")
    assert (second["request"], second["line"]) == ("r-1", "tagged")
    assert first["t"] > 1_700_000_000
    assert "source" not in first


def test_an_ended_instances_last_words_are_drained_and_returned(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        os.write(room.logs.open(ONE, KEY, None), b"first\nno space left for a sandbox")
        assert room.logs.close(ONE) == "no space left for a sandbox"
        room.logs.note(ONE, KEY, "crashed: ended by signal 11")
        await room.until(lambda: len(room.lines()) == 3)

    records = play(tmp_path, scene).records()
    assert [record["line"] for record in records] == [
        "first",
        "no space left for a sandbox",
        "crashed: ended by signal 11",
    ]
    assert [record.get("source") for record in records] == [None, None, "corral"]


def test_the_last_line_is_returned_although_it_was_read_long_before(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        os.write(room.logs.open(ONE, KEY, None), b"why it failed\n")
        await room.until(lambda: room.lines() == ["why it failed"])
        assert room.logs.close(ONE) == "why it failed"

    play(tmp_path, scene)


def test_a_flood_waits_in_its_pipe_while_a_neighbour_is_read(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        flood = room.logs.open(ONE, KEY, None)
        quiet = room.logs.open(TWO, OTHER, None)
        written, stop = [0], threading.Event()

        def pour() -> None:
            while not stop.is_set():
                written[0] += os.write(flood, b"y\n" * 500)

        author = threading.Thread(target=pour)
        author.start()
        try:
            await room.until(lambda: len(room.lines()) > 100)
            os.write(quiet, b"heard\n")
            await room.until(lambda: room.lines(OTHER) == ["heard"])
        finally:
            stop.set()
            os.set_blocking(flood, False)
            while author.is_alive():
                # Make room for the write it may hang in.
                await asyncio.to_thread(author.join, 0.01)
                room.logs.close(ONE)
        # One second's allowance, which 64 KiB of disk are here, and one pipe: not what its author would like to write.
        assert written[0] < 64 * 1024 + 20 * 4096

    play(tmp_path, scene, log_rate_kib_s=64)


def test_output_that_was_held_back_is_told_of_its_author_alone(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        flood, quiet = room.logs.open(ONE, KEY, None), room.logs.open(TWO, KEY, None)
        os.write(quiet, b"heard\n")
        os.set_blocking(flood, False)

        def pour() -> bool:
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(flood, b"y\n" * 500)
            return room.logs.held_back(ONE) != ""

        assert room.logs.held_back(ONE) == ""
        await room.until(pour)
        await room.until(lambda: pour() and "2 times" in room.logs.held_back(ONE))
        assert "what it printed waited 2 times" in room.logs.held_back(ONE)
        assert "the log takes 64 KiB/s of a function (keeper.log_rate_kib_s)" in room.logs.held_back(ONE)
        assert room.logs.held_back(TWO) == ""

    play(tmp_path, scene, log_rate_kib_s=64)


def test_a_flood_is_bounded_on_disk(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        for number in range(20):
            room.logs.open(ONE, KEY, None)
            for _ in range(500):
                room.logs.note(ONE, KEY, f"{number} " + "x" * 100)
            room.logs.close(ONE)
            await room.until(lambda: room.lines()[-1:] and room.lines()[-1].startswith(f"{number} "))  # noqa: B023
            assert sum(file.stat().st_size for file in _files(tmp_path)) <= 0.1 * 1024 * 1024

    play(tmp_path, scene, log_max_mib=0.1)


def test_followers_are_told_and_others_are_not(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        room.logs.follow(KEY, True)
        room.logs.note(ONE, KEY, "a")
        room.logs.note(ONE, OTHER, "b")
        await room.until(lambda: room.lines(OTHER) and room.grown)
        room.logs.follow(KEY, False)
        room.logs.note(ONE, KEY, "c")
        await room.until(lambda: room.lines() == ["a", "c"])

    assert play(tmp_path, scene).grown == [KEY]


def test_a_forgotten_log_is_removed_with_what_was_not_written_yet(tmp_path: Path) -> None:
    async def scene(room: Room) -> None:
        room.logs.note(ONE, KEY, "old")
        await room.until(lambda: room.lines() == ["old"])
        room.logs.note(ONE, KEY, "never written")
        room.logs.forget(KEY)
        await room.until(lambda: not _files(tmp_path))
        room.logs.note(ONE, KEY, "new")

    assert play(tmp_path, scene).lines() == ["new"]


def test_lines_a_full_disk_refused_are_counted_once_it_takes_lines_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(room: Room) -> None:
        journal = room.logs._journal
        append, refused = journal.append, asyncio.Event()
        loop = asyncio.get_running_loop()

        def refuse(*_: object) -> None:
            loop.call_soon_threadsafe(refused.set)
            raise OSError(errno.ENOSPC, "No space left on device")

        journal.append = refuse  # type: ignore[method-assign]
        for text in ("lost", "lost too"):
            refused.clear()
            room.logs.note(ONE, KEY, text)
            await asyncio.wait_for(refused.wait(), 10)
        journal.append = append  # type: ignore[method-assign]
        room.logs.note(ONE, KEY, "kept")
        await room.until(lambda: len(room.lines()) == 2)

    assert play(tmp_path, scene).lines() == ["kept", "2 lines before this one were lost: the disk refused them"]
    assert [record.message for record in caplog.records].count("log lines are lost") == 1


def test_all_descriptors_are_given_back(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))

    async def scene(room: Room) -> None:
        for _ in range(20):
            room.logs.open(ONE, KEY, None)
            room.logs.close(ONE)
        room.logs.note(ONE, KEY, "done")
        await room.until(room.lines)

    play(tmp_path, scene)
    assert len(os.listdir("/proc/self/fd")) == before


def _files(folder: Path) -> list[Path]:
    return [path for path in (folder / "logs").rglob("*") if path.is_file()] if (folder / "logs").exists() else []
