"""A zygote seen from the keeper."""

import asyncio
import os
import sys
from collections.abc import Sequence

from corral.model import InstanceId, SlotId
from corral.sandbox.root import RUNTIMES
from corral.sandbox.zygotes import Zygote

TOO_LARGE = "x" * 16_000_000
"""A name beyond any socket's buffer."""


class Nursery:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        self.fallen: list[str] = []
        self.exits: asyncio.Queue[str] = asyncio.Queue()

    def is_up(self, zygote: Zygote, version: str) -> None: ...

    def is_down(self, zygote: Zygote, detail: str) -> None:
        self.fallen.append(detail)

    def was_parked(self, slot: SlotId, pid: int, pidfd: int) -> None:
        os.close(pidfd)

    def was_not_parked(self, slot: SlotId, error: str) -> None:
        self.refused[slot] = error

    def parked_exited(self, slot: SlotId, status: int) -> None: ...

    def was_started(self, instance: InstanceId, pid: int, pidfd: int) -> None:
        os.close(pidfd)

    def was_refused(self, instance: InstanceId, error: str) -> None:
        self.refused[instance] = error

    def has_exited(self, instance: InstanceId, status: int) -> None:
        self.exits.put_nowait(instance)


def command(fd: int) -> tuple[Sequence[str], Sequence[int]]:
    return [sys.executable, "-I", "-S", str(RUNTIMES / "python/zygote.py"), str(fd)], []


def test_an_order_that_cannot_be_sent_fails_alone() -> None:
    async def play() -> None:
        nursery = Nursery()
        zygote = Zygote("python3", command, {}, nursery)
        zygote.start(InstanceId("first"), False, {})
        zygote.start(InstanceId(TOO_LARGE), False, {})
        zygote.park(SlotId(TOO_LARGE + "y"), False, {})
        zygote.start(InstanceId("last"), False, {})
        async with asyncio.timeout(20):
            # They have no descriptors, and say so with their end.
            assert {await nursery.exits.get(), await nursery.exits.get()} == {"first", "last"}
        assert set(nursery.refused) == {TOO_LARGE, TOO_LARGE + "y"}
        for sentence in nursery.refused.values():
            assert sentence.startswith("its order could not be sent to the python3 zygote: ")
        assert nursery.fallen == []
        zygote.kill()
        await zygote.ended.wait()

    asyncio.run(play())
