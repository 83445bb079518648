"""The engine process: the control plane. Knows what is deployed and decides how many instances there are."""

import asyncio
import ctypes
import gc
import logging
import os
import random
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from corral import __version__
from corral.api.native.manage import Parts, application
from corral.auth.tokens import Keyring
from corral.clock import Clock, SystemClock
from corral.config import EXIT_UNUSABLE, Boot, read_boot
from corral.engine.catalog import Catalog
from corral.engine.demand import Demand
from corral.engine.deployment import Deployer
from corral.engine.exposition import exposition
from corral.engine.fleet import Fleet
from corral.engine.history import History
from corral.engine.holdings import Holdings
from corral.engine.installation import Installation
from corral.engine.logbook import BuildLogs, Logbook
from corral.engine.peers import Peers
from corral.engine.recall import Recall
from corral.engine.rollout import Rollout
from corral.engine.tokens import Tokens
from corral.engine.uids import Uids
from corral.engine.workingsets import WorkingSets
from corral.errors import DataFolderBusy, StoreFailed, StoreTooNew
from corral.model import FunctionKey
from corral.observe import logs
from corral.package.archive import Limits
from corral.package.shelf import Shelf, has_packages
from corral.roster import Roster, ZygoteTerms
from corral.store.sqlite import SqliteStore

log = logging.getLogger("corral.engine.main")

PR_SET_PDEATHSIG = 1
MEMBER_OVERHEAD_BYTES = 2048
"""What a file costs in a tar besides its contents."""


class Stopped(Exception):
    """SIGTERM or SIGINT came."""


