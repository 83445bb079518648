"""Serve an async function: one task for each call on one event loop."""

import asyncio
import collections
import socket
from typing import Any, AsyncIterator, Deque, Dict, List, NoReturn, Optional, Set

from . import frames, logs, respond, results
from .request import BadBody, Event
from .styles import Handler


def serve(listener: socket.socket, handler: Handler, ready: bytes) -> NoReturn:
    """Raises Broken."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    listener.setblocking(False)
    main = loop.create_task(Server(handler).run(listener, ready))
    while True:
        try:
            loop.run_until_complete(main)
        except (SystemExit, KeyboardInterrupt) as exc:
            # From a task the function made itself: it ends that task, not the instance.
            logs.write_failure(exc)


class Call:
    """One call, its request still arriving or its answer on its way."""

    def __init__(self, number: int, event: Event, connection: "Connection") -> None:
        self.number = number
        self.event = event
        self.connection = connection
        self.task: Optional["asyncio.Task[None]"] = None
        self._parts: List[bytes] = []
        self._consumed = 0
        self._window = frames.WINDOW
        self._waiting: Deque["asyncio.Future[None]"] = collections.deque()

    def add_body(self, payload: bytes) -> int:
        """How much credit to give back now."""
        self._parts.append(payload)
        self._consumed += len(payload)
        if self._consumed < frames.CREDIT_AT:
            return 0
        given, self._consumed = self._consumed, 0
        return given

    def close_body(self) -> None:
        self.event.body = b"".join(self._parts)

    def add_credit(self, count: int) -> None:
        self._window += count
        self.wake()

    def wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)

    async def reserve(self, count: int) -> None:
        while self._window < count:
            if self.connection.is_lost:
                raise respond.ConnectionLost
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        self._window -= count

    def send(self, data: bytes) -> None:
        if self.connection.is_lost:
            raise respond.ConnectionLost
        self.connection.write(data)


class Server:
    """The connections one after another, and the calls that outlive theirs."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connection: Optional[Connection] = None
        self._left = 0
        """Calls of earlier connections that still run."""
        self._tasks: Set["asyncio.Task[None]"] = set()

    async def run(self, listener: socket.socket, ready: bytes) -> NoReturn:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(listener)
            connection = Connection(self)
            await loop.connect_accepted_socket(lambda: connection, accepted)  # noqa: B023
            self._connection = connection
            connection.write(frames.hello(self._left) + ready)
            try:
                await connection.closed
            finally:
                self._connection = None
            self._left += connection.leave()

    def begin(self, call: Call) -> None:
        call.task = asyncio.get_running_loop().create_task(self._answer(call))
        self._tasks.add(call.task)
        call.task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call) -> None:
        try:
            await answer(call, self._handler)
        except respond.ConnectionLost:
            pass
        finally:
            if not call.connection.end(call):
                self._left -= 1
                if self._connection is not None:
                    self._connection.write(frames.frame(frames.END, frames.LAST, 0))


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._decoder = frames.Decoder()
        self._calls: Dict[int, Call] = {}
        self._acknowledged: Dict[int, Call] = {}
        """Those whose function may be called as soon as their ACK is in the socket."""
        self._transport: Optional[asyncio.Transport] = None
        self.closed: "asyncio.Future[None]" = asyncio.get_running_loop().create_future()
        """Done when the connection is lost; raises Broken when the gateway broke the protocol."""
        self.is_lost = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        # `resume_writing` is to follow when not a byte waits any more.
        transport.set_write_buffer_limits(high=0)

    def resume_writing(self) -> None:
        self._begin_acknowledged()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.is_lost = True
        if not self.closed.done():
            self.closed.set_result(None)

    def leave(self) -> int:
        """After the loss: how many calls still run."""
        running = [call for call in self._calls.values() if call.task is not None]
        self._calls.clear()
        self._acknowledged.clear()
        for call in running:
            call.wake()
        return len(running)

    def end(self, call: Call) -> bool:
        """False: this connection was lost meanwhile."""
        return self._calls.pop(call.number, None) is not None

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        replies: List[bytes] = []
        try:
            for kind, flags, number, payload in self._decoder.feed(data):
                self._take(kind, flags, number, payload, replies)
        except frames.Broken as exc:
            if not self.closed.done():
                self.closed.set_exception(exc)
            return
        if replies:
            self.write(b"".join(replies))  # one for all acknowledgements
        if self._acknowledged:
            self._begin_acknowledged()

    def _begin_acknowledged(self) -> None:
        """What waits in the transport's own buffer ends with this process, and the gateway would give a call whose ACK
        it never got to another instance. So nothing begins before the kernel has its ACK."""
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() or transport.is_closing():
            return
        calls, self._acknowledged = self._acknowledged, {}
        for call in calls.values():
            self._server.begin(call)

    def _take(self, kind: int, flags: int, number: int, payload: bytes, replies: List[bytes]) -> None:
        call = self._calls.get(number)
        if kind == frames.HEAD:
            call = self._calls[number] = Call(number, Event(payload), self)
            if flags & frames.LAST:
                self._begin(call, replies)
        elif kind == frames.HELLO:
            frames.check_hello(payload)
        elif call is None:
            return
        elif kind == frames.CREDIT:
            call.add_credit(frames.read_u32(payload))
        elif kind == frames.CANCEL:
            self._cancel(call, replies)
        elif call.task is None:
            self._add_body(call, payload if kind == frames.BODY else b"", bool(flags & frames.LAST), replies)

    def _add_body(self, call: Call, payload: bytes, is_last: bool, replies: List[bytes]) -> None:
        credit = call.add_body(payload)
        if is_last:
            self._begin(call, replies)
        elif credit:
            replies.append(frames.credit(call.number, credit))

    def _begin(self, call: Call, replies: List[bytes]) -> None:
        call.close_body()
        replies.append(frames.ack(call.number))
        self._acknowledged[call.number] = call

    def _cancel(self, call: Call, replies: List[bytes]) -> None:
        if call.task is not None:
            call.task.cancel()
            return
        del self._calls[call.number]
        self._acknowledged.pop(call.number, None)
        replies.append(frames.failure(call.number, respond.Cancelled("cancelled before it began")))


