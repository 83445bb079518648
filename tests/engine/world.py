"""The real engine in this process, with a keeper and a gateway that do as they are told, over real sockets."""

import asyncio
import contextlib
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

from corral import link
from corral.clock import SystemClock
from corral.config import Boot, Settings
from corral.engine.main import Engine
from corral.link import Hello, Link, Message
from corral.model import ExitCause, InstanceId, RevisionId
from corral.store.sqlite import SqliteStore

ADMIN = "admin-token"
DEADLINE_S = 5.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class End:
    """One end of a link, with all it received. `answers` holds what it does about a message by itself."""

    def __init__(self, hello: Hello, types: object, state: Message) -> None:
        self.received: list[Message] = []
        self.answers: dict[type[Message], Callable[[Any], None]] = {}
        self._closed = asyncio.Event()
        self._news = asyncio.Event()
        self._state = state
        self._link: Link[Message] = Link(
            types, hello=hello, opened=self._opened, receive=self._receive, closed=lambda _: self._closed.set()
        )

    async def connect(self, path: Path) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: self._link, str(path))

    def _opened(self, own: Link[Message], hello: Hello) -> None:
        own.send(self._state)

    def _receive(self, own: Link[Message], message: Message) -> None:
        self.received.append(message)
        self._news.set()
        answer = self.answers.get(type(message))
        if answer is not None:
            answer(message)

    def send(self, *messages: Message) -> None:
        for message in messages:
            self._link.send(message)

    def close(self) -> None:
        self._link.close()

    async def gone(self) -> None:
        """When the link is closed."""
        async with asyncio.timeout(DEADLINE_S):
            await self._closed.wait()

    def all(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.received if isinstance(message, kind)]

    async def got(self, kind: type[Any], count: int = 1, where: Callable[[Any], bool] = lambda _: True) -> Any:
        """The `count`-th message of this kind that fits, when it has come."""
        async with asyncio.timeout(DEADLINE_S):
            while len(found := [each for each in self.all(kind) if where(each)]) < count:
                self._news.clear()
                await self._news.wait()
        return found[count - 1]


class Gateway(End):
    def __init__(self, id: str = "g1", holding: dict[RevisionId, list[InstanceId]] | None = None) -> None:
        super().__init__(Hello("gateway", id), link.ToGateway, link.Holding(holding or {}))
        self.answers[link.Assign] = lambda message: self.ready(message.instance)
        self.answers[link.Retire] = lambda message: self.send(link.Released(message.instance))

    def ready(self, instance: InstanceId, code: bytes | None = None, is_async: bool = False) -> None:
        stamps = {"decided": 1.0, "received": 1.001, "forked": 1.003, "dressed": 1.004, "loaded": 1.005, "ready": 1.006}
        self.send(link.Ready(instance, "handle", is_async, 100 if is_async else 1, stamps, code))


class Keeper(End):
    def __init__(
        self,
        id: str = "k1",
        instances: dict[InstanceId, RevisionId] | None = None,
        slots: int = 2,
        exited: tuple[link.Exited, ...] = (),
        memory_mib: float = 0.0,
        keeps_zygotes: bool = False,
    ) -> None:
        running = instances or {}
        addresses = {instance: f"unix:/run/{instance}" for instance in running}
        not_held, runtimes = ["no protection against rain"], {"python3": "3.11.7"}
        inventory = link.Inventory(
            running, addresses, "T1", not_held, runtimes, list(exited),
            memory_mib=memory_mib, keeps_zygotes=keeps_zygotes,
        )  # fmt: skip
        super().__init__(Hello("keeper", id), link.ToKeeper, inventory)
        self._slots = slots
        self.answers[link.Stop] = lambda message: self.exit(message.instance, message.cause)
        self.answers[link.Start] = self.started

    def _opened(self, own: Link[Message], hello: Hello) -> None:
        super()._opened(own, hello)
        for place in range(self._slots):
            self.send(link.SlotReady(f"s{place}", f"unix:/run/s{place}"))  # type: ignore[arg-type]

    def started(self, message: link.Start) -> None:
        self.send(link.Started(message.instance, 4711, f"unix:/run/{message.slot or message.instance}"))

    def exit(self, instance: InstanceId, cause: ExitCause, detail: str = "it ended") -> None:
        self.send(link.Exited(instance, cause, detail, cpu_s=0.5, memory_peak_mib=12.0))


