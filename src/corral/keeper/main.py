"""The keeper: the node agent, and the only process with root. `python -m corral.keeper.main`.

It does what the engine says and reports what happens. It parses nothing from outside but link messages, and believes
those only as far as it must: the engine is another, unprivileged user."""

import asyncio
import collections
import contextlib
import gc
import itertools
import logging
import os
import secrets
import signal
import sys
import time
from pathlib import Path

from corral import config
from corral.clock import SystemClock
from corral.config import Boot
from corral.keeper.builds import Builds
from corral.keeper.layers import SHA256
from corral.keeper.lines import REQUEST_MAX
from corral.keeper.logs import Logs
from corral.keeper.stock import Stock
from corral.link import (
    Build,
    BuildDrop,
    Built,
    DropZygote,
    Exited,
    Follow,
    Forget,
    FromKeeper,
    Hello,
    Inventory,
    KeepZygote,
    LayerDrop,
    LayersKept,
    Link,
    LogGrew,
    Measure,
    Measured,
    Note,
    SlotReady,
    Start,
    Started,
    Stop,
    ToKeeper,
    Used,
    ZygoteDown,
    ZygoteGone,
    ZygoteKept,
    ZygoteUp,
    keep_connected,
)
from corral.model import (
    DNS_LABEL,
    ExitCause,
    FunctionKey,
    InstanceId,
    Revision,
    RevisionId,
    SlotId,
    spec_problems,
)
from corral.observe import logs as own_logs
from corral.ports import Exit, Keep, Launch
from corral.sandbox import BACKENDS, syscalls
from corral.sandbox.building import Builder
from corral.sandbox.memory import memory_mib
from corral.sandbox.probe import Host, probe

OWN_USERS = 2
"""Gateway and engine: the first users of the range."""
USAGE_EVERY_S = 1.0
ZYGOTES_EVERY_S = 2.0
"""While no instance runs. Zygotes and their spares mostly hold what they loaded; but their code may take more."""
UNSENT_MAX = 2_000
"""Ends remembered while the engine is away: with a line of log each they fit into one message. Beyond it the Inventory
still tells that they ended, not why."""
NOTE_MAX = 1000
"""Characters of a line the engine asks for."""
SOURCES = ("requirements.txt", "pyproject.toml")
"""Files of a package that may name its dependencies."""
NORMAL = (ExitCause.STOPPED, ExitCause.REMOVED, ExitCause.KEEPER_LOST)

log = logging.getLogger("corral.keeper")