async def answer(call: Call, handler: Handler) -> None:
    """As respond.answer, for an async function."""
    log = logs.CallLog(call.event.request_id)
    logs.enter_call(log)  # the task's own context: nothing to restore
    try:
        response = results.respond(await _result(handler.call(call.event)), handler.style)
        log.flush()
        if response.stream is None and len(response.body) <= frames.PAYLOAD_MAX:
            call.send(frames.head(call.number, response.status, response.lines, response.body, True))
        else:
            await _transmit(call, response)
    except respond.ConnectionLost:
        raise
    except BadBody as exc:
        call.send(respond.bad_body(call.number, call.event, exc))
    except asyncio.CancelledError:
        call.send(frames.failure(call.number, respond.Cancelled("cancelled")))
    except BaseException as exc:  # SystemExit too: an instance ends by its keeper only
        logs.write_failure(exc)
        log.flush()
        call.send(frames.failure(call.number, exc))
    finally:
        log.flush()


async def _result(result: Any) -> Any:
    if hasattr(result, "__await__"):
        result = await result
    if not hasattr(result, "__anext__"):
        return result
    try:
        first = await result.__anext__()
    except StopAsyncIteration:
        return None
    return results.Stream(first, result)


async def _transmit(call: Call, response: results.Response) -> None:
    """As in respond.py."""
    try:
        pieces = list(frames.pieces(response.body)) or [b""]
        last = len(pieces) - 1
        for place, piece in enumerate(pieces):
            await call.reserve(len(piece))
            ends = place == last and response.stream is None
            if place == 0:
                call.send(frames.head(call.number, response.status, response.lines, piece, ends))
            else:
                call.send(frames.frame(frames.BODY, frames.LAST if ends else 0, call.number, piece))
        if response.stream is None:
            return
        async for chunk in _chunks(response.stream):
            for piece in frames.pieces(results.chunk_bytes(chunk)):
                await call.reserve(len(piece))
                call.send(frames.frame(frames.BODY, 0, call.number, piece))
        call.send(frames.frame(frames.BODY, frames.LAST, call.number))
    finally:
        await _close(response.stream)


async def _chunks(stream: Any) -> AsyncIterator[Any]:
    if hasattr(stream, "__anext__"):
        async for chunk in stream:
            yield chunk
        return
    for chunk in stream:
        yield chunk
        await asyncio.sleep(0)  # a plain generator must not keep the other calls waiting


async def _close(stream: Any) -> None:
    """A generator left half-way runs its `finally` now, inside its call."""
    if hasattr(stream, "aclose"):
        await stream.aclose()
    elif hasattr(stream, "close"):
        stream.close()
