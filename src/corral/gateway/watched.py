"""Functions whose calls somebody watches live, or records: the engine is told of each that ends, unless there are too
many."""

from collections.abc import Callable, Container
from time import monotonic

from corral.gateway.call import Call
from corral.gateway.recorded import Recorded
from corral.link import CallEnded, Message, Record, Watch
from corral.model import FunctionKey

TOLD_PER_S = 500
"""More than anybody reads, and a small part of what a gateway carries."""
PATH_MAX_BYTES = 1024
LEFT = 499
"""The status of a call whose client left before it had an answer. A custom of web servers."""


class Watched:
    def __init__(self, tell: Callable[[Message], None]) -> None:
        self._tell = tell
        self.keys: set[FunctionKey] = set()
        """Of functions that are watched."""
        self.recorded = Recorded(tell)
        self.told: Container[FunctionKey] = self.keys
        """Of those whose calls count here. While nobody records, a lookup in a set is all that a call pays."""
        self._second = 0
        self._told = 0
        """In this second."""
        self._left_out = 0

    def watch(self, message: Watch) -> None:
        (self.keys.add if message.on else self.keys.discard)(message.key)

    def record(self, message: Record) -> None:
        self.recorded.record(message)
        self.told = self if self.recorded.namespaces else self.keys

    def __contains__(self, key: object) -> bool:
        return key in self.keys or self.recorded.has(str(key).partition("/")[0])

    def opened(self) -> None:
        """A connection to the engine begins: it names them again."""
        self.keys.clear()
        self.record(Record([]))

    def ended(self, call: Call, status: int, is_whole: bool = True) -> None:
        """Of a function in `told`. `status` 0: the client was told none."""
        if self.recorded.has(call.lane.namespace):
            self.recorded.ended(call, status or LEFT)
        if call.lane.key in self.keys:
            self._show(call, status, is_whole)

    def _show(self, call: Call, status: int, is_whole: bool) -> None:
        now = monotonic()
        if int(now) != self._second:
            self._second, self._told = int(now), 0
        if self._told == TOLD_PER_S:
            self._left_out += 1
            return
        self._told += 1
        left_out, self._left_out = self._left_out, 0
        method, _, path = call.lines.partition(b"\r\n")[0].partition(b" ")
        instance = call.instance
        self._tell(
            CallEnded(
                call.lane.key,
                call.request_id.decode("ascii", "replace"),
                method.decode("ascii", "replace"),
                path[:PATH_MAX_BYTES].decode("utf-8", "replace"),
                status or LEFT,
                now - call.arrived,
                is_cold=instance is not None and instance.fresh and instance.ready_at > call.arrived,
                is_whole=is_whole,
                left_out=left_out,
            )
        )
