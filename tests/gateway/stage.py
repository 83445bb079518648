"""The real gateway in this process, between an engine and instances that do as a test says, all over real sockets."""

import asyncio
import contextlib
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import msgspec
import pytest
import uvloop

from corral import link
from corral.config import Boot, Settings
from corral.config import Gateway as GatewaySettings
from corral.contract import frame as wire
from corral.gateway.main import Gateway
from corral.link import Assign, Hello, Link, Message, RevisionDrop, RevisionPut, RoutePut, Synced
from corral.model import FunctionKey, FunctionSpec, InstanceId, Revision, RevisionId

DEADLINE_S = 5.0
Kind = TypeVar("Kind", bound=Message)


class Engine:
    """The engine's end of the link: keeps what it hears, says what the test wants."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.heard: list[Message] = []
        self._changed = asyncio.Event()
        self._links: list[Link[Any]] = []
        self._server: asyncio.Server | None = None
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1
        hello = Hello("engine", f"engine-{self.starts}")
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: Link(link.FromGateway, hello=hello, opened=self._open, receive=self._hear, closed=self._close),
            self._path,
        )

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for one in list(self._links):
            one.close()
        await self._server.wait_closed()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _open(self, opened: Link[Any], hello: Hello) -> None:
        self._links.append(opened)
        self._hear(opened, hello)

    def _close(self, closed: Link[Any]) -> None:
        if closed in self._links:
            self._links.remove(closed)

    def _hear(self, _: Link[Any], message: Message) -> None:
        self.heard.append(message)
        self._changed.set()

    def say(self, *messages: Message) -> None:
        for message in messages:
            self._links[-1].send(message)

    async def hear(self, kind: type[Kind], count: int = 1) -> Kind:
        """The count-th message of this kind ever heard."""
        async with asyncio.timeout(DEADLINE_S):
            while len(found := [m for m in self.heard if isinstance(m, kind)]) < count:
                self._changed.clear()
                await self._changed.wait()
        return found[count - 1]

    def all(self, kind: type[Kind]) -> list[Kind]:
        return [m for m in self.heard if isinstance(m, kind)]


class Sent(NamedTuple):
    kind: int
    flags: int
    call: int
    payload: bytes


class Taken:
    """One call in an instance of the test's."""

    def __init__(self, peer: "Peer", number: int, head: bytes) -> None:
        self.peer = peer
        self.number = number
        self.remaining_ms = int.from_bytes(head[:4], "big")
        first, *rest = head[4:].decode("latin-1").split("\r\n")[:-1]
        self.method, self.target = first.split(" ")
        self.headers = [tuple(line.split(": ", 1)) for line in rest]
        self.body = b""
        self.acked = False
        self.whole = False
        self.cancelled = False
        self.over = False
        """For tests that keep account themselves."""
        self.changed = asyncio.Event()

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    async def until(self, claim: Callable[["Taken"], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not claim(self):
                self.changed.clear()
                await self.changed.wait()

    def ack(self) -> None:
        """Once: a second one breaks the rules."""
        if not self.acked:
            self.acked = True
            self.peer.send(wire.ACK, 0, self.number)

    def credit(self, count: int) -> None:
        self.peer.send(wire.CREDIT, 0, self.number, struct.pack("!I", count))

    def head(self, status: int = 200, lines: bytes = b"content-type: text/plain\r\n", flags: int = 0) -> None:
        self.peer.send(wire.HEAD, flags, self.number, struct.pack("!H", status) + lines)

    def part(self, data: bytes, last: bool = False) -> None:
        self.peer.send(wire.BODY, wire.LAST if last else 0, self.number, data)

    def raises(self, sentence: str) -> None:
        self.peer.send(wire.END, wire.LAST | wire.ERROR, self.number, sentence.encode())

    def answer(self, body: bytes = b"ok", status: int = 200, lines: bytes = b"content-type: text/plain\r\n") -> None:
        """ACK, HEAD and BODY in one write, as the runtimes do."""
        head = struct.pack("!H", status) + lines
        ack = b"" if self.acked else wire.frame(wire.ACK, 0, self.number)
        self.acked = True
        self.peer.write(
            ack + wire.frame(wire.HEAD, 0, self.number, head) + wire.frame(wire.BODY, wire.LAST, self.number, body)
        )


class Peer(asyncio.Protocol):
    """One connection of the gateway to an instance, seen from the instance."""

    def __init__(self, instance: "Instance") -> None:
        self.instance = instance
        self.transport: Any = None
        self.lost = False
        self.kept = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.instance.connected(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.instance.disconnected(self)

    def write(self, data: bytes) -> None:
        if not self.lost:
            self.transport.write(data)

    def send(self, kind: int, flags: int, call: int, payload: bytes = b"") -> None:
        self.write(wire.frame(kind, flags, call, payload))

    def data_received(self, data: bytes) -> None:
        self.kept += data
        while len(self.kept) >= 8:
            kind, flags, length, call = wire.HEADER.unpack_from(self.kept)
            if len(self.kept) < 8 + length:
                break
            payload, self.kept = self.kept[8 : 8 + length], self.kept[8 + length :]
            self.instance.received(self, Sent(kind, flags, call, payload))


class Instance:
    """An instance of the test's. `behave` is called for each whole call; without it the test answers itself."""

    def __init__(self, name: str, folder: Path, behave: Callable[[Taken], None] | None = None) -> None:
        self.id = InstanceId(name)
        self.path = str(folder / f"{name}.sock")
        self.behave = behave
        self.hello = {"version": 1, "in_flight": 0}
        self.ready: dict[str, Any] | None = {"style": "main", "is_async": False, "concurrency": 1, "stamps": {}}
        self.calls: list[Taken] = []
        self.frames: list[Sent] = []
        self.peer: Peer | None = None
        self.ended = asyncio.Event()
        self._by_number: dict[int, Taken] = {}
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: Peer(self), self.path)

    def connected(self, peer: Peer) -> None:
        self.peer = peer
        if self.ready is not None:
            self.say_ready()

    def say_ready(self, **changes: Any) -> None:
        assert self.peer is not None and self.ready is not None
        self.ready.update(changes)
        self.peer.send(wire.HELLO, 0, 0, msgspec.json.encode(self.hello))
        self.peer.send(wire.READY, 0, 0, msgspec.json.encode(self.ready))

    def disconnected(self, peer: Peer) -> None:
        self.ended.set()

    def die(self) -> None:
        assert self._server is not None
        self._server.close()
        if self.peer is not None:
            self.peer.transport.abort()

    async def close(self) -> None:
        self.die()
        assert self._server is not None
        await self._server.wait_closed()

    def received(self, peer: Peer, sent: Sent) -> None:
        self.frames.append(sent)
        if sent.kind == wire.HEAD:
            call = self._by_number[sent.call] = Taken(peer, sent.call, sent.payload)
            self.calls.append(call)
        elif sent.call:
            call = self._by_number[sent.call]
            call.body += sent.payload if sent.kind == wire.BODY else b""
            call.cancelled = call.cancelled or sent.kind == wire.CANCEL
        if sent.call:
            call.whole = call.whole or bool(sent.flags & wire.LAST)
            call.changed.set()
            if sent.flags & wire.LAST and self.behave is not None:
                self.behave(call)
        self._changed.set()

    async def call(self, count: int = 1) -> Taken:
        """The count-th call this instance got, whole."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.calls) < count:
                self._changed.clear()
                await self._changed.wait()
        taken = self.calls[count - 1]
        await taken.until(lambda t: t.whole)
        return taken


class Response(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def error(self) -> dict[str, str]:
        return msgspec.json.decode(self.body)["error"]


class Client:
    """A client that sends exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def send_in_pieces(self, data: bytes, size: int | Callable[[], int], pause_s: float = 0.0) -> None:
        """Piece by piece, each its own read at the other end as far as can be."""
        while data:
            count = size if isinstance(size, int) else size()
            piece, data = data[:count], data[count:]
            self.writer.write(piece)
            with contextlib.suppress(ConnectionError):
                await self.writer.drain()
            await asyncio.sleep(pause_s)

    async def response(self, method: str = "GET") -> Response:
        async with asyncio.timeout(DEADLINE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *rest = head.split("\r\n")[:-2]
            status = int(first.split(" ")[1])
            headers = [(name, value) for name, _, value in (line.partition(": ") for line in rest)]
            return Response(status, headers, await self._body(method, status, dict(headers)))

    async def _body(self, method: str, status: int, headers: dict[str, str]) -> bytes:
        if method == "HEAD" or status in (100, 204, 304):
            return b""
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read(-1)
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def closed(self) -> bytes:
        """What still comes before the connection ends."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self.reader.read(-1)
            except ConnectionError:
                return b""

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Stage:
    """Everything a test needs; see `stage`."""

    def __init__(self, folder: Path, gateway: Gateway, engine: Engine, port: int) -> None:
        self.folder, self.gateway, self.engine, self.port = folder, gateway, engine, port
        self.instances: list[Instance] = []
        self.clients: list[Client] = []
        self._serving: dict[FunctionKey, RevisionId] = {}

    def deploy(self, name: str = "echo", number: int = 1, **spec: Any) -> Revision:
        spec.setdefault("concurrency", 1)
        key = f"default/{name}"
        revision = Revision(
            id=RevisionId(f"{key}@{number}"), namespace="default", name=name, number=number, package="0" * 64,
            uid=100_002, spec=FunctionSpec(**spec), created_at=0.0,
        )  # fmt: skip
        self.serve(revision)
        return revision

    def serve(self, revision: Revision) -> None:
        """All calls of the function go to it, as after a deployment."""
        self.engine.say(RevisionPut.of(revision), RoutePut(revision.key, [(revision.id, 100)]))
        before = self._serving.get(revision.key)
        if before is not None and before != revision.id:
            self.engine.say(RevisionDrop(before))
        self._serving[revision.key] = revision.id

    async def instance(
        self, revision: Revision, behave: Callable[[Taken], None] | None = None, *, fresh: bool = True,
        listens: bool = True, **options: Any,
    ) -> Instance:  # fmt: skip
        """An instance that is assigned. `options` are put on it before."""
        one = Instance(f"i{len(self.instances)}", self.folder, behave)
        for name, value in options.items():
            setattr(one, name, value)
        if one.ready is not None:
            one.ready["concurrency"] = revision.concurrency
        self.instances.append(one)
        if listens:
            await one.listen()
        self.engine.say(Assign(one.id, revision.id, f"unix:{one.path}", fresh))
        return one

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def get(self, path: str = "/function/echo", *, headers: str = "", method: str = "GET") -> Response:
        client = await self.client()
        client.send(f"{method} {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n".encode("latin-1"))
        return await client.response(method)

    async def post(self, body: bytes, path: str = "/function/echo", *, headers: str = "") -> Response:
        client = await self.client()
        head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        client.send(head.encode("latin-1") + body)
        return await client.response("POST")

    def calls_in_pools(self) -> int:
        """Slots that are taken and calls that wait, in all pools together."""
        pools = [lane.pool for lane in self.gateway.activator.lanes.values() if lane.has_pool]
        return sum(pool.executing + pool.waiting for pool in pools)

    def pass_deadline(self) -> None:
        """Move the clock of each revision's oldest call to its deadline."""
        for lane in self.gateway.activator.lanes.values():
            if lane.calls:
                lane.expire(next(iter(lane.calls.values())).deadline)

    async def send_earlier(self, client: "Client", data: bytes, seconds: float) -> None:
        """Send the beginning of the first request of all, as if its head had come `seconds` ago."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("corral.gateway.door.monotonic", lambda: monotonic() - seconds)
            client.send(data)
            await self.until(lambda: any(door._request is not None for door in self.gateway.doors.connections))

    async def until(self, claim: Callable[[], bool]) -> None:
        """Let everything run until `claim` holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not claim():  # noqa: ASYNC110  # whatever makes it true runs on this loop
                await asyncio.sleep(0)

    async def settled(self) -> None:
        """No slot is taken, no call waits."""
        await self.until(lambda: self.calls_in_pools() == 0)


@contextlib.asynccontextmanager
async def stage(
    folder: Path, settings: GatewaySettings | None = None, *, auth: str = "management", engine: bool = True
) -> AsyncIterator[Stage]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    listener.setblocking(False)
    defaults = Settings()
    server = msgspec.structs.replace(defaults.server, auth=auth)
    chosen = msgspec.structs.replace(defaults, server=server, gateway=settings or defaults.gateway)
    boot = Boot(
        settings=chosen, data=str(folder), run=str(folder), name="0" * 8, parent_pid=1,
        admin_token_sha256="0" * 64,
    )  # fmt: skip
    gateway = Gateway(boot, listener, random.Random(7))
    link_end = Engine(f"{folder}/link.sock")
    play = Stage(folder, gateway, link_end, listener.getsockname()[1])
    if engine:
        await link_end.start()
    running = asyncio.create_task(gateway.run())
    try:
        if engine:
            await link_end.hear(link.Holding)
            link_end.say(Synced())
            await play.until(lambda: gateway.routes.is_synced)
        yield play
    finally:
        for client in play.clients:
            await client.close()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        listener.close()
        if engine:
            await link_end.stop()
        for instance in play.instances:
            await instance.close()


Run = Callable[[Coroutine[Any, Any, None]], None]


def play(folder: Path, scene: Callable[[Stage], Awaitable[None]], run: Run = uvloop.run, **options: Any) -> None:
    """Run `scene` on a stage of its own, on the loop that the gateway uses."""

    async def whole() -> None:
        async with stage(folder, **options) as s:
            await scene(s)

    run(whole())


def echo(call: Taken) -> None:
    call.answer(call.body or call.target.encode())
