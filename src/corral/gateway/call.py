"""One call on its way: what came from the client, where it is, what went back.

A call is held (no number), sent (it has a number on an instance's connection) or over. It never knows HTTP's
version: the client's side is an `Answer`, given by a door; the instance's side is contract.frame.

The body is kept until the instance says ACK, so that a call that was not begun can be sent again elsewhere. An
instance gives no credit before its ACK, so what is kept never exceeds WINDOW bytes beyond what is not sent yet."""

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

from corral.contract.frame import WINDOW, FrameBroken, parse_error, request_head
from corral.errors import BadResponse, CorralError, FunctionFailed
from corral.gateway.http import Head
from corral.model import CallId, FunctionKey

if TYPE_CHECKING:
    from corral.gateway.instance import Instance
    from corral.gateway.lane import Lane


class Reply(NamedTuple):
    """A whole answer that no function made."""

    status: int
    lines: bytes
    """Header lines, CRLF at each end; framing is the door's."""
    body: bytes


class Answer(Protocol):
    """Where a call's answer goes. Exactly one of `reply` and `whole`, or of `begin` … `end`; `cut` ends any."""

    def reply(self, reply: Reply) -> None: ...
    def whole(self, head: Head, body: bytes, extra: bytes) -> None:
        """`extra` are more header lines."""
        ...

    def begin(self, head: Head, extra: bytes) -> None: ...
    def part(self, data: bytes) -> bool:
        """False: the client does not keep up; `Call.drained` follows when it has."""
        ...

    def end(self) -> None: ...
    def cut(self) -> None:
        """The answer cannot be completed: the client must see that it is not whole."""
        ...

    def pause_body(self) -> None: ...
    def resume_body(self) -> None: ...


Explain = Callable[[CorralError, bytes], Reply]
"""A dialect's table: fault and request id -> what the client is told."""


