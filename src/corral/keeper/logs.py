"""Function output from its pipes to disk: read with back-pressure, so that a flood slows its author and nobody else."""

import asyncio
import collections
import logging
import os
import select
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from corral.clock import Clock
from corral.config import Keeper
from corral.keeper.journal import Journal
from corral.keeper.lines import Line, Splitter
from corral.model import FunctionKey, InstanceId

FLUSH_S = 0.05
"""Between two writes of one log, and so between two LogGrew."""
READ_BYTES = 4096
"""At a time. Small, because 4,096 bytes may be as many lines."""
PENDING_MAX_BYTES = 1024 * 1024
"""Of one function, not yet on disk. Beyond it its pipes are not read: the disk is slower than its author."""
DRAIN_MAX_BYTES = 1024 * 1024
"""The largest pipe an unprivileged process can have."""

log = logging.getLogger("corral.keeper")


class FunctionLog:
    """The log of one function and what its instances may still write now."""

    def __init__(self, rate_bytes_s: float, now: float) -> None:
        self.pipes: dict[InstanceId, Pipe] = {}
        self.pending: list[bytes] = []
        self.pending_bytes = 0
        self.is_paused = False
        self._rate = rate_bytes_s
        self._allowance = rate_bytes_s
        self._counted_at = now

    def spend(self, size: int, now: float) -> float:
        """Seconds until more may be read; 0.0: now. The allowance is one second's worth."""
        self._allowance = min(self._rate, self._allowance + (now - self._counted_at) * self._rate) - size
        self._counted_at = now
        return max(0.0, -self._allowance / self._rate)


