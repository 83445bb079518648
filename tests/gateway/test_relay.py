"""Management goes to the engine and back, streamed, with what the engine needs to judge it."""

import asyncio
import socket
from pathlib import Path

import pytest

from corral.config import Gateway as GatewaySettings

from .stage import Client, Stage, play


class Api:
    """A server at RUN/api.sock that answers as a test says."""

    def __init__(self, folder: Path) -> None:
        self.path = f"{folder}/api.sock"
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: uvicorn\r\nX-Own: 1\r\n\r\nok"
        self.stays = False
        """Whether more of the answer will follow."""
        self.gone = asyncio.Event()

    async def start(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        body = b""
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
        else:
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
        self.bodies.append(body)
        writer.write(self.answer)
        if not self.stays:
            writer.close()
        await reader.read(-1)
        self.gone.set()
        writer.close()


def test_request_and_answer_go_through_with_host_origin_and_token(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        api = Api(tmp_path)
        async with await api.start():
            answer = await s.post(
                b"package",
                "/corral/v1/functions?x=1",
                headers="Origin: http://o\r\nAuthorization: Bearer t\r\nTE: x\r\n",
            )
            assert (answer.status, answer.body, answer.header("x-own")) == (200, b"ok", "1")
            assert answer.header("server") == "corral"
            head = api.heads[0].decode().split("\r\n")
            assert head[0] == "POST /corral/v1/functions?x=1 HTTP/1.1"
            assert {"host: h", "origin: http://o", "authorization: Bearer t", "content-length: 7"} <= set(head)
            assert not any(line.startswith("te:") for line in head)
            assert api.bodies == [b"package"]

    play(tmp_path, scene)


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_bodies_of_any_size_stream_up(tmp_path: Path, size: int) -> None:
    async def scene(s: Stage) -> None:
        api = Api(tmp_path)
        async with await api.start():
            assert (await s.post(b"p" * size, "/corral/v1/x")).status == 200
            client: Client = await s.client()
            client.send(b"POST /corral/v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            if size:
                client.send(b"%x\r\n%b\r\n" % (size, b"p" * size))
            client.send(b"0\r\n\r\n")
            assert (await client.response()).status == 200
            assert [len(b) for b in api.bodies] == [size, size]

    play(tmp_path, scene)


def test_streamed_answer_comes_as_it_is_made_and_ends_with_its_client(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        api = Api(tmp_path)
        api.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        api.stays = True
        async with await api.start():
            client = await s.client()
            client.send(b"GET /corral/v1/logs HTTP/1.1\r\nHost: h\r\n\r\n")
            await client.reader.readuntil(b"first")
            await client.close()
            async with asyncio.timeout(5):
                await api.gone.wait()

    play(tmp_path, scene)


BROKEN = {
    "nothing": (b"", 503),
    "no HTTP": (b"hello\r\n\r\n", 502),
    "short body": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 0),
}


@pytest.mark.parametrize("answer, status", BROKEN.values(), ids=BROKEN.keys())
def test_broken_answer_is_never_taken_for_a_whole_one(tmp_path: Path, answer: bytes, status: int) -> None:
    async def scene(s: Stage) -> None:
        api = Api(tmp_path)
        api.answer = answer
        async with await api.start():
            client = await s.client()
            client.send(b"GET /corral/v1/x HTTP/1.1\r\nHost: h\r\n\r\n")
            if status:
                assert (await client.response()).status == status
            else:
                assert b"0\r\n\r\n" not in await client.closed()

    play(tmp_path, scene)


def test_engine_that_hangs_is_a_503_in_time(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            # Listens and never accepts, as an engine that is stopped: the kernel connects all the same.
            listener.bind(f"{tmp_path}/api.sock")
            listener.listen()
            for asked in (s.get("/corral/v1/functions"), s.post(b"p" * 3_000_000, "/corral/v1/functions")):
                answer = await asked
                assert answer.status == 503
                assert answer.error["message"] == "the engine did not answer within 0.1 s: it may be busy or hang"

    play(tmp_path, scene, settings=GatewaySettings(relay_timeout_s=0.1))


def test_answer_that_began_in_time_may_go_on(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        api = Api(tmp_path)
        api.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        api.stays = True
        async with await api.start():
            client = await s.client()
            client.send(b"GET /corral/v1/logs HTTP/1.1\r\nHost: h\r\n\r\n")
            await client.reader.readuntil(b"first")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.15):
                    await client.reader.read(100_000) and await client.reader.read(1)
            await client.close()

    play(tmp_path, scene, settings=GatewaySettings(relay_timeout_s=0.1))


def test_head_of_management_has_no_body(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        api = Api(tmp_path)
        api.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        async with await api.start():
            client = await s.client()
            client.send(b"HEAD /corral/v1/x HTTP/1.1\r\nHost: h\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.response("HEAD")).status == 200
            assert (await client.response()).body == b"ok\n"

    play(tmp_path, scene)


def test_metrics_are_the_gateways_and_then_the_engines(tmp_path: Path) -> None:
    async def scene(s: Stage) -> None:
        alone = (await s.get("/metrics")).body
        assert alone.startswith(b"# HELP corral_calls_total") and b"corral_engine" not in alone
        api = Api(tmp_path)
        api.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\ncorral_engine_ok 1\n\n"
        async with await api.start():
            assert (await s.get("/metrics")).body.endswith(b"corral_engine_ok 1\n\n")

    play(tmp_path, scene)
