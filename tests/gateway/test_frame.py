"""The connection to an instance, frame by frame, over a pair of sockets."""

import asyncio
import random
import socket
import struct
from typing import Any, cast

import pytest
import uvloop

from corral.contract import frame as wire
from corral.contract.frame import Connection, FailedBody, ReadyBody

from .stage import Run

RUNS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


class Call:
    """An Exchange that writes down what happens to it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def acknowledged(self) -> None:
        self.seen.append("ack")

    def taken_up(self) -> None:
        self.seen.append("taken")

    def answered(self, head: bytes, body: bytes) -> None:
        self.seen.append((head, body))

    def began_with(self, head: bytes) -> None:
        self.seen.append(("head", head))

    def continued(self, part: bytes) -> None:
        self.seen.append(("part", part))

    def ended(self, trailers: bytes) -> None:
        self.seen.append("end")

    def raised(self, error: bytes) -> None:
        self.seen.append(("raised", error))

    def credited(self, count: int) -> None:
        self.seen.append(("credit", count))

    def writable(self) -> None:
        self.seen.append("writable")


class Holder:
    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.lost_because: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def said_hello(self, in_flight: int) -> None:
        self.seen.append(in_flight)

    def said_ready(self, ready: ReadyBody) -> None:
        self.seen.append(ready)

    def said_failed(self, failed: FailedBody) -> None:
        self.seen.append(failed)

    def said_code(self, code: bytes) -> None:
        self.seen.append(code)

    def freed(self) -> None:
        self.seen.append("freed")

    def exhausted(self) -> None:
        self.seen.append("exhausted")

    def lost(self, why: str) -> None:
        self.lost_because.set_result(why)


async def connected() -> tuple[Connection, Holder, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    holder = Holder()
    connection = Connection(holder)
    connection.keep(ours.dup())
    await asyncio.get_running_loop().create_unix_connection(lambda: connection, sock=ours)
    return connection, holder, theirs


def head(status: int = 200, lines: bytes = b"") -> bytes:
    return struct.pack("!H", status) + lines


@RUNS
def test_ack_is_heard_although_a_write_failed_first(run: Run) -> None:
    async def scene() -> None:
        connection, holder, theirs = await connected()
        begun, never = Call(), Call()
        number = connection.send(begun, wire.request_head(1, b"GET / HTTP\r\n"), b"", True)
        await asyncio.sleep(0)
        # It takes the call up and dies, and before we read that we write to it.
        theirs.sendall(wire.frame(wire.ACK, 0, number))
        theirs.close()
        connection.send(never, wire.request_head(1, b"GET / HTTP\r\n"), b"", True)
        assert await asyncio.wait_for(holder.lost_because, 5) == ""
        assert (begun.seen, never.seen) == (["ack"], [])

    run(scene())


@RUNS
def test_frames_mean_the_same_however_they_are_cut(run: Run) -> None:
    async def scene() -> None:
        connection, holder, theirs = await connected()
        whole, parts, failed = Call(), Call(), Call()
        numbers = [connection.send(c, wire.request_head(1, b"x\r\n"), b"", True) for c in (whole, parts, failed)]
        assert numbers == [1, 2, 3]
        stream = b"".join(
            (
                wire.frame(wire.HELLO, 0, 0, b'{"version": 1, "in_flight": 2}'),
                wire.frame(wire.ACK, 0, 1),
                wire.frame(wire.HEAD, 0, 1, head()),
                wire.frame(wire.BODY, wire.LAST, 1, b"body"),
                wire.frame(wire.HEAD, 0, 2, head(201)),
                wire.frame(wire.END, wire.LAST | wire.ERROR, 3, b"E: x"),
                wire.frame(wire.BODY, 0, 2, b"a"),
                wire.frame(wire.CREDIT, 0, 2, struct.pack("!I", 7)),
                wire.frame(wire.BODY, wire.LAST, 2, b"b"),
                wire.frame(wire.BODY, wire.LAST, 2, b"after its end"),
                wire.frame(wire.END, wire.LAST, 0),
            )
        )
        rng = random.Random(5)
        while stream:
            count = rng.randrange(1, 12)
            theirs.sendall(stream[:count])
            stream = stream[count:]
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while "freed" not in holder.seen:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert holder.seen == [2, "freed"]
        assert parts.seen == [("head", head(201)), ("part", b"a"), ("credit", 7), ("part", b"b"), "end"]
        assert failed.seen == [("raised", b"E: x")]
        # Cut between its head and its body, the usual answer comes in two steps that mean the same.
        assert whole.seen in (
            ["ack", (head(), b"body")],
            ["ack", ("head", head()), ("part", b"body"), "end"],
        )
        assert connection.in_flight == 0
        theirs.close()
        await holder.lost_because

    run(scene())


def test_large_body_is_cut_into_frames_of_at_most_64_kib() -> None:
    async def scene() -> None:
        connection, holder, theirs = await connected()
        body = bytes(range(256)) * 800
        connection.send(Call(), wire.request_head(2.5, b"POST / HTTP\r\n"), body, True)
        received = b""
        theirs.setblocking(False)
        async with asyncio.timeout(5):
            while len(received) < len(body) + 100:
                received += await asyncio.get_running_loop().sock_recv(theirs, 1 << 20)
                if received.endswith(body[-10:]):
                    break
        frames = []
        while received:
            kind, flags, length, number = wire.HEADER.unpack_from(received)
            frames.append((kind, flags, number, received[8 : 8 + length]))
            received = received[8 + length :]
        assert all(len(payload) + 8 <= 65_536 for *_, payload in frames)
        assert [kind for kind, *_ in frames] == [wire.HELLO, wire.HEAD] + [wire.BODY] * 4
        assert frames[1][3][:4] == struct.pack("!I", 2500)
        assert b"".join(payload for kind, _, _, payload in frames if kind == wire.BODY) == body
        assert [flags for _, flags, _, _ in frames] == [0, 0, 0, 0, 0, wire.LAST]
        theirs.close()
        await holder.lost_because

    asyncio.run(scene())


BROKEN = {
    "hello of another version": wire.frame(wire.HELLO, 0, 0, b'{"version": 2}'),
    "hello that is no JSON": wire.frame(wire.HELLO, 0, 0, b"hello"),
    "ready without its fields": wire.frame(wire.READY, 0, 0, b"{}"),
    "ready of an unknown style": wire.frame(
        wire.READY, 0, 0, b'{"style": "x", "is_async": false, "concurrency": 1, "stamps": {}}'
    ),
    "ready with no concurrency": wire.frame(
        wire.READY, 0, 0, b'{"style": "main", "is_async": false, "concurrency": 0, "stamps": {}}'
    ),
    "hello with absurd calls": wire.frame(wire.HELLO, 0, 0, b'{"version": 1, "in_flight": 100000}'),
    "unknown kind": wire.frame(200, 0, 0),
    "unknown kind for a call": wire.frame(200, 0, 1),
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
def test_broken_frame_ends_the_connection_and_says_why(sent: bytes) -> None:
    async def scene() -> None:
        connection, holder, theirs = await connected()
        connection.send(Call(), wire.request_head(1, b"x\r\n"), b"", True)
        theirs.sendall(sent)
        assert (await asyncio.wait_for(holder.lost_because, 5)).startswith("the instance broke the frame rules: ")
        theirs.close()

    asyncio.run(scene())


def test_random_bytes_never_raise_out_of_the_connection() -> None:
    async def scene() -> None:
        rng = random.Random(11)
        for _ in range(200):
            holder = Holder()
            connection = Connection(holder)
            cast(Any, connection)._transport = _Nowhere()
            connection.send(Call(), b"", b"", True)
            for _ in range(20):
                kind, flags = rng.randrange(14), rng.randrange(4)
                connection.data_received(wire.frame(kind, flags, rng.randrange(3), rng.randbytes(rng.randrange(8))))
            holder.lost_because.cancel()

    asyncio.run(scene())


class _Nowhere:
    def abort(self) -> None:
        """A transport of a connection that only reads."""
