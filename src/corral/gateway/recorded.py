"""Calls of namespaces that somebody records: the engine is told of those that are over, in batches."""

import asyncio
from collections.abc import Callable
from time import monotonic

from corral.gateway.call import Call
from corral.link import CallsSeen, Message, Record, SeenCall

EVERY = "*"
TOLD_PER_S = 20_000
"""About what one gateway carries; each takes the engine a few microseconds."""
BATCH = 500
BATCH_S = 0.1


class Recorded:
    def __init__(self, tell: Callable[[Message], None]) -> None:
        self._tell = tell
        self.namespaces: frozenset[str] = frozenset()
        """Empty: nobody records. With `*`: all are recorded."""
        self._calls: list[SeenCall] = []
        self._left_out = 0
        self._second = 0
        self._told = 0
        """In this second."""
        self._timer: asyncio.TimerHandle | None = None

    def record(self, message: Record) -> None:
        self._flush()
        self.namespaces = frozenset(message.namespaces)

    def has(self, namespace: str) -> bool:
        return namespace in self.namespaces or EVERY in self.namespaces

    def ended(self, call: Call, status: int) -> None:
        now = monotonic()
        if int(now) != self._second:
            self._second, self._told = int(now), 0
        if self._told == TOLD_PER_S:
            self._left_out += 1
            return
        self._told += 1
        self._calls.append(_seen(call, status, now))
        if len(self._calls) == BATCH:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_S, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._calls or self._left_out:
            self._tell(CallsSeen(self._calls, self._left_out))
        self._calls, self._left_out = [], 0


def _seen(call: Call, status: int, now: float) -> SeenCall:
    instance, arrived = call.instance, call.arrived
    if instance is None or (instance.fresh and not instance.ready_at):
        return SeenCall(call.lane.id, arrived, now - arrived, 0.0, False, status)
    is_cold = instance.fresh and instance.ready_at > arrived
    begun = max(call.sent_at, instance.ready_at) if instance.fresh else call.sent_at
    return SeenCall(call.lane.id, arrived, begun - arrived, max(0.0, now - begun), is_cold, status)
