"""Who reads functions' logs live, and who watches their calls. The keeper says that a log has grown, and the gateways
which calls ended, only while somebody does."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

import msgspec

from corral import link
from corral.clock import Clock
from corral.engine.links import Links, Peer
from corral.model import FunctionKey

CALLS_KEPT = 1000
"""Of a reader that does not keep up: the newest."""


class Follower:
    """One reader."""

    def __init__(self, request: str | None, has_calls: bool) -> None:
        self.grown = asyncio.Event()
        """Set when there is more to read; the reader clears it."""
        self.request, self.has_calls = request, has_calls
        self._calls: deque[bytes] = deque(maxlen=CALLS_KEPT)

    def called(self, request: str, line: bytes) -> None:
        if self.has_calls and self.request in (None, request):
            self._calls.append(line)
            self.grown.set()

    def calls(self) -> bytes:
        """A JSON line for each call that ended since the last time."""
        lines = b"".join(self._calls)
        self._calls.clear()
        return lines


class Followers:
    def __init__(self, links: Links, clock: Clock) -> None:
        self._links, self._clock = links, clock
        self._by_function: dict[FunctionKey, list[Follower]] = {}

    @contextlib.contextmanager
    def follow(self, key: FunctionKey, request: str | None, has_calls: bool) -> Iterator[Follower]:
        """`request`: its lines and its call only."""
        follower = Follower(request, has_calls)
        followers = self._by_function.setdefault(key, [])
        followers.append(follower)
        if len(followers) == 1:
            self._links.tell_keeper(link.Follow(key, True))
        if has_calls:
            self._links.tell_gateways(link.Watch(key, True))
        try:
            yield follower
        finally:
            followers.remove(follower)
            if has_calls and not any(each.has_calls for each in followers):
                self._links.tell_gateways(link.Watch(key, False))
            if not followers:
                del self._by_function[key]
                self._links.tell_keeper(link.Follow(key, False))

    def keeper_up(self) -> None:
        """A new keeper knows of nobody."""
        for key in self._by_function:
            self._links.tell_keeper(link.Follow(key, True))

    def gateway_up(self, gateway: Peer) -> None:
        """A new gateway knows of nobody."""
        for key, followers in self._by_function.items():
            if any(each.has_calls for each in followers):
                gateway.send(link.Watch(key, True))

    def grew(self, message: link.LogGrew) -> None:
        for follower in self._by_function.get(message.key, ()):
            follower.grown.set()

    def ended(self, message: link.CallEnded) -> None:
        followers = self._by_function.get(message.key)
        if not followers:
            return
        call = {
            "method": message.method,
            "path": message.path,
            "status": message.status,
            "took_ms": round(message.took_s * 1000, 3),
            "is_cold": message.is_cold,
            "is_whole": message.is_whole,
            "left_out": message.left_out,
        }
        record = {"t": round(self._clock.wall(), 6), "request": message.request, "call": call}
        line = msgspec.json.encode(record) + b"\n"
        for follower in followers:
            follower.called(message.request, line)
