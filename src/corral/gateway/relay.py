"""Management on its way to the engine: the request as it came, the answer as it comes back, both streamed.

The engine checks token, Host and Origin itself, so they go on unchanged. Nothing is repeated and nothing is held. The
parent owns the engine's socket, so a connection is made even while the engine is started again or hangs: what it does
not begin to answer in time is a 503."""

import asyncio
from collections.abc import Sequence

from corral.contract.http import Upstream
from corral.errors import BadResponse, CorralError, Unavailable
from corral.gateway.call import Answer, Explain
from corral.gateway.http import HOP_BY_HOP, STATUS_LINES, Head, Request

_FRAMING = HOP_BY_HOP | {b"content-length", b"server", b"date", b"x-request-id"}
START_MAX_S = 5.0
"""How long making a connection may take, and an answer for our own /metrics."""


class Relay:
    """The handler of management paths. Owns the connections being made, and ends them with itself."""

    def __init__(self, path: str, explain: Explain, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._explain = explain
        self._connecting: set[asyncio.Task[None]] = set()

    def __call__(self, request: Request, answer: Answer) -> "Relayed":
        relayed = Relayed(request, answer, self._explain, self._timeout_s)
        task = asyncio.get_running_loop().create_task(self._connect(relayed.upstream), name="connect to the engine")
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return relayed

    async def _connect(self, upstream: Upstream) -> None:
        try:
            async with asyncio.timeout(START_MAX_S):
                await asyncio.get_running_loop().create_unix_connection(lambda: upstream, self._path)
        except OSError:  # TimeoutError is one
            upstream.refused()

    def close(self) -> None:
        for task in self._connecting:
            task.cancel()

    async def fetch(self, target: bytes) -> bytes | None:
        """The body of a GET of the engine's own; None when it is away or says anything but 200."""
        collected = Collected()
        upstream = Upstream(collected)
        upstream.start(b"GET", target, b"host: localhost\r\n", 0)
        await self._connect(upstream)
        try:
            async with asyncio.timeout(START_MAX_S):
                return await collected.body
        except TimeoutError:
            return None
        finally:
            upstream.abandon()


class Collected:
    """A Reader that waits for the whole body, up to 8 MiB."""

    def __init__(self) -> None:
        self.body: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._parts: list[bytes] = []

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._status = status

    def part(self, data: bytes) -> bool:
        self._parts.append(data)
        return sum(map(len, self._parts)) < 8 * 1024 * 1024

    def done(self) -> None:
        self._settle(b"".join(self._parts) if self._status == 200 else None)

    def failed(self, fault: CorralError) -> None:
        self._settle(None)

    def writable(self, is_writable: bool) -> None:
        """A GET has no body."""

    def _settle(self, body: bytes | None) -> None:
        if not self.body.done():
            self.body.set_result(body)


class Relayed:
    """One request on its way: a door's Taker and an Upstream's Reader."""

    body_max = None

    def __init__(self, request: Request, answer: Answer, explain: Explain, timeout_s: float) -> None:
        self._request = request
        self._answer: Answer | None = answer
        self._explain = explain
        self._begun = False
        self._is_whole = False
        self._timeout_s = timeout_s
        self._deadline: asyncio.TimerHandle | None = None
        """Of the answer's beginning, from the end of the request on; before, of the engine's reading on."""
        self.upstream = Upstream(self)

    # -- from the door --------------------------------------------------------------------------------------

    def whole(self, body: bytes) -> None:
        self._start(len(body))
        self.upstream.data(body)
        self.end()

    def open(self) -> None:
        self._start(self._request.length)

    def data(self, part: bytes) -> None:
        self.upstream.data(part)

    def end(self) -> None:
        self._is_whole = True
        self.upstream.finish()
        self._expect()

    def left(self) -> None:
        self._answer = None
        self._settle()
        self.upstream.abandon()

    def drained(self) -> None:
        self.upstream.resume()

    def _expect(self) -> None:
        """From now on the engine has to do something in time."""
        self._settle()
        if self._answer is not None and not self._begun:
            self._deadline = asyncio.get_running_loop().call_later(self._timeout_s, self._give_up)

    def _give_up(self) -> None:
        self.upstream.abandon()
        self.failed(Unavailable(f"the engine did not answer within {self._timeout_s:g} s: it may be busy or hang"))

    def _settle(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _start(self, length: int) -> None:
        request = self._request
        lines = [line for line in request.lines if not line.startswith(b"content-length:")]
        lines += (b"host: %b\r\n" % request.host, b"x-request-id: %b\r\n" % request.request_id)
        lines += (b"x-forwarded-for: %b\r\n" % request.client, b"x-forwarded-proto: http\r\n")
        lines.append(b"x-forwarded-host: %b\r\n" % request.host)
        if request.authorization:
            lines.append(b"authorization: %b\r\n" % request.authorization)
        self.upstream.start(request.method, request.path + request.query, b"".join(lines), length)

    # -- from the engine ------------------------------------------------------------------------------------

    def head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        if self._answer is None:
            return
        kept = [STATUS_LINES[status]]
        kept += [b"%b: %b\r\n" % (name.lower(), value) for name, value in headers if name.lower() not in _FRAMING]
        self._begun = True
        self._settle()
        self._answer.begin(Head(status, b"".join(kept), status in (204, 304)), b"")

    def part(self, data: bytes) -> bool:
        return self._answer is None or self._answer.part(data)

    def done(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.end()

    def failed(self, fault: Unavailable | BadResponse) -> None:
        self._settle()
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if self._begun:
            answer.cut()
        else:
            answer.reply(self._explain(fault, self._request.request_id))

    def writable(self, is_writable: bool) -> None:
        if self._answer is None:
            return
        if is_writable:
            if not self._is_whole:
                self._settle()
            self._answer.resume_body()
        else:
            self._expect()
            self._answer.pause_body()
