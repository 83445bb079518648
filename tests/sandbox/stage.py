"""A real backend with a folder of its own, and a small client that speaks `frame`, for the tests."""

import asyncio
import contextlib
import itertools
import json
import os
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from corral import config
from corral.model import ExitCause, FunctionSpec, InstanceId, Revision, RevisionId, SlotId
from corral.ports import Exit, Keep, Launch
from corral.sandbox import BACKENDS

DEADLINE_S = 20.0
"""Nothing here takes a second; a machine under load may be slow."""
UID = 100_500
HELLO, READY, FAILED, HEAD, BODY, END, ACK, CODE = 1, 2, 3, 4, 5, 6, 7, 12
LAST, ERROR = 1, 2


class Stage:
    """The backend of one tier, what it reported, and functions to start in it."""

    def __init__(self, tier: str, root: Path) -> None:
        for folder in ("data/packages/default", "data/code", "run/i"):
            (root / folder).mkdir(parents=True)
        root.chmod(0o755)
        self.data = root / "data"
        # T0 is for keepers that are not root: a base of -1 makes it leave every user as it is.
        uid_base = 100_000 if tier == "T1" else -1
        self.boot = config.Boot(
            settings=config.Settings(keeper=config.Keeper(uid_base=uid_base)),
            data=str(self.data),
            run=str(root / "run"),
            name=config.data_name(self.data),
            parent_pid=os.getppid(),
        )
        self.sandbox = BACKENDS[tier](self.boot, self)
        self.pids: dict[InstanceId, int] = {}
        self.exits: dict[InstanceId, Exit] = {}
        self.zygotes: dict[str, int] = {}
        self.fallen: list[str] = []
        self.keeping: list[RevisionId] = []
        self.load_s = 0.0
        """What the latest zygote of a revision took to load."""
        self.gone: dict[RevisionId, tuple[str, bool]] = {}
        """Revisions that have no zygote of their own any more -> why, and whether its code is unsafe."""
        self.addresses: dict[InstanceId, str] = {}
        self.users: dict[InstanceId, int] = {}
        self._slots: dict[SlotId, str] = {}
        self._logs: dict[InstanceId, int] = {}
        self._log_fds: list[int] = []
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)

    # What the backend reports.

    def started(self, instance: InstanceId, pid: int, address: str) -> None:
        self.pids[instance] = pid
        self._changed.set()

    def ended(self, exit: Exit) -> None:
        assert exit.instance not in self.exits, "an instance ends once"
        self.exits[exit.instance] = exit
        self._changed.set()

    def zygote_up(self, runtime: str, pid: int) -> None:
        self.zygotes[runtime] = pid
        self._changed.set()

    def zygote_down(self, runtime: str, detail: str) -> None:
        self.fallen.append(detail)
        self._changed.set()

    def zygote_kept(self, revision: RevisionId, memory_mib: float, load_s: float) -> None:
        self.keeping.append(revision)
        self.load_s = load_s
        self._changed.set()

    def zygote_gone(self, name: InstanceId, revision: RevisionId, why: str, is_unsafe: bool) -> None:
        self.gone[revision] = (why, is_unsafe)
        self._changed.set()

    async def until(self, claim: Callable[[], object]) -> None:
        """Wait until `claim()` holds: asked after everything the backend reports, and every 5 ms for what it does
        not report."""
        async with asyncio.timeout(DEADLINE_S):
            while not claim():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.005)

    # What a test does.

    async def prepare(self, is_bare: bool = False) -> SlotId:
        slot = SlotId(f"s{next(self._numbers)}")
        self._slots[slot] = await self.sandbox.prepare(slot, is_bare)
        return slot

    async def start(
        self,
        code: str | None,
        *,
        marshalled: bytes | None = None,
        slot: SlotId | None = None,
        layer: Path | None = None,
        **spec: object,
    ) -> InstanceId:
        """An instance of a function of that source; its entry is `app:main`. None: without a package; in a slot of
        its own."""
        return await self.start_of(self.deploy(code, **spec), marshalled=marshalled, slot=slot, layer=layer)

    def deploy(self, code: str | None, **spec: object) -> Revision:
        """Its package lies there. Nothing runs."""
        number = next(self._numbers)
        package = self.data / f"packages/default/p{number}"
        if code is not None:
            package.mkdir()
            (package / "app.py").write_text(code)
            # For all the file says anybody could change it.
            (package / "app.py").chmod(0o666)
        return Revision(
            id=RevisionId(f"default/f{number}@1"),
            namespace="default",
            name=f"f{number}",
            number=1,
            package=f"p{number}",
            uid=UID + number,
            spec=FunctionSpec(handler="app:main", **spec),  # type: ignore[arg-type]
            created_at=0.0,
        )

    async def start_of(
        self,
        revision: Revision,
        *,
        marshalled: bytes | None = None,
        slot: SlotId | None = None,
        layer: Path | None = None,
    ) -> InstanceId:
        """An instance of that revision."""
        slot = slot or await self.prepare()
        instance = InstanceId(f"test-{next(self._numbers)}")
        self.addresses[instance] = self._slots.pop(slot)
        self.users[instance] = revision.uid
        self.sandbox.start(
            Launch(
                instance=instance,
                slot=slot,
                revision=revision,
                package=self._package(revision),
                layer=self._layer(revision) if layer is None else str(layer),
                code=marshalled,
                log_fd=self._open_log(instance),
                stamps={"received": time.monotonic()},
            )
        )
        return instance

    def _package(self, revision: Revision) -> str:
        return str(self.data / "packages/default" / revision.package)

    def _layer(self, revision: Revision) -> str | None:
        return None if revision.layer is None else str(self.data / "layers/default" / revision.layer)

    def keep(self, revision: Revision) -> InstanceId:
        """Ask for a zygote of the revision; its name."""
        name = InstanceId(f"zygote-{next(self._numbers)}")
        self.sandbox.keep(
            Keep(
                name=name,
                revision=revision,
                package=self._package(revision),
                layer=self._layer(revision),
                code=None,
                log_fd=self._open_log(name),
            )
        )
        return name

    async def kept(self, code: str, **spec: object) -> Revision:
        """A revision with a zygote of its own."""
        await self.warmed()
        revision = self.deploy(code, **spec)
        self.keep(revision)
        await self.until(lambda: revision.id in self.keeping or revision.id in self.gone)
        assert revision.id not in self.gone, self.gone
        return revision

    async def warmed(self) -> None:
        self.sandbox.warm()
        await self.until(lambda: self.zygotes)

    def _open_log(self, instance: InstanceId) -> int:
        path = Path(self.boot.run) / f"{instance}.fifo"
        os.mkfifo(path)
        ours = self._logs[instance] = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        theirs = os.open(path, os.O_RDWR)
        os.unlink(path)
        self._log_fds += [ours, theirs]
        return theirs

    def log(self, instance: InstanceId) -> str:
        try:
            return os.read(self._logs[instance], 65_536).decode()
        except BlockingIOError:
            return ""

    async def close(self) -> None:
        await self.sandbox.close()
        for fd in self._log_fds:
            os.close(fd)

    async def exit_of(self, instance: InstanceId) -> Exit:
        await self.until(lambda: instance in self.exits)
        return self.exits[instance]

    async def stop(self, instance: InstanceId, cause: ExitCause = ExitCause.STOPPED) -> Exit:
        self.sandbox.stop(instance, cause)
        return await self.exit_of(instance)

    async def connect(self, instance: InstanceId) -> "Client":
        path = self.addresses[instance].removeprefix("unix:")
        return Client(*await asyncio.open_unix_connection(path))

    async def call(self, instance: InstanceId, **arguments: object) -> Any:
        """One call on a connection of its own; what the function answered, as JSON."""
        client = await self.connect(instance)
        try:
            return await client.call(arguments)
        finally:
            client.close()


