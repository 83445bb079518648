"""A file or folder turned into the tar that a server takes. Runs at the client.

The same contents give the same bytes on every machine: order, times, owners and modes are fixed."""

import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from corral.errors import Invalid
from corral.package.manifest import FILE

LEFT_OUT = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "__pycache__",
        ".venv",
        "venv",
        ".tox",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".idea",
        ".vscode",
    }
)
"""Folders that are nobody's code."""
NOISE = re.compile(r"\.env(\..+)?\Z|.*\.py[co]\Z|.*~\Z|\..*\.sw[a-z]\Z|\.#.*|#.*#\Z|4913\Z|\.DS_Store\Z")
"""Files that interpreters, editors and desktops leave beside one's own, often for a moment only; and those that hold
secrets for use on one's own machine, which a function has in its environment."""


def pack(path: Path) -> bytes:
    """The tar of a folder's contents, or of one file alone. Raises Invalid for what a package cannot hold."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        files = [(path.name, path)] if path.is_file() else sorted(_files(path))
        if not files:
            raise Invalid(f"path = {path}, must hold at least one file")
        for name, file in files:
            _add(tar, name, file)
    return out.getvalue()


def is_left_out(inside: Path) -> bool:
    """Whether a file at this place inside the folder is none of the package's: what happens to it changes nothing."""
    return NOISE.match(inside.name) is not None or not LEFT_OUT.isdisjoint(inside.parts)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    def unreadable(exc: OSError) -> None:
        raise Invalid(f"{exc.filename} cannot be read: {exc.strerror}")

    home = root.resolve()
    for folder, folders, names in os.walk(root, onerror=unreadable):
        for name in folders:
            if Path(folder, name).is_symlink() and name not in LEFT_OUT:
                raise Invalid(f"{Path(folder, name)} is a symbolic link to a folder; must be the folder itself")
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in names:
            file = Path(folder, name)
            inside = file.relative_to(root)
            if NOISE.match(name) or str(inside) == FILE:
                continue
            if not file.resolve().is_relative_to(home):
                raise Invalid(f"{file} is a link to something outside {root}; must be a copy of it")
            if not file.is_file():
                raise Invalid(f"{file} is no file; a package holds files and folders only")
            yield inside.as_posix(), file


def _add(tar: tarfile.TarFile, name: str, file: Path) -> None:
    try:
        content = file.read_bytes()
        executable = file.stat().st_mode & 0o100
    except OSError as exc:
        raise Invalid(f"{file} cannot be read: {exc.strerror}") from exc
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o755 if executable else 0o644
    tar.addfile(member, io.BytesIO(content))
