"""Logs on disk: DATA/logs/NAMESPACE/NAME/current.jsonl and previous.jsonl, each at most half of what a function may
keep. Everything here blocks, and is called from one thread at a time."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from corral.model import FunctionKey

CURRENT, PREVIOUS = "current.jsonl", "previous.jsonl"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Journal:
    def __init__(self, data: Path, half_bytes: int, reader_gid: int | None) -> None:
        """`reader_gid`: the group that may read; None: only ourselves."""
        self._data = data
        self._half_bytes = half_bytes
        self._reader_gid = reader_gid

    def append(self, key: FunctionKey, records: Sequence[bytes]) -> None:
        """Raises OSError when the disk refuses; then some of the records may be missing."""
        with self._open_folder(key) as folder:
            rest = list(records)
            while rest:
                rest = self._append_some(folder, rest)

    def _append_some(self, folder: int, records: list[bytes]) -> list[bytes]:
        """What fits into the current half; the others come back, for the next one."""
        fd = os.open(CURRENT, _APPEND, 0o640, dir_fd=folder)
        try:
            size = os.fstat(fd).st_size
            if size == 0 and self._reader_gid is not None:
                os.fchown(fd, -1, self._reader_gid)
                os.fchmod(fd, 0o640)
            count = _fitting(records, self._half_bytes - size)
            if count == 0 and size == 0:
                count = 1  # longer than a whole half: it still has to go somewhere
            _write_all(fd, b"".join(records[:count]))
        finally:
            os.close(fd)
        if count < len(records):
            os.rename(CURRENT, PREVIOUS, src_dir_fd=folder, dst_dir_fd=folder)
        return records[count:]

    def remove(self, key: FunctionKey) -> None:
        """Raises OSError when it is there and cannot be removed."""
        with self._open_folder(key) as folder:
            for file in (CURRENT, PREVIOUS):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file, dir_fd=folder)
        namespace, name = key.split("/")
        os.rmdir(self._data / "logs" / namespace / name)

    @contextlib.contextmanager
    def _open_folder(self, key: FunctionKey) -> Iterator[int]:
        """Step by step and through no symbolic link: the data folder is the engine's, and we may be root."""
        fd = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in ("logs", *key.split("/")):
                inner = self._step(fd, name)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)

    def _step(self, folder: int, name: str) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o750, dir_fd=folder)
        fd = os.open(name, _FOLDER, dir_fd=folder)
        if self._reader_gid is not None and os.fstat(fd).st_mode & 0o777 != 0o750:
            os.fchown(fd, -1, self._reader_gid)
            os.fchmod(fd, 0o750)
        return fd


def _fitting(records: Sequence[bytes], room: int) -> int:
    count = 0
    for record in records:
        room -= len(record)
        if room < 0:
            break
        count += 1
    return count


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
