"""Children of functions' own zygotes that were forked before they are needed: each waits in a sandbox of its own for
the order that makes it an instance. A fork of a process that has loaded much takes longer than all else of a start.

A spare saves time and nothing depends on it: without one the zygote is asked to fork, as in a burst."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import NamedTuple, Protocol

import msgspec

from corral.sandbox.cgroups import Group, Limits
from corral.sandbox.slices import Slice
from corral.sandbox.slots import close_all

REFILL_AFTER_S = 0.02
"""After a start: what comes in a burst is forked as it comes, and a spare for the next one when it is over."""


class Spare:
    def __init__(self, serial: int, group: Group) -> None:
        self.serial = serial
        self.group = group
        """It alone is in there."""
        self.is_waiting = False
        """It said that it takes an order."""
        self._orders, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.setblocking(False)

    def take_end(self) -> int:
        """The child's end of its socket, now the caller's."""
        return self._theirs.detach()

    def order(self, fds: Mapping[str, int], stamps: Mapping[str, float]) -> None:
        """Have it become an instance. The descriptors stay ours. Raises OSError: it is dead."""
        packet = msgspec.json.encode({"op": "start", "fds": list(fds), "stamps": stamps})
        socket.send_fds(self._orders, [packet], list(fds.values()))

    def close(self) -> None:
        """Without an order it ends, with one it goes on."""
        self._orders.close()
        self._theirs.close()


class Mother(Protocol):
    """A zygote that has loaded its function's code."""

    slice: Slice
    spare: Spare | None
    is_gone: bool
    forks_spares: bool

    @property
    def limits(self) -> Limits: ...
    def fork_spare(self, group: Group, fds: Mapping[str, int]) -> None: ...
    def give_up_spare(self) -> Spare | None: ...


class _Ready(NamedTuple):
    group: Group
    fds: dict[str, int]


class Spares:
    """One for each zygote. Runs on the loop, but for what `thread` makes."""

    def __init__(
        self, open_tmp: Callable[[], dict[str, int]], thread: Executor, leave: Callable[[Group], None]
    ) -> None:
        """`leave` is given groups whose processes are to end."""
        self._open_tmp, self._thread, self._leave = open_tmp, thread, leave
        self._due: dict[Mother, asyncio.TimerHandle] = {}
        self._making: dict[Mother, asyncio.Task[None]] = {}
        self._numbers = itertools.count(1)

    def want(self, mother: Mother) -> None:
        """It should have one soon."""
        if mother.forks_spares and mother not in self._due and mother not in self._making:
            self._due[mother] = asyncio.get_running_loop().call_later(REFILL_AFTER_S, self._begin, mother)

    def drop(self, mother: Mother) -> None:
        """It has none from now on."""
        due = self._due.pop(mother, None)
        if due is not None:
            due.cancel()
        spare = mother.give_up_spare()
        if spare is not None:
            spare.close()
            spare.group.kill()
            self._leave(spare.group)

    async def close(self) -> None:
        """Nothing is being made any more."""
        for due in self._due.values():
            due.cancel()
        self._due.clear()
        while self._making:
            await asyncio.wait(self._making.values())

    def _begin(self, mother: Mother) -> None:
        del self._due[mother]
        if mother.spare is None and mother.forks_spares and not mother.is_gone:
            self._making[mother] = asyncio.create_task(self._make(mother), name="make a spare")

    async def _make(self, mother: Mother) -> None:
        try:
            loop = asyncio.get_running_loop()
            group, fds = await loop.run_in_executor(self._thread, self._prepare, mother, next(self._numbers))
        except OSError:
            return
        finally:
            del self._making[mother]
        try:
            if mother.is_gone or not mother.forks_spares:
                self._leave(group)
            else:
                mother.fork_spare(group, fds)
        except OSError:
            self._leave(group)
        finally:
            close_all(fds)

    def _prepare(self, mother: Mother, number: int) -> _Ready:
        group = mother.slice.make(f"spare-{number}", mother.limits)
        fds: dict[str, int] = {}
        try:
            fds |= {f"tasks{place}": fd for place, fd in enumerate(group.entrances())}
            fds |= self._open_tmp()
        except OSError:
            close_all(fds)
            with contextlib.suppress(OSError):
                group.remove()
            raise
        return _Ready(group, fds)