class Pipe:
    """One instance's output. Opened twice: for reading without waiting, and for the child, whose writes shall wait."""

    def __init__(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            # Read-write on both sides: bytes and writer outlive their reader. Only opening it again allows that.
            self.fd = os.open(f"/proc/self/fd/{reader}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self.child_fd = os.open(f"/proc/self/fd/{reader}", os.O_RDWR | os.O_CLOEXEC)
        finally:
            os.close(reader)
            os.close(writer)
        self.splitter = Splitter()
        self.last_line = ""
        self.held = 0
        """How often it was full while nothing was read, so that its author waited."""
        self.held_s = 0.0
        """In all, as far as it is over; its author may have begun to wait later."""

    def remember(self, lines: Sequence[Line]) -> None:
        if lines:
            self.last_line = lines[-1].text

    def give_to(self, user: int) -> None:
        """So that it can open its own /dev/stdout."""
        os.fchown(self.fd, user, user)

    @property
    def is_full(self) -> bool:
        look = select.poll()
        look.register(self.fd, select.POLLOUT)
        return not look.poll(0)

    def count(self, unread_s: float) -> None:
        """It was not read for so long."""
        if self.is_full:
            self.held += 1
            self.held_s += unread_s

    def read(self, size: int) -> bytes:
        """Empty: nothing there."""
        try:
            return os.read(self.fd, size)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.child_fd)


class Logs:
    """A service: `run` writes what was read."""

    def __init__(
        self,
        data: Path,
        settings: Keeper,
        reader_gid: int | None,
        grew: Callable[[FunctionKey], None],
        clock: Clock,
    ) -> None:
        self._rate = settings.log_rate_kib_s * 1024
        self._journal = Journal(data, int(settings.log_max_mib * 1024 * 1024 / 2), reader_gid)
        self._grew = grew
        self._clock = clock
        self._logs: dict[FunctionKey, FunctionLog] = {}
        self._key_by_instance: dict[InstanceId, FunctionKey] = {}
        self._followed: set[FunctionKey] = set()
        self._removals: set[FunctionKey] = set()
        self._lost: collections.Counter[FunctionKey] = collections.Counter()
        """Lines the disk refused, until it takes lines again."""
        self._touched: set[FunctionKey] = set()
        """Logs with something to write, or that may have become nobody's: no flush looks at all of them."""
        self._dirty = asyncio.Event()

    # -- instances --------------------------------------------------------------------------------------------

    def open(self, instance: InstanceId, key: FunctionKey, owner: int | None) -> int:
        """The descriptor for the child's output, ours still. Raises OSError when no more can be opened."""
        pipe = Pipe()
        if owner is not None:
            pipe.give_to(owner)
        function = self._function(key)
        function.pipes[instance] = pipe
        self._key_by_instance[instance] = key
        if not function.is_paused:
            asyncio.get_running_loop().add_reader(pipe.fd, self._readable, key, instance)
        return pipe.child_fd

    def close(self, instance: InstanceId) -> str:
        """The instance ended: take what lies in its pipe. Its last line, or an empty string."""
        key = self._key_by_instance.pop(instance, None)
        if key is None:
            return ""
        function = self._logs[key]
        pipe = function.pipes.pop(instance)
        asyncio.get_running_loop().remove_reader(pipe.fd)
        left = bytearray()
        while len(left) < DRAIN_MAX_BYTES and (data := pipe.read(65_536)):
            left += data
        lines = list(pipe.splitter.finish(bytes(left)))
        pipe.close()
        pipe.remember(lines)
        self._keep(key, instance, lines)
        return pipe.last_line

    def note(self, instance: InstanceId, key: FunctionKey, text: str, request: str = "") -> None:
        """A line of Corral's own, about a request or about none."""
        self._keep(key, instance, [Line(request, text)], source="corral")

    def held_back(self, instance: InstanceId) -> str:
        """That its output had to wait, and for how long, as the end of a sentence about what became late; empty: it had
        not."""
        key = self._key_by_instance.get(instance)
        if key is None:
            return ""
        function = self._logs[key]
        pipe = function.pipes[instance]
        times = pipe.held + (function.is_paused and pipe.is_full)
        if not times:
            return ""
        counted = "once" if times == 1 else f"{times} times"
        took = f", {pipe.held_s:.1f} s in all" if pipe.held_s >= 0.05 else ""
        rate = f"the log takes {self._rate / 1024:g} KiB/s of a function (keeper.log_rate_kib_s)"
        return f"; what it printed waited {counted}{took}: {rate}"

    # -- functions --------------------------------------------------------------------------------------------

    def follow(self, key: FunctionKey, on: bool) -> None:
        (self._followed.add if on else self._followed.discard)(key)

    def forget(self, key: FunctionKey) -> None:
        self._lost.pop(key, None)
        function = self._logs.get(key)
        if function is not None:
            function.pending.clear()
            function.pending_bytes = 0
        self._removals.add(key)
        self._dirty.set()

    def _function(self, key: FunctionKey) -> FunctionLog:
        function = self._logs.get(key)
        if function is None:
            function = self._logs[key] = FunctionLog(self._rate, self._clock.monotonic())
        return function

    # -- reading ----------------------------------------------------------------------------------------------

    def _readable(self, key: FunctionKey, instance: InstanceId) -> None:
        function = self._logs[key]
        pipe = function.pipes[instance]
        before = function.pending_bytes
        lines = list(pipe.splitter.feed(pipe.read(READ_BYTES)))
        pipe.remember(lines)
        self._keep(key, instance, lines)
        # What it costs is what it puts on disk: many short lines are dearer than few long ones.
        wait_s = function.spend(max(READ_BYTES // 16, function.pending_bytes - before), self._clock.monotonic())
        if wait_s > 0 or function.pending_bytes > PENDING_MAX_BYTES:
            self._pause(key, function, max(wait_s, FLUSH_S))

    def _pause(self, key: FunctionKey, function: FunctionLog, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        function.is_paused = True
        for pipe in function.pipes.values():
            loop.remove_reader(pipe.fd)
        loop.call_later(wait_s, self._resume, key, wait_s)

    def _resume(self, key: FunctionKey, unread_s: float) -> None:
        function = self._logs.get(key)
        if function is None:
            return
        loop = asyncio.get_running_loop()
        for pipe in function.pipes.values():
            pipe.count(unread_s)
        if function.pending_bytes > PENDING_MAX_BYTES:
            loop.call_later(FLUSH_S, self._resume, key, FLUSH_S)
            return
        function.is_paused = False
        for instance, pipe in function.pipes.items():
            loop.add_reader(pipe.fd, self._readable, key, instance)

    def _keep(self, key: FunctionKey, instance: InstanceId, lines: Iterable[Line], source: str | None = None) -> None:
        function = self._function(key)
        wall = round(self._clock.wall(), 6)
        for line in lines:
            record: dict[str, object] = {"t": wall, "instance": instance, "request": line.request, "line": line.text}
            if source is not None:
                record["source"] = source
            encoded = msgspec.json.encode(record) + b"\n"
            function.pending.append(encoded)
            function.pending_bytes += len(encoded)
        self._touched.add(key)
        if function.pending:
            self._dirty.set()

    # -- writing ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                await self._flush()
                await asyncio.sleep(FLUSH_S)
        finally:
            self._write(*self._take())

    async def _flush(self) -> None:
        removals, batches = self._take()
        refused = await asyncio.to_thread(self._write, removals, batches)
        for key, records in batches.items():
            self._settle(key, len(records), refused.get(key))

    def _take(self) -> tuple[set[FunctionKey], dict[FunctionKey, list[bytes]]]:
        removals, self._removals = self._removals, set()
        batches: dict[FunctionKey, list[bytes]] = {}
        touched, self._touched = self._touched, set()
        for key in touched:
            function = self._logs.get(key)
            if function is None:
                continue
            if function.pending:
                batches[key] = function.pending
                function.pending, function.pending_bytes = [], 0
                self._touched.add(key)
            elif function.is_paused:
                self._touched.add(key)
            elif not function.pipes:
                del self._logs[key]
        return removals, batches

    def _write(self, removals: set[FunctionKey], batches: dict[FunctionKey, list[bytes]]) -> dict[FunctionKey, OSError]:
        """In a thread. What the disk refused, by function."""
        refused: dict[FunctionKey, OSError] = {}
        for key in removals:
            try:
                self._journal.remove(key)
            except OSError as exc:
                log.warning("log not removed", extra={"function": key, "error": str(exc)})
        for key, records in batches.items():
            try:
                self._journal.append(key, records)
            except OSError as exc:
                refused[key] = exc
        return refused

    def _settle(self, key: FunctionKey, count: int, refused: OSError | None) -> None:
        if refused is not None:
            if key not in self._lost:
                log.warning("log lines are lost", extra={"function": key, "error": str(refused)})
            self._lost[key] += count
            return
        if lost := self._lost.pop(key, 0):
            self.note(InstanceId(""), key, f"{lost} lines before this one were lost: the disk refused them")
        if key in self._followed:
            self._grew(key)