class Call:
    """See the module. The door calls `whole`, or `open`, `data` … `end`; and `left`, `drained`. The wire calls the
    methods of contract.frame.Exchange."""

    __slots__ = (
        "acked", "answer", "arrived", "began", "complete", "consumed", "credit", "deadline", "explain", "id",
        "instance", "key", "lane", "lines", "number", "paused", "pending", "request_id", "sent", "sent_at", "status",
        "taken", "timing", "tries",
    )  # fmt: skip

    def __init__(
        self, number: CallId, key: FunctionKey, lane: "Lane", answer: Answer, explain: Explain, lines: bytes,
        request_id: bytes, arrived: float, timing: bool,
    ) -> None:  # fmt: skip
        self.id = number
        self.key = key
        """By which it was found: a held call is found anew when the function's calls go elsewhere."""
        self.lane = lane
        self.answer: Answer | None = answer
        """None once nobody waits for the answer: it was given, or the client left."""
        self.explain = explain
        self.lines = lines
        self.request_id = request_id
        self.arrived = arrived
        self.deadline = arrived + lane.timeout_s
        self.timing = timing
        self.instance: Instance | None = None
        self.number = 0
        self.tries = 0
        self.taken = False
        self.acked = False
        self.began = False
        self.complete = False
        self.paused = False
        self.pending = b""
        """Body not sent yet."""
        self.sent = b""
        """Body sent and not acknowledged yet."""
        self.status = 0
        self.sent_at = 0.0
        self.credit = WINDOW
        self.consumed = 0
        """Bytes of the answer passed on since the last credit."""

    @property
    def is_sent(self) -> bool:
        """The whole request is on its way to an instance: its function may have begun."""
        return self.number > 0 and self.complete and not self.pending

    @property
    def body_max(self) -> int:
        return self.lane.body_max

    # -- the client's side ----------------------------------------------------------------------------------

    def whole(self, body: bytes) -> None:
        """The request is complete."""
        self.pending = body
        self.complete = True
        self._set_out()

    def open(self) -> None:
        """The body will follow in parts."""
        self._set_out()

    def _set_out(self) -> None:
        if self.deadline > monotonic():
            self.lane.offer(self)
        else:
            self.refuse(self.lane.late_body())  # sent nowhere: it would only cost an instance

    def data(self, part: bytes) -> None:
        if self.answer is None:
            return
        self.pending += part
        if self.number:
            self._push()
        if len(self.pending) >= self.lane.window and not self.paused:
            self.paused = True
            self.answer.pause_body()

    def end(self) -> None:
        self.complete = True
        if self.number and self.answer is not None:
            self._push()

    def left(self) -> None:
        """The client is gone."""
        if self.answer is not None:
            self.answer = None
            self.lane.abandon(self)

    def drained(self) -> None:
        """The client reads again."""
        self._credit()

    def refuse(self, fault: CorralError) -> None:
        """Tell the client why there is no answer, if one still waits."""
        answer, self.answer = self.answer, None
        if answer is None:
            return
        if self.began:
            self.lane.cut(self)
            answer.cut()
            return
        reply = self.explain(fault, self.request_id)
        self.lane.count(self, reply.status)
        answer.reply(reply)

    # -- towards the instance -------------------------------------------------------------------------------

    def send_to(self, instance: "Instance", now: float) -> None:
        self.instance = instance
        self.sent_at = now
        self.tries += 1
        head = request_head(self.deadline - now, self.lines)
        body = self.pending
        if len(body) > WINDOW:
            body = body[:WINDOW]
        self.pending = self.pending[len(body) :]
        self.sent = body
        self.credit = WINDOW - len(body)
        self.number = instance.connection.send(self, head, body, self.complete and not self.pending)
        self._relieve()

    def take_back(self) -> bool:
        """The instance is lost: whether the call may be sent again, as if it had never been."""
        if self.taken or self.began or self.tries >= 3:
            return False
        self.pending = self.sent + self.pending
        self.sent = b""
        self.number = 0
        self.instance = None
        return True

    def _push(self) -> None:
        if self.instance is None or not self.instance.connection.is_writable:
            return
        part = self.pending[: self.credit]
        if part or (self.complete and not self.pending):
            self.pending = self.pending[len(part) :]
            self.credit -= len(part)
            if not self.taken:
                self.sent += part
            self.instance.connection.send_body(self.number, part, self.complete and not self.pending)
        self._relieve()

    def _relieve(self) -> None:
        if self.paused and self.answer is not None and len(self.pending) < self.lane.window // 2:
            self.paused = False
            self.answer.resume_body()

    # -- from the instance (contract.frame.Exchange) --------------------------------------------------------

    def acknowledged(self) -> None:
        if self.acked:
            raise FrameBroken("a second ACK for one call")
        self.acked = True
        self.taken_up()

    def taken_up(self) -> None:
        self.taken = True
        self.sent = b""

    def credited(self, count: int) -> None:
        self.taken_up()
        waiting = bool(self.pending)
        self.credit += count
        if not count or self.credit > WINDOW:
            raise FrameBroken(f"a credit of {count} bytes for what was not sent, the window is {WINDOW}")
        if waiting:
            self._push()

    def writable(self) -> None:
        if self.pending:
            self._push()

    def answered(self, head: bytes, body: bytes) -> None:
        if self.began:
            raise FrameBroken("a second HEAD for one call")
        now = monotonic()
        answer, self.answer = self.answer, None
        if answer is None:
            self.lane.over(self, now)
            return
        try:
            ready = self.lane.heads.head(head)
        except BadResponse as fault:
            self.answer = answer
            self.refuse(fault)
            self.lane.over(self, now)
            return
        self.status = ready.status
        answer.whole(ready, body, self._timings(now) if self.timing else b"")
        self.lane.count(self, ready.status, now)
        self.lane.over(self, now)

    def began_with(self, head: bytes) -> None:
        if self.began:
            raise FrameBroken("a second HEAD for one call")
        if self.answer is not None:
            try:
                ready = self.lane.heads.head(head)
            except BadResponse as fault:
                self.refuse(fault)
                self._cancel()
            else:
                self.status = ready.status
                self.answer.begin(ready, self._timings(monotonic()) if self.timing else b"")
        self.began = True

    def continued(self, part: bytes) -> None:
        if not self.began:
            raise FrameBroken("BODY before HEAD")
        self.consumed += len(part)
        # What the client has not read is kept here: an instance that ignores its window could fill our memory.
        if self.consumed > WINDOW:
            raise FrameBroken(f"{self.consumed} bytes of an answer without credit, the window is {WINDOW}")
        if self.answer is None or self.answer.part(part):
            self._credit()

    def ended(self, trailers: bytes) -> None:
        # Trailers are dropped: HTTP/1.1 clients rarely ask for them, and none of our runtimes sends any.
        now = monotonic()
        if not self.began:
            self.refuse(BadResponse("the function ended its answer without a status"))
        answer, self.answer = self.answer, None
        if answer is not None:
            self.lane.count(self, self.status, now)
            answer.end()
        self.lane.over(self, now)

    def raised(self, error: bytes) -> None:
        if self.answer is not None:
            self.status = 500
            sentence = parse_error(error)
            # A result that cannot be sent was not raised by the function, but returned.
            said = sentence.removeprefix("BadResult: ")
            if said == sentence:
                said = f"the function raised {sentence}"
            self.refuse(FunctionFailed(said))
        self.lane.over(self, monotonic(), failed=True)

    # -- inside ---------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Nobody waits any more: the instance is told, if it has the call."""
        if self.number:
            self._cancel()

    def _cancel(self) -> None:
        if self.instance is not None:
            self.instance.connection.cancel(self.number)

    def _credit(self) -> None:
        # Half a window at a time: few frames, and the instance never runs dry while the client keeps up.
        if self.consumed >= WINDOW // 2 and self.instance is not None:
            self.instance.connection.give_credit(self.number, self.consumed)
            self.consumed = 0

    def _timings(self, now: float) -> bytes:
        """Header lines that say where the time went, in ms."""
        instance = self.instance
        assert instance is not None
        ready_at = instance.ready_at
        cold = max(ready_at - self.arrived, 0.0) if instance.fresh else 0.0
        begun = max(self.sent_at, ready_at) if cold else self.sent_at
        queue = 0.0 if cold else self.sent_at - self.arrived
        parts = (queue * 1000, cold * 1000, (now - begun) * 1000)
        lines = b"server-timing: queue;dur=%.3f, cold;dur=%.3f, function;dur=%.3f\r\n" % parts
        lines += b"x-corral-instance: %b\r\n" % instance.id.encode()
        return lines + b"x-corral-cold: 1\r\n" if cold else lines
