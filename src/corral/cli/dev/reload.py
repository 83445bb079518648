"""From the files as they are now to what the server serves: what changed is deployed, each function for itself."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from corral.cli.client import Client, functions_path
from corral.cli.dev.events import Event, Installing, Loaded, Refused, Removed
from corral.cli.dev.gone import files_of, told
from corral.cli.dev.source import Source, Wanted
from corral.cli.dev.traces import own_frames
from corral.cli.sending import put, told_of_installation, upload
from corral.errors import CorralError, Invalid, LoadFailed, NotFound

AT_ONCE = 4
"""Functions deployed side by side."""


class Served(msgspec.Struct, frozen=True):
    """A function on the server."""

    called: str
    """As in its URL."""
    namespace: str
    name: str
    code: Path
    """The file or folder that was deployed."""
    revision: int
    files: frozenset[str]
    """Of its package."""


class Reloader:
    """`loaded` is called when a function serves for the first time."""

    def __init__(
        self, client: Client, source: Source, tell: Callable[[Event], None], loaded: Callable[[Served], None]
    ) -> None:
        self._client, self._source, self._tell, self._loaded = client, source, tell, loaded
        self._digests: dict[str, str] = {}
        """Function -> what was last tried, with success or without."""
        self._serving: dict[str, Served] = {}
        self._told: set[str] = set()
        """Functions of which `loaded` was told."""
        self._fault = ""
        """Why the files could not be read the last time; empty: they could."""

    def reload(self) -> None:
        """Never raises for what the developer's files are."""
        begun = time.perf_counter()
        try:
            wanted = self._source.read()
        except Invalid as fault:
            if fault.message != self._fault:
                self._fault = fault.message
                self._tell(Refused(at=time.time(), error=fault.message))
            return
        self._fault = ""
        changed = [each for each in wanted if self._digests.get(called(each)) != each.digest]
        with self._installation_told(changed), ThreadPoolExecutor(AT_ONCE) as pool:
            # Each for itself: one that is broken, or is being installed, keeps no other from being served.
            for done in [pool.submit(self._take, each, begun) for each in changed]:
                done.result()
        self._remove(set(self._serving) - {called(each) for each in wanted})

    def _installation_told(self, changed: list[Wanted]) -> AbstractContextManager[None]:
        folders = {each.deployment.path for each in changed}
        return told_of_installation(folders, lambda count: self._tell(Installing(at=time.time(), packages=count)))

    def _take(self, wanted: Wanted, begun: float) -> None:
        self._tell(self._deploy(wanted, begun))

    def _deploy(self, wanted: Wanted, begun: float) -> Event:
        deployment, name = wanted.deployment, called(wanted)
        self._digests[name] = wanted.digest
        before = self._serving.get(name)
        try:
            package = upload(self._client, deployment.namespace, wanted.content)
            function = put(self._client, deployment, package)
        except CorralError as fault:
            if not isinstance(fault, Invalid | LoadFailed):
                del self._digests[name]  # the next save tries again: the files are not at fault
            error, traceback = fault.message, ""
            if isinstance(fault, LoadFailed):
                had = before.files if before else frozenset()
                error, traceback = told(fault, had - files_of(wanted.content)), fault.traceback
            return Refused(
                at=time.time(),
                function=name,
                error=error,
                trace=own_frames(traceback, deployment.path),
                serving=before.revision if before else None,
            )
        took_ms = round((time.perf_counter() - begun) * 1000, 1)
        revision = int(function["number"])
        files = files_of(wanted.content)
        now = Served(name, deployment.namespace, deployment.name, deployment.path, revision, files)
        self._serving[name] = now
        if name not in self._told:
            self._told.add(name)
            self._loaded(now)
        return Loaded(
            at=time.time(),
            function=name,
            url=f"{self._client.url}/function/{name}",
            style=("async " if function.get("is_async") else "") + str(function.get("style")),
            revision=revision,
            took_ms=took_ms,
            is_first=before is None,
            is_private=deployment.spec.private,
        )

    def _remove(self, names: set[str]) -> None:
        for name in sorted(names):
            gone = self._serving.pop(name)
            self._digests.pop(name, None)
            try:
                self._client.manage("DELETE", functions_path(gone.namespace, gone.name))
            except NotFound:
                continue
            self._tell(Removed(at=time.time(), function=name))


def called(wanted: Wanted) -> str:
    """As in the function's URL."""
    namespace, name = wanted.deployment.namespace, wanted.deployment.name
    return name if namespace == "default" else f"{name}.{namespace}"
