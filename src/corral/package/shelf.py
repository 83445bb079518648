"""Where uploaded packages stand: DATA/packages/NAMESPACE/<sha256>, each unpacked once and never changed."""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from corral.clock import Clock
from corral.package.archive import Limits, sync_folder, unpack
from corral.package.layer import dependencies, layer_key
from corral.ports import Needed

AWAITED_S = 3600.0
"""An upload that nobody deploys is removed after this time."""
SHA256 = re.compile(r"[0-9a-f]{64}\Z")

Place = tuple[str, str]
"""(namespace, sha256): there may be ten thousand, and a Path takes ten times the room."""


def has_packages(folder: Path) -> bool:
    """Whether an engine before us has put any there."""
    return any(SHA256.match(path.name) for path in folder.glob("*/*"))


class Shelf:
    """See ports.Packages."""

    def __init__(self, folder: Path, limits: Limits, clock: Clock) -> None:
        self._folder, self._limits, self._clock = folder, limits, clock
        self._holds: Counter[Place] = Counter()
        self._awaited: dict[Place, float] = {}
        """Uploaded and not deployed with success since: whoever uploaded them may try again until this moment."""
        self._left: set[Place] = set()
        """Those whose last holder went."""
        self._adding = 0
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    async def add(self, namespace: str, archive: Path) -> str:
        self._adding += 1
        try:
            package = await asyncio.to_thread(self._add, namespace, archive)
            self._awaited[namespace, package] = self._clock.monotonic() + AWAITED_S
        finally:
            self._adding -= 1
        return package

    def has(self, namespace: str, package: str) -> bool:
        return SHA256.match(package) is not None and (self._folder / namespace / package).is_dir()

    async def needed(self, namespace: str, package: str, runtime: str) -> Needed | None:
        found = await asyncio.to_thread(dependencies, self._folder / namespace / package)
        if found is None:
            return None
        return Needed(
            layer=layer_key(found, runtime, package),
            source=found.source,
            count=len(found.lines),
            is_plain=found.is_plain,
            written=found.written,
        )

    def hold(self, namespace: str, package: str) -> None:
        self._holds[namespace, package] += 1

    def deployed(self, namespace: str, package: str) -> None:
        self._awaited.pop((namespace, package), None)

    def drop(self, namespace: str, package: str) -> None:
        place = (namespace, package)
        self._holds[place] -= 1
        if self._holds[place] == 0:
            del self._holds[place]
            self._left.add(place)

    async def clear(self) -> bool:
        # An upload under way may find its contents here already, and count on them.
        if self._adding:
            return False
        now = self._clock.monotonic()
        for place in [place for place, until in self._awaited.items() if until <= now]:
            del self._awaited[place]
            self._left.add(place)
        left = [place for place in self._left if place not in self._holds and place not in self._awaited]
        self._left.clear()
        aside = []
        for namespace, package in left:
            path = self._folder / namespace / package
            with contextlib.suppress(OSError):  # then it goes at the next start
                # At once, so that an upload of the same contents never finds half of them.
                aside.append(path.rename(path.with_name(f".gone-{package}")))
        await asyncio.to_thread(_remove, aside)
        return True

    def sweep(self, referenced: Iterable[tuple[str, str]]) -> int:
        """Remove every package but the `referenced` (namespace, sha256), and what an earlier engine left half done;
        how many went. Only at start: a package just uploaded is not yet referenced."""
        kept = set(referenced)
        namespaces = [each.name for each in os.scandir(self._folder) if each.is_dir()]
        found = [(namespace, name) for namespace in namespaces for name in os.listdir(self._folder / namespace)]
        gone = [self._folder / namespace / name for namespace, name in found if (namespace, name) not in kept]
        for path in gone:
            shutil.rmtree(path)
        return len(gone)

    def _add(self, namespace: str, archive: Path) -> str:
        home = self._folder / namespace
        home.mkdir(mode=0o755, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".incoming-", dir=home))
        try:
            package = unpack(archive, temporary, self._limits)
            self._shelve(temporary, home / package)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return package

    def _shelve(self, temporary: Path, place: Path) -> None:
        """Move into place at once; what stands there already has the same contents."""
        try:
            temporary.rename(place)
        except OSError:
            if not place.is_dir():
                raise
        sync_folder(place.parent)
        sync_folder(self._folder)


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