class Engine:
    """All rooms of the process, composed."""

    def __init__(self, boot: Boot, store: SqliteStore, clock: Clock) -> None:
        data, settings = Path(boot.data), boot.settings
        self._clock, self._boot = clock, boot
        self._begun_at = clock.monotonic()
        own_id = secrets.token_hex(4)
        cores = os.cpu_count() or 1
        zygotes = ZygoteTerms(
            share=settings.budget.zygotes_percent / 100,
            saves_s=settings.budget.zygote_saves_ms / 1000,
            raised_at_once=cores,
        )
        plan = Roster(own_id, cores, random.Random(own_id), zygotes)
        self.fleet = Fleet(plan, clock, History(), settings.budget)
        self._working_sets = WorkingSets(store)
        self.fleet.when_learned(self._working_sets.learned)
        limits = Limits(
            bytes_max=int(settings.engine.package_max_mib * 1024 * 1024),
            members_max=settings.engine.package_files_max,
        )
        self._store = store
        self._shelf = Shelf(data / "packages", limits, clock)
        self._uids = Uids(settings.keeper.uid_base, settings.keeper.uid_count)
        forbids_host = settings.keeper.network_host == "forbidden"
        holdings = Holdings(self._shelf, self.fleet.layers, self._uids)
        rollout = Rollout(store, self.fleet, holdings, clock)
        self.catalog = Catalog(store, self.fleet, rollout, holdings, self._shelf)
        installation = Installation(self.fleet.layers, self._shelf, settings.layers.install)
        self.deployer = Deployer(
            store, self.fleet, rollout, holdings, installation, self._shelf, clock, forbids_host=forbids_host
        )
        self.demand = Demand(store.demand, clock)
        self.fleet.called = self.demand.seen
        self.recall = Recall(self.demand, self.fleet.recalled)
        self.fleet.lifecycle.recalls = self.recall.due
        self.fleet.lifecycle.removed = self._removed
        self.tokens = Tokens(store, Keyring(boot.admin_token_sha256), self.fleet, clock)
        listener = socket.socket(fileno=boot.fds["link"])
        self.peers = Peers(listener, self.fleet, own_id, settings.keeper.uid_base)
        uploads = data / "uploads"
        shutil.rmtree(uploads, ignore_errors=True)
        uploads.mkdir(mode=0o700)
        self._app = application(
            Parts(
                catalog=self.catalog,
                deployer=self.deployer,
                fleet=self.fleet,
                tokens=self.tokens,
                demand=self.demand,
                packages=self._shelf,
                read_log=Logbook(data / "logs").read,
                read_build_log=BuildLogs(data / "builds").read,
                metrics=lambda: exposition(self.catalog, self.fleet),
                status=self._status,
                monotonic=clock.monotonic,
                uploads=uploads,
                upload_max_bytes=limits.bytes_max + limits.members_max * MEMBER_OVERHEAD_BYTES + 1024 * 1024,
                is_strict=settings.keeper.isolation == "strict",
                host=settings.server.host,
            )
        )

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        functions, tokens = await self._store.load()
        revisions = [revision for stored in functions for revision in stored.revisions]
        swept = self._shelf.sweep((revision.namespace, revision.package) for revision in revisions)
        self.tokens.restore(tokens)
        self.catalog.restore(functions, await self._store.load_defaults())
        await self.demand.restore()
        # All that lives long: with ten thousand functions a look at it takes as long as three starts.
        gc.collect()
        gc.freeze()
        self.fleet.remember(await self._working_sets.load({revision.id for revision in revisions}))
        log.info("engine serves", extra={"functions": len(functions), "packages_removed": swept})
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.peers.run(), name="peers")
                group.create_task(self.catalog.run(), name="catalog")
                group.create_task(self.demand.run(), name="demand")
                group.create_task(self.recall.run(), name="recall")
                group.create_task(self._working_sets.run(), name="working sets")
                group.create_task(self._serve_api(), name="api")
                group.create_task(_until_stopped(), name="signals")
        except* Stopped:
            log.info("engine stops")
        finally:
            self.fleet.close()
            await self.demand.write()

    def _removed(self, key: FunctionKey) -> None:
        self.demand.forget(key)
        self.recall.forget(key)

    async def _serve_api(self) -> None:
        config = uvicorn.Config(
            self._app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        with socket.socket(fileno=self._boot.fds["api"]) as listener:
            try:
                await server.serve(sockets=[listener])
            finally:
                # Cancelled, it would leave its connections open.
                await server.shutdown(sockets=[listener])

    def _status(self) -> Mapping[str, Any]:
        return {
            "version": __version__,
            "python": sys.version.split()[0],
            "uptime_s": round(self._clock.monotonic() - self._begun_at, 3),
            "url": self._boot.url,
            "processes": self.peers.pids | {"parent": self._boot.parent_pid},
        }


class _Server(uvicorn.Server):
    """Signals are the process's own affair."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Until cancelled. uvicorn's own looks ten times a second whether it shall end and what the date is; the
        gateway dates its answers itself."""
        await asyncio.Event().wait()


async def _until_stopped() -> None:
    """Ends the task group around it: raises Stopped at SIGTERM or SIGINT."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    await asked.wait()
    raise Stopped


def main() -> int:
    boot = read_boot(os.environ)
    logs.set_up("engine")
    if not _die_with_parent(boot.parent_pid):
        return 1
    try:
        store = _open_store(Path(boot.data))
    except (StoreTooNew, StoreFailed, DataFolderBusy) as fault:
        print(fault.message, file=sys.stderr)
        return EXIT_UNUSABLE
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(Engine(boot, store, SystemClock()).run())
    except StoreFailed as fault:
        # Of reading what is stored: while it serves, a failing store is each request's affair.
        print(fault.message, file=sys.stderr)
        return EXIT_UNUSABLE
    finally:
        store.close()
    return 0


def _open_store(data: Path) -> SqliteStore:
    """Packages without a database are what is left after it was lost: with a new one they all would be swept away."""
    packages, lost = data / "packages", ""
    if has_packages(packages):
        lost = f"{packages} holds packages that it should know: restore it, or move {packages} away to start empty"
    return SqliteStore(data / "corral.db", lost=lost)


def _loop_factory() -> Any:
    """uvloop where it is installed; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _die_with_parent(parent_pid: int) -> bool:
    """From now on the kernel ends us with our parent; False: it is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent_pid


if __name__ == "__main__":
    sys.exit(main())
