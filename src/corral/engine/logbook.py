"""Functions' logs as the keeper leaves them: DATA/logs/NAMESPACE/NAME/{previous,current}.jsonl, one JSON a line."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from corral.model import FunctionKey

CHUNK = 256 * 1024


class Line(msgspec.Struct, frozen=True):
    """The part of a log line that reading decides by."""

    request: str | None = None


_decoder = msgspec.json.Decoder(Line)


class Logbook:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(
        self, key: FunctionKey, tail: int, request: str | None, grown: asyncio.Event | None
    ) -> AsyncIterator[bytes]:
        """The last `tail` lines, oldest first, each ended; of one request only when it is given. With `grown`, which
        is set when there is more, it goes on with what is written later, until the reader leaves."""
        reader = _Reader(self._folder / key)
        try:
            yield b"".join(await asyncio.to_thread(reader.tail, tail, request))
            while grown is not None:
                await grown.wait()
                grown.clear()
                yield b"".join(await asyncio.to_thread(reader.more, request))
        finally:
            reader.close()


class BuildLogs:
    """What installers wrote, as the keeper leaves it: DATA/builds/NAMESPACE/NAME.log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, key: FunctionKey) -> bytes | None:
        """Of the function's last installation; None: there was none."""
        return await asyncio.to_thread(self._read, key)

    def _read(self, key: FunctionKey) -> bytes | None:
        try:
            return (self._folder / f"{key}.log").read_bytes()
        except FileNotFoundError:
            return None


class _Reader:
    """Reads on over a rotation: the file that was current stays open until it is read to its end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._rest = b""
        """The beginning of a line whose end is not written yet."""

    def tail(self, count: int, request: str | None) -> list[bytes]:
        kept: deque[bytes] = deque(maxlen=count)
        for name in ("previous.jsonl", "current.jsonl"):
            self._open(name)
            kept.extend(self._lines(request))
        return list(kept)

    def more(self, request: str | None) -> list[bytes]:
        found = list(self._lines(request))
        if self._was_rotated():
            # What was written between the read and the rotation is still in the old file.
            found += self._lines(request)
            self._open("current.jsonl")
            found += self._lines(request)
        return found

    def _open(self, name: str) -> None:
        self.close()
        try:
            self._file = (self._folder / name).open("rb")
        except FileNotFoundError:
            self._file = None

    def _was_rotated(self) -> bool:
        try:
            now = (self._folder / "current.jsonl").stat()
        except FileNotFoundError:
            return False
        if self._file is None:
            return True
        mine = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)

    def _lines(self, request: str | None) -> Iterator[bytes]:
        while self._file is not None and (data := self._file.read(CHUNK)):
            *lines, self._rest = (self._rest + data).split(b"\n")
            yield from (line + b"\n" for line in lines if _is_of(line, request))

    def close(self) -> None:
        self._rest = b""
        if self._file is not None:
            self._file.close()
            self._file = None


def _is_of(line: bytes, request: str | None) -> bool:
    if request is None:
        return bool(line)
    try:
        return _decoder.decode(line).request == request
    except msgspec.MsgspecError:
        return False