class Client:
    """The gateway's side of `frame`, as small as it can be: one call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._calls = itertools.count(1)
        self.ready: dict[str, object] = {}
        self.code = b""
        self.send(HELLO, 0, 0, b'{"version": 1, "in_flight": 0}')

    def send(self, kind: int, flags: int, call: int, payload: bytes) -> None:
        self._writer.write(struct.pack(">BBHI", kind, flags, len(payload), call) + payload)

    async def receive(self) -> tuple[int, int, int, bytes]:
        async with asyncio.timeout(DEADLINE_S):
            kind, flags, size, call = struct.unpack(">BBHI", await self._reader.readexactly(8))
            return kind, flags, call, await self._reader.readexactly(size)

    async def call(self, arguments: object) -> Any:
        number = next(self._calls)
        body = json.dumps(arguments).encode()
        lines = f"POST /\r\ncontent-type: application/json\r\nx-request-id: r{number}\r\n"
        self.send(HEAD, 0, number, struct.pack(">I", 60_000) + lines.encode())
        self.send(BODY, LAST, number, body)
        answer = b""
        while True:
            kind, flags, call, payload = await self.receive()
            if kind == CODE:
                self.code = payload
            if kind == READY:
                self.ready = json.loads(payload)
            if kind == FAILED or (flags & ERROR):
                raise AssertionError(payload.decode())
            if call == number and kind == BODY:
                answer += payload
            if call == number and flags & LAST:
                return json.loads(answer or b"null")

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def stage(tier: str) -> AsyncIterator[Stage]:
    # Not pytest's tmp_path: its name is too long for a socket's path.
    with tempfile.TemporaryDirectory(prefix="corral-", dir="/tmp") as folder:
        made = Stage(tier, Path(folder))
        try:
            yield made
        finally:
            await made.close()
