"""An open loop of calls: each is sent at its own moment, however the others fare."""

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field

PATIENCE_S = 10.0
"""A call without an answer by then hangs."""


@dataclass
class Outcome:
    sent_at: float
    """Seconds after the load began."""
    status: int
    """0: the connection broke, -1: it hung."""
    took_s: float
    body: bytes


@dataclass
class Load:
    """The calls of one run, in the order of sending."""

    outcomes: list[Outcome] = field(default_factory=list)

    def statuses(self, since: float = 0.0, until: float = 1e9) -> Counter[int]:
        return Counter(each.status for each in self.outcomes if since <= each.sent_at < until)

    def bodies(self, status: int) -> set[bytes]:
        return {each.body for each in self.outcomes if each.status == status}

    def slowest_s(self, status: int = 200) -> float:
        return max((each.took_s for each in self.outcomes if each.status == status), default=0.0)


class Loop:
    """`rate` calls a second to one path. `at_s` -> what is done at that moment of the run."""

    def __init__(self, host: str, path: str, rate: float) -> None:
        self._address = host.rpartition(":")[0], int(host.rpartition(":")[2])
        self._request = f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode()
        self._rate = rate
        self.load = Load()

    async def run(self, duration_s: float, until: asyncio.Event | None = None) -> Load:
        """For so long; with `until` at least so long, and till it is set."""
        loop = asyncio.get_running_loop()
        self._begun = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                if number >= duration_s * self._rate and (until is None or until.is_set()):
                    break
                moment = self._begun + number / self._rate
                await asyncio.sleep(moment - loop.time())
                group.create_task(self._call(moment - self._begun))
        self.load.outcomes.sort(key=lambda each: each.sent_at)
        return self.load

    async def _call(self, sent_at: float) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, body = await self._ask()
        except TimeoutError:
            status, body = -1, b""
        except (OSError, ValueError, IndexError, asyncio.IncompleteReadError):
            status, body = 0, b""
        self.load.outcomes.append(Outcome(sent_at, status, time.monotonic() - begun, body))

    async def _ask(self) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            writer.write(self._request)
            answer = await reader.read(-1)
        finally:
            writer.close()
        head, end, body = answer.partition(b"\r\n\r\n")
        if not end:
            raise ValueError("the answer is not whole")
        return int(head.split()[1]), body