class World:
    """An engine on `data`, and the ways to it."""

    def __init__(self, data: Path, store: SqliteStore) -> None:
        self.data, self.store = data, store
        self.link, self.api = data / "link.sock", data / "api.sock"
        self.keeper, self.gateway = Keeper(), Gateway()

    async def connect(self) -> None:
        await self.gateway.connect(self.link)
        await self.keeper.connect(self.link)
        await self.gateway.got(link.Synced)
        async with asyncio.timeout(DEADLINE_S):
            while (await self.get("/status")).json["slots_ready"] < 2:
                pass

    async def until_connected(self, end: End) -> None:
        role = "gateway" if isinstance(end, Gateway) else "keeper"
        async with asyncio.timeout(DEADLINE_S):
            while not (await self.get("/status")).json["connected"][role]:
                pass

    async def ask(self, method: str, path: str, body: bytes = b"", token: str | None = ADMIN, **headers: str) -> Answer:
        """One request under /corral/v1, or elsewhere when `path` begins with two slashes."""
        target = path[1:] if path.startswith("//") else f"/corral/v1{path}"
        fields = {"host": "127.0.0.1:8080", "connection": "close", "content-length": str(len(body))}
        if token is not None:
            fields["authorization"] = f"Bearer {token}"
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        async with asyncio.timeout(DEADLINE_S * 4):
            reader, writer = await asyncio.open_unix_connection(str(self.api))
            writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
            raw = await reader.read()
            writer.close()
            await writer.wait_closed()
        return answer_of(raw)

    async def get(self, path: str) -> Answer:
        return await self.ask("GET", path)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Ask the engine for its status until it holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not holds():
                await self.get("/status")

    async def until_metrics_say(self, line: str) -> str:
        async with asyncio.timeout(DEADLINE_S):
            while line not in (text := (await self.ask("GET", "//metrics", token=None)).body.decode()):
                pass
        return text

    async def upload(self, archive: bytes, namespace: str = "default") -> str:
        answer = await self.ask("POST", f"/namespaces/{namespace}/packages", archive)
        assert answer.status == 201, answer
        return str(answer.json["package"])

    async def put(self, name: str, package: str, namespace: str = "default", query: str = "", **spec: Any) -> Answer:
        body = json.dumps({"package": package, "spec": spec}).encode()
        return await self.ask("PUT", f"/namespaces/{namespace}/functions/{name}{query}", body)


def answer_of(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(body.split(b"\r\n")[1::2])
    return Answer(int(lines[0].split()[1]), headers, body)


def listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(100)
    return listener


def boot_of(data: Path, fds: dict[str, int], parent_pid: int, settings: Settings | None = None) -> Boot:
    return Boot(
        settings=settings or Settings(),
        data=str(data),
        run=str(data),
        name="01234567",
        parent_pid=parent_pid,
        fds=fds,
        admin_token_sha256=hashlib.sha256(ADMIN.encode()).hexdigest(),
        url="http://127.0.0.1:8080",
    )


@contextlib.asynccontextmanager
async def world(data: Path, *, connected: bool = True, settings: Settings | None = None) -> AsyncIterator[World]:
    """Runs until the block ends; the store stays in `data`, so a second world there is a restart."""
    store = SqliteStore(data / "corral.db")
    made = World(data, store)
    fds = {"link": listening(made.link).detach(), "api": listening(made.api).detach()}
    engine = Engine(boot_of(data, fds, 1, settings), store, SystemClock())
    running = asyncio.create_task(engine.run())
    try:
        if connected:
            await made.connect()
        yield made
    finally:
        made.keeper.close()
        made.gateway.close()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        store.close()
