"""The developer's files: which functions they are now, and when they have changed."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import watchfiles

from corral.errors import CorralError, Invalid
from corral.package.bundle import LEFT_OUT, is_left_out, pack
from corral.package.manifest import FILE, Deployment, read_deployments
from corral.package.opened import stem

QUIET_MS = 20
"""Files that are saved together count as one change: so long nothing more happened."""
PATIENCE_MS = 200
"""A flood of changes is taken up after this time, over or not."""
LOOK_MS = 250
"""So often the watcher looks up: whether the folder is still the same one, and the server still there."""


class Wanted(msgspec.Struct, frozen=True):
    """A function as its files and settings say it shall be."""

    deployment: Deployment
    content: bytes
    """Its package as a tar."""
    digest: str
    """Of package and settings: equal means nothing to do."""


class Source:
    """What stands at `path`: a file, a folder, or a folder with a corral.toml."""

    def __init__(self, path: Path, namespace: str | None) -> None:
        """Raises Invalid when there is nothing at `path`."""
        if not path.exists():
            raise Invalid(f"path = {path}, must be a file or folder; there is none")
        if stem(path) is not None:
            raise Invalid(f"path = {path} is an archive, must be a file or folder that you write in")
        self.path = path
        self._namespace = namespace
        self._file = None if path.is_dir() else path.name
        # A file is watched by its folder: editors put a new file in its place, which a watch of the old one misses.
        self._folder = path.absolute() if path.is_dir() else path.absolute().parent

    def read(self) -> list[Wanted]:
        """The functions, by what the files say at this moment. Raises Invalid."""
        name = None if self._file is None and (self.path / FILE).is_file() else name_of(self.path)
        deployments = read_deployments(self.path, name, self._namespace, {})
        packed = {path: pack(path) for path in {each.path for each in deployments}}
        return [_wanted(each, packed[each.path]) for each in deployments]

    def changes(self) -> Iterator[bool]:
        """True when files may have changed, for the first time soon after the watching began; False every LOOK_MS
        besides. For ever. Raises CorralError when the machine allows no more watches."""
        while True:
            watched = self._identity()
            if watched is None:
                time.sleep(LOOK_MS / 1000)
                yield False
                continue
            for changed in self._watch():
                yield changed
                if self._identity() != watched:
                    break  # another folder stands there now, or none

    def _watch(self) -> Iterator[bool]:
        """Until there are other folders than when it began."""
        folders = self._folders()
        # What was saved before the watching began is seen by looking once more.
        is_first = True
        try:
            for changes in watchfiles.watch(
                *folders,
                watch_filter=self._is_ours,
                recursive=False,  # which would go through symbolic links, and end at a folder that it may not read
                debounce=PATIENCE_MS,
                step=QUIET_MS,
                rust_timeout=LOOK_MS,
                yield_on_timeout=True,
            ):
                has_changed = bool(changes) or is_first
                yield has_changed
                is_first = False
                if has_changed and self._folders() != folders:
                    return
        except FileNotFoundError:
            return  # one went away meanwhile
        except OSError as exc:
            raise CorralError(
                f"{self._folder} cannot be watched: {exc.strerror or exc}; if it holds very many folders, "
                "a higher fs.inotify.max_user_watches helps (sysctl)"
            ) from exc

    def _folders(self) -> set[Path]:
        """Those whose files count and that can be read."""
        if self._file is not None:
            return {self._folder}
        found = {self._folder}
        for folder, inner, _ in os.walk(self._folder):
            found.add(Path(folder))
            inner[:] = [name for name in inner if name not in LEFT_OUT]
        return found

    def _is_ours(self, change: watchfiles.Change, changed: str) -> bool:
        inside = Path(changed).relative_to(self._folder)
        return not is_left_out(inside) if self._file is None else str(inside) == self._file

    def _identity(self) -> tuple[int, int] | None:
        """Of the folder that is watched; None: there is none."""
        try:
            found = self._folder.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _wanted(deployment: Deployment, content: bytes) -> Wanted:
    # What does not load shall be seen now, also where the owner wants deployments unverified.
    spec = msgspec.structs.replace(deployment.spec, initial=max(deployment.spec.initial, 1))
    deployment = msgspec.structs.replace(deployment, spec=spec)
    said = msgspec.json.encode([deployment.namespace, deployment.name, spec])
    return Wanted(deployment, content, hashlib.sha256(said + content).hexdigest())


def name_of(path: Path) -> str:
    """A function's name for a file or folder that says none: its own, as far as a name may be so."""
    stem = path.absolute().stem if path.is_file() else path.absolute().name
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:63].strip("-") or "function"
