"""An archive as the folder it holds, so that its corral.toml counts and its mistakes are told before any is sent."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corral.package.archive import SUFFIXES, Limits, unpack

BESIDE = frozenset({"__MACOSX", ".DS_Store"})
"""What a desktop adds to an archive."""
LIMITS = Limits(bytes_max=1024 * 1024 * 1024, members_max=100_000)
"""At the client. What is deployed, the server limits."""


def stem(path: Path) -> str | None:
    """The archive's name without its suffix, which is the function's when nothing else says one; None: it is none."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and path.is_file():
            return path.name[: -len(suffix)]
    return None


@contextmanager
def opened(path: Path, handler: str | None) -> Iterator[Path]:
    """`path` itself, or the folder with the files of the archive that it is. `handler`: the one asked for, if any.
    Raises Invalid."""
    if stem(path) is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="corral-") as around:
        # Under the archive's own name: sentences about its files begin with it.
        folder = Path(around) / path.name
        folder.mkdir()
        unpack(path, folder, LIMITS)
        yield _begin(folder, handler)


def _begin(folder: Path, handler: str | None) -> Path:
    """Where the package begins: many tools put all there is into one folder, named after the project."""
    inner = [each for each in folder.iterdir() if each.name not in BESIDE]
    if len(inner) != 1 or not inner[0].is_dir() or (handler or "").startswith(f"{inner[0].name}/"):
        return folder
    return inner[0]