class Keeper:
    def __init__(self, boot: Boot, host: Host) -> None:
        settings = boot.settings.keeper
        self._boot = boot
        self._host = host
        self._tier = host.tier(settings.isolation)
        self._id = secrets.token_hex(4)
        self._clock = SystemClock()
        self._link: Link[ToKeeper] | None = None
        self._lost = asyncio.Event()
        self._is_closing = False
        self._running: dict[InstanceId, Revision] = {}
        self._addresses: dict[InstanceId, str] = {}
        self._zygote_numbers = itertools.count(1)
        self._zygotes: set[RevisionId] = set()
        """Revisions with one of their own."""
        self._has_some = asyncio.Event()
        """Instances or zygotes run, or did a second ago."""
        self._unplaced: set[InstanceId] = set()
        """Those whose address the engine does not know yet."""
        self._unsent: collections.deque[Exited] = collections.deque(maxlen=UNSENT_MAX)
        self._sandbox = BACKENDS[self._tier](boot, self)
        self._stock = Stock(self._sandbox, settings.slots, self._id, self._announce, self._clock)
        reader_gid = settings.uid_base + 1 if host.is_root else None
        builder = Builder(boot, is_isolated=self._tier == "T1")
        self._builds = Builds(boot, builder, self._sandbox.user_of, self._send)
        self._logs = Logs(Path(boot.data), settings, reader_gid, self._log_grew, self._clock)

    async def run(self) -> None:
        """Until cancelled."""
        self._sandbox.warm()
        async with asyncio.TaskGroup() as services:
            mine = [
                services.create_task(self._stock.run(), name="slots"),
                services.create_task(self._logs.run(), name="logs"),
                services.create_task(self._builds.run(), name="builds"),
                services.create_task(self._measure(), name="usage"),
                services.create_task(
                    keep_connected(f"{self._boot.run}/link.sock", self._make_link, self._lost), name="link"
                ),
            ]
            try:
                await asyncio.Event().wait()
            finally:
                self._is_closing = True
                self._stock.stop()
                # While the logs still run: what instances said last is kept.
                await self._sandbox.close()
                for service in mine:
                    service.cancel()

    async def _measure(self) -> None:
        """While instances run, and once more after the last; then, if there are zygotes, at longer intervals."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_some.wait(), ZYGOTES_EVERY_S if self._zygotes else None)
            await asyncio.sleep(USAGE_EVERY_S)
            if not self._running:
                self._has_some.clear()
            if self._running or self._zygotes:
                # Elsewhere: two files for each instance would hold up a start by milliseconds.
                used = await asyncio.to_thread(self._sandbox.usage)
                zygotes = await asyncio.to_thread(self._sandbox.zygotes)
                if used or zygotes:
                    self._send(Used(instances=used, zygotes=zygotes))

    # -- the engine -------------------------------------------------------------------------------------------

    def _make_link(self) -> Link[ToKeeper]:
        hello = Hello(role="keeper", id=self._id)
        return Link(ToKeeper, hello=hello, opened=self._opened, receive=self._receive, closed=self._closed)

    def _opened(self, link: Link[ToKeeper], hello: Hello) -> None:
        self._link = link
        log.info("engine connected", extra={"engine": hello.id})
        self._send(
            Inventory(
                instances={instance: revision.id for instance, revision in self._running.items()},
                addresses=dict(self._addresses),
                tier=self._tier,
                not_held=self._host.not_held(self._tier),
                runtimes=dict(self._sandbox.runtimes),
                exited=list(self._unsent),
                zygotes=self._sandbox.zygotes(),
                keeps_zygotes=self._sandbox.keeps_zygotes,
                memory_mib=memory_mib(),
            )
        )
        self._unsent.clear()
        for runtime, pid in self._sandbox.zygote_pids().items():
            self._send(ZygoteUp(runtime=runtime, pid=pid))
        for slot, address in self._stock.ready.items():
            self._announce(slot, address, slot in self._stock.bare)

    def _closed(self, link: Link[ToKeeper]) -> None:
        if self._link is link:
            self._link = None
            log.info("engine disconnected")
        self._lost.set()

    def _send(self, message: FromKeeper) -> None:
        if self._link is not None and self._link.is_open:
            self._link.send(message)
        elif isinstance(message, Exited):
            self._unsent.append(message)

    def _receive(self, link: Link[ToKeeper], message: ToKeeper) -> None:
        match message:
            case Start():
                self._start(message)
            case Stop(instance, cause):
                self._stop(instance, cause)
            case KeepZygote(revision, code):
                self._keep(revision, code)
            case DropZygote(revision):
                self._sandbox.drop(revision)
            case Measure(instance):
                self._tell_usage(instance)
            case Build():
                self._build(message)
            case BuildDrop(revision):
                self._builds.drop(revision)
            case LayerDrop(namespace, layer):
                if _is_layer(namespace, layer):
                    self._builds.remove(namespace, layer)
            case LayersKept(layers):
                # An engine that has just begun does not know the revisions whose last instances are leaving.
                used = ((each.namespace, each.layer) for each in self._running.values())
                self._builds.keep_only(layers, used)
            case Follow(key, on):
                self._logs.follow(key, on)
            case Forget(key):
                if _is_key(key):
                    self._logs.forget(key)
                    self._builds.logs.forget(key)
            case Note():
                self._note(message)

    def _tell_usage(self, instance: InstanceId) -> None:
        used = self._sandbox.usage_of(instance)
        if used is not None:
            self._send(Measured(instance=instance, memory_mib=used[1]))

    def _note(self, note: Note) -> None:
        if _is_key(note.key) and DNS_LABEL.match(note.instance) and len(note.request) <= REQUEST_MAX:
            text = note.text[:NOTE_MAX] + self._logs.held_back(note.instance)
            self._logs.note(note.instance, note.key, text, note.request)

    def _build(self, build: Build) -> None:
        revision = build.revision
        problem = self._problem_of(revision)
        if problem is None and build.source not in SOURCES:
            problem = f"source = {build.source[:80]!r}, must be one of {', '.join(SOURCES)}"
        if problem is None and revision.layer is None:
            problem = "layer is missing"
        if problem is None:
            self._builds.ask(build)
        else:
            self._send(Built(revision.id, problem))

    # -- zygotes of revisions ---------------------------------------------------------------------------------

    def _keep(self, revision: Revision, code: bytes | None) -> None:
        problem = self._problem_of(revision)
        name = InstanceId(f"zygote-{next(self._zygote_numbers)}")
        try:
            log_fd = -1 if problem else self._logs.open(name, revision.key, self._sandbox.user_of(revision))
        except OSError as exc:
            problem = f"no log for it: {exc}"
        if problem is not None:
            self._send(ZygoteGone(revision=revision.id, why=problem))
            return
        package, layer = self._folders(revision)
        keep = Keep(name=name, revision=revision, package=package, layer=layer, code=code, log_fd=log_fd)
        if not self._sandbox.keep(keep):
            self._logs.close(name)

    def _folders(self, revision: Revision) -> tuple[str, str | None]:
        """Of its code and of its dependencies, on this host."""
        data, namespace = self._boot.data, revision.namespace
        layer = None if revision.layer is None else f"{data}/layers/{namespace}/{revision.layer}"
        return f"{data}/packages/{namespace}/{revision.package}", layer

    # -- instances --------------------------------------------------------------------------------------------

    def _start(self, start: Start) -> None:
        if self._is_closing:
            return  # the engine, not yet told to end, replaces what it sees end here
        received = time.monotonic()
        revision = start.revision
        problem = self._problem(start)
        if problem is not None:
            if start.slot is not None and self._stock.take(start.slot) is not None:
                self._sandbox.discard(start.slot)
            self._send(Exited(instance=start.instance, cause=ExitCause.START_FAILED, detail=problem))
            return
        self._running[start.instance] = revision
        self._has_some.set()

        def go(slot: SlotId | None, address: str) -> bool:
            if self._running.get(start.instance) is not revision:
                return False  # stopped while it waited for a slot
            if slot is None:
                self.ended(Exit(instance=start.instance, cause=ExitCause.START_FAILED, detail=address))
            else:
                self._launch(start, slot, address, received)
            return True

        if start.slot is None:
            self._unplaced.add(start.instance)
            self._stock.order(go)
            return
        found = self._stock.take(start.slot)
        go(start.slot if found else None, found or f"slot {start.slot} is not there")

    def _launch(self, start: Start, slot: SlotId, address: str, received: float) -> None:
        revision = start.revision
        self._addresses[start.instance] = address
        package, layer = self._folders(revision)
        try:
            log_fd = self._logs.open(start.instance, revision.key, self._sandbox.user_of(revision))
        except OSError as exc:
            self._sandbox.discard(slot)
            self.ended(Exit(instance=start.instance, cause=ExitCause.START_FAILED, detail=f"no log for it: {exc}"))
            return
        self._sandbox.start(
            Launch(
                instance=start.instance,
                slot=slot,
                revision=revision,
                package=package,
                layer=layer,
                code=start.code,
                log_fd=log_fd,
                stamps={**start.stamps, "received": received},
            )
        )

    def _problem(self, start: Start) -> str | None:
        """Why this start cannot be meant; None: it can. Names become paths and numbers become users, as root."""
        if start.instance in self._running:
            return f"instance {start.instance} runs already"
        if not DNS_LABEL.match(start.instance) or len(start.instance) > 40:
            return f"instance = {start.instance[:80]!r}, must be a DNS label of at most 40 characters"
        return self._problem_of(start.revision)

    def _problem_of(self, revision: Revision) -> str | None:
        keeper = self._boot.settings.keeper
        if not _is_key(revision.key) or revision.id != f"{revision.key}@{revision.number}":
            return f"revision = {revision.id[:200]!r}, must be namespace/name@number"
        if not revision.package.isalnum():
            return f"package = {revision.package[:80]!r}, must be a hexadecimal number"
        if revision.layer is not None and not SHA256.match(revision.layer):
            return f"layer = {revision.layer[:80]!r}, must be a hexadecimal number"
        first, last = keeper.uid_base + OWN_USERS, keeper.uid_base + keeper.uid_count - 1
        if self._sandbox.user_of(revision) == revision.uid and not first <= revision.uid <= last:
            return f"uid = {revision.uid}, must be between {first} and {last}"
        if revision.spec.network == "host" and keeper.network_host == "forbidden":
            return "network = 'host', must be none: keeper.network_host = forbidden for all functions of this server"
        return next(iter(spec_problems(revision.spec)), None)

    def _stop(self, instance: InstanceId, cause: ExitCause) -> None:
        if instance in self._addresses:
            self._sandbox.stop(instance, cause)
            return
        # Not begun, or not there: either way nothing of it is left.
        self._running.pop(instance, None)
        self._unplaced.discard(instance)
        self._send(Exited(instance=instance, cause=cause, detail="it did not run"))

    # -- what the sandbox reports -----------------------------------------------------------------------------

    def started(self, instance: InstanceId, pid: int, address: str) -> None:
        # What started in a slot is on its way to its gateway: a word of it would only wake the engine.
        if instance in self._unplaced:
            self._unplaced.remove(instance)
            self._send(Started(instance=instance, pid=pid, address=address))

    def ended(self, exit: Exit) -> None:
        revision = self._running.pop(exit.instance)
        self._unplaced.discard(exit.instance)
        self._addresses.pop(exit.instance, None)
        last_line = self._logs.close(exit.instance)
        detail = exit.detail
        if exit.cause is ExitCause.START_FAILED and last_line:
            detail = f"{detail}: {last_line}"
        if exit.cause not in NORMAL:
            self._logs.note(exit.instance, revision.key, f"{exit.cause.value}: {detail}")
            log.info("instance ended", extra={"instance": exit.instance, "revision": revision.id, "detail": detail})
        self._send(
            Exited(
                instance=exit.instance,
                cause=exit.cause,
                detail=detail,
                cpu_s=exit.cpu_s,
                memory_peak_mib=exit.memory_peak_mib,
                revision=revision.id,
            )
        )

    def zygote_up(self, runtime: str, pid: int) -> None:
        log.info("zygote up", extra={"runtime": runtime, "pid": pid})
        self._send(ZygoteUp(runtime=runtime, pid=pid))

    def zygote_down(self, runtime: str, detail: str) -> None:
        log.warning("zygote down", extra={"runtime": runtime, "detail": detail})
        self._send(ZygoteDown(runtime=runtime, detail=detail))

    def zygote_kept(self, revision: RevisionId, memory_mib: float, load_s: float) -> None:
        log.info("zygote of a revision kept", extra={"revision": revision, "load_s": load_s})
        self._zygotes.add(revision)
        self._has_some.set()
        self._stock.want_bare(True)
        self._send(ZygoteKept(revision=revision, memory_mib=memory_mib, load_s=load_s))

    def zygote_gone(self, name: InstanceId, revision: RevisionId, why: str, is_unsafe: bool) -> None:
        last_line = self._logs.close(name)
        log.info("zygote of a revision gone", extra={"revision": revision, "why": why, "last_line": last_line})
        self._zygotes.discard(revision)
        self._stock.want_bare(bool(self._zygotes))
        self._send(ZygoteGone(revision=revision, why=why, is_unsafe=is_unsafe))

    def _announce(self, slot: SlotId, address: str, is_bare: bool) -> None:
        self._send(SlotReady(slot=slot, address=address, is_bare=is_bare))

    def _log_grew(self, key: FunctionKey) -> None:
        self._send(LogGrew(key=key))


def _is_key(key: str) -> bool:
    namespace, separator, name = key.partition("/")
    return bool(separator and DNS_LABEL.match(namespace) and DNS_LABEL.match(name))


def _is_layer(namespace: str, layer: str) -> bool:
    return bool(DNS_LABEL.match(namespace) and SHA256.match(layer))


def _remove_sockets(run: Path) -> None:
    """What an earlier keeper left."""
    for socket in (run / "i").glob("*.sock"):
        socket.unlink()


def _tie_to_parent(parent_pid: int) -> None:
    """When the parent dies, everything ends: by a signal that leaves us time to do it."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:
        sys.exit("the parent is gone")


async def _serve(boot: Boot, host: Host) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    keeper = Keeper(boot, host)
    # What lives now lives long: the collector need not look at it during a start.
    gc.collect()
    gc.freeze()
    with contextlib.suppress(asyncio.CancelledError):
        await keeper.run()


def main() -> None:
    own_logs.set_up("keeper")
    boot = config.read_boot(os.environ)
    _tie_to_parent(boot.parent_pid)
    os.umask(0o077)
    host = probe()
    refusal = host.refusal(boot.settings.keeper.isolation)
    if refusal is not None:
        print(refusal, file=sys.stderr)
        sys.exit(config.EXIT_UNUSABLE)
    _remove_sockets(Path(boot.run))
    asyncio.run(_serve(boot, host))


if __name__ == "__main__":
    main()
