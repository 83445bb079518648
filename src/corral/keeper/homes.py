"""A folder of a namespace's within one of ours, opened so that nobody can put another one in its place."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def open_home(around: Path, namespace: str, mode: int, gid: int | None = None) -> Iterator[int]:
    """Its descriptor; it is made when it is missing. Step by step and through no symbolic link: the data folder is the
    engine's, and we may be root. `gid`: the group it is given, None leaves it. Raises OSError."""
    fd = os.open(around, FOLDER)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(1, f"{around} belongs to somebody else")
        with contextlib.suppress(FileExistsError):
            os.mkdir(namespace, mode, dir_fd=fd)
        inner = os.open(namespace, FOLDER, dir_fd=fd)
    finally:
        os.close(fd)
    try:
        if gid is not None:
            os.fchown(inner, -1, gid)
        os.fchmod(inner, mode)  # whatever our umask is
        yield inner
    finally:
        os.close(inner)
