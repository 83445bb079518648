"""Installations of dependencies, as the engine asks for them: each layer once, one at a time in a namespace, and what
was installed is on disk before anybody hears of it."""

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from corral.config import Boot
from corral.errors import BuildFailed, CorralError, SandboxFailed
from corral.keeper.buildlog import BuildLogs, Transcript
from corral.keeper.layers import Bounds, Layers
from corral.link import Build, Built
from corral.model import FunctionKey, Revision, RevisionId
from corral.sandbox.building import Builder, proxies
from corral.sandbox.interpreters import find_interpreter
from corral.sandbox.places import Recipe

AT_ONCE = 2
"""Installations of all namespaces together: each may use a core, and the memory of a large function."""
OUTPUT_LINES = 40
"""Told with a failure."""

log = logging.getLogger("corral.keeper.builds")

Key = tuple[str, str]
"""Namespace, layer."""


class Asked:
    """One layer that is being installed, and who waits for it."""

    def __init__(self, key: Key, first: Build) -> None:
        self.key = key
        self.first = first
        self.waiting: dict[RevisionId, FunctionKey] = {}
        self.name = ""
        """Of the installation, once it has begun."""


class Builds:
    """A service. `answer` is told of each Build once."""

    def __init__(
        self, boot: Boot, builder: Builder, user_of: Callable[[Revision], int | None], answer: Callable[[Built], None]
    ) -> None:
        settings = boot.settings.layers
        self._install = settings.install
        self._builder, self._user_of, self._answer = builder, user_of, answer
        self._layers = Layers(Path(boot.data), Bounds(settings.size_mib * 1024 * 1024, settings.files_max))
        reader_gid = boot.settings.keeper.uid_base + 1 if os.geteuid() == 0 else None
        self.logs = BuildLogs(Path(boot.data), reader_gid, secrets_of(boot, os.environ))
        self._asked: dict[Key, Asked] = {}
        self._new: asyncio.Queue[Asked] = asyncio.Queue()
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._has_litter = asyncio.Event()
        self._names = (f"build-{secrets.token_hex(3)}-{number}" for number in itertools.count(1))

    async def run(self) -> None:
        """Ends only by cancellation; then nothing is left of what was being installed."""
        await asyncio.to_thread(self._layers.clear, with_unfinished=True)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._clear(), name="old layers")
                while True:
                    asked = await self._new.get()
                    group.create_task(self._build(asked), name=f"install {asked.key[1][:12]}")
        finally:
            for asked in self._asked.values():
                asked.waiting.clear()
                self._builder.stop(asked.name)

    # -- what the engine says ---------------------------------------------------------------------------------

    def ask(self, build: Build) -> None:
        revision = build.revision
        assert revision.layer is not None
        key = (revision.namespace, revision.layer)
        if key not in self._asked:
            if self._layers.has(*key):
                self._answer(Built(revision.id))
                return
            self._asked[key] = Asked(key, build)
            self._new.put_nowait(self._asked[key])
        self._asked[key].waiting[revision.id] = revision.key

    def drop(self, revision: RevisionId) -> None:
        """It does not wait any more."""
        for asked in list(self._asked.values()):
            asked.waiting.pop(revision, None)
            if not asked.waiting:
                # Whoever asks from now on gets an installation of their own.
                del self._asked[asked.key]
                self._builder.stop(asked.name)

    def remove(self, namespace: str, layer: str) -> None:
        self._layers.set_aside(namespace, layer)
        self._has_litter.set()

    def keep_only(self, layers: Mapping[str, Iterable[str]], used: Iterable[tuple[str, str | None]]) -> None:
        """All that revisions need, and what instances have. Who asked for an installation before knows nothing of it
        any more."""
        for revision in [revision for asked in self._asked.values() for revision in asked.waiting]:
            self.drop(revision)
        self._layers.keep_only({(namespace, each) for namespace in layers for each in layers[namespace]} | set(used))
        self._has_litter.set()

    async def _clear(self) -> None:
        while True:
            await self._has_litter.wait()
            self._has_litter.clear()
            await asyncio.to_thread(self._layers.clear)

    # -- one installation -------------------------------------------------------------------------------------

    async def _build(self, asked: Asked) -> None:
        namespace, layer = asked.key
        transcript = Transcript()
        error = incoming = ""
        try:
            async with self._turns.setdefault(namespace, asyncio.Lock()), self._places:
                if asked.waiting:
                    asked.name = next(self._names)
                    incoming = await asyncio.to_thread(self._install_layer, asked, transcript)
            # Not in the thread: somebody might find it there who is not waiting for it, just when nobody else is.
            if incoming and asked.waiting:
                self._layers.put(namespace, layer, incoming)
        except (BuildFailed, SandboxFailed) as fault:
            error = self.logs.without_secrets(_sentence(fault, transcript))
        except Exception:
            log.exception("installation failed", extra={"layer": layer, "namespace": namespace})
            error = "the keeper made a mistake; its log has more"
        if not asked.waiting:
            if incoming:
                self.remove(namespace, incoming)
            return
        del self._asked[asked.key]
        log.info("dependencies installed", extra={"layer": layer, "namespace": namespace, "error": error})
        await self._tell(asked, transcript, error)

    async def _tell(self, asked: Asked, transcript: Transcript, error: str) -> None:
        """The disk and the log first: who hears of the end may ask for it at once."""
        output = self.logs.without_secrets(transcript.last(OUTPUT_LINES)) if error else ""
        if not error:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._layers.sync, asked.key[0])
        for function in asked.waiting.values():
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self.logs.write, function, transcript, error)
        for revision in asked.waiting:
            self._answer(Built(revision, error, output))

    def _install_layer(self, asked: Asked, transcript: Transcript) -> str:
        """The name of what is to be the layer."""
        revision = asked.first.revision
        assert revision.layer is not None
        recipe = Recipe(
            name=asked.name,
            uid=self._user_of(revision),
            interpreter=find_interpreter(revision.spec.runtime),
            package=f"packages/{revision.namespace}/{revision.package}",
            source=asked.first.source,
            requirements=asked.first.requirements,
            constraints=asked.first.constraints,
            wheels_only=self._install == "wheels",
        )
        place = self._builder.place(recipe)
        try:
            error = self._builder.build(recipe, place, transcript.add, lambda: bool(asked.waiting))
            if error:
                raise BuildFailed(error)
            try:
                installed = place.open_out()
            except OSError as exc:
                raise BuildFailed(f"it left no folder: {exc.strerror}") from exc
            try:
                return self._layers.copy(revision.namespace, installed)
            finally:
                os.close(installed)
        finally:
            place.close()


def _sentence(fault: CorralError, transcript: Transcript) -> str:
    essential, meant = transcript.essential(), transcript.meant()
    sentence = f"{fault.message}: {essential}" if essential else fault.message
    return f"{sentence}\n{meant}" if meant else sentence


def secrets_of(boot: Boot, environment: Mapping[str, str]) -> list[str]:
    """Of the addresses of the index and of proxies: what nobody may read in an output."""
    settings = boot.settings.layers
    found: set[str] = set()
    for url in [settings.index_url, *settings.extra_index_url.split(), *proxies(environment)]:
        parts = urlsplit(url)
        found |= {each for each in (parts.password, parts.username if not parts.password else None) if each}
    plain = {unquote(each) for each in found}
    return sorted(found | plain | {quote(each, safe="") for each in plain})
