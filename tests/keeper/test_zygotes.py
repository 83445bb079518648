"""Zygotes of revisions, as the engine asks the real keeper for them."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from corral.link import DropZygote, Exited, Inventory, KeepZygote, SlotReady, Started, Used, ZygoteGone, ZygoteKept
from corral.model import InstanceId, Revision

from .test_main import ECHO, Engine, engine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")


def on(isolation: str, play: Callable[[Engine], Awaitable[None]]) -> None:
    async def run() -> None:
        async with engine(isolation) as made:
            await made.first(SlotReady, 3)
            await play(made)

    asyncio.run(run())


async def kept(made: Engine, revision: Revision) -> ZygoteKept:
    made.send(KeepZygote(revision, None))
    return await made.first(ZygoteKept)


def test_a_zygote_is_kept_until_it_is_dropped_and_bare_slots_are_made_for_it() -> None:
    async def play(made: Engine) -> None:
        assert (await made.first(Inventory)).keeps_zygotes
        revision = made.revision("pets", "import time\ntime.sleep(0.05)\n" + ECHO)
        told = await kept(made, revision)
        assert told.revision == revision.id
        assert 0.05 <= told.load_s < 5 and 0.5 < told.memory_mib < 100
        bare = await made.until(lambda: [slot for slot in made.all(SlotReady) if slot.is_bare])
        made.start("one", revision, bare[0].slot)
        used = await made.until(lambda: [each for each in made.all(Used) if InstanceId("one") in each.instances])
        assert revision.id in used[0].zygotes
        made.send(DropZygote(revision.id))
        assert (await made.first(ZygoteGone)).why == "it was given up"
        assert made.all(Exited) == []

    on("auto", play)


def test_what_a_zygote_takes_while_nothing_is_called_is_told() -> None:
    late = "import signal\ndef take(*_): global held; held = bytearray(b'x') * (48 << 20)\n"
    late += "signal.signal(signal.SIGALRM, take)\nsignal.setitimer(signal.ITIMER_REAL, 1.5)\n"

    async def play(made: Engine) -> None:
        revision = made.revision("pets", late + ECHO)
        assert (await kept(made, revision)).memory_mib < 48
        await made.until(lambda: [each for each in made.all(Used) if each.zygotes.get(revision.id, 0) > 48])

    on("auto", play)


def test_an_engine_that_comes_back_is_told_of_zygotes() -> None:
    async def play(made: Engine) -> None:
        revision = made.revision("pets", ECHO)
        await kept(made, revision)
        await made.go_away()
        await made.listen()
        inventory = await made.first(Inventory, 2)
        assert list(inventory.zygotes) == [revision.id]
        assert any(slot.is_bare for slot in await made.until(lambda: made.all(SlotReady)[6:]))

    on("auto", play)


def test_what_code_says_while_a_zygote_loads_it_is_in_the_functions_log() -> None:
    async def play(made: Engine) -> None:
        await kept(made, made.revision("pets", "print('feeding')\n" + ECHO))
        await made.until(lambda: "feeding" in made.log("pets"))

    on("auto", play)


def test_a_revision_that_cannot_be_meant_gets_none() -> None:
    async def play(made: Engine) -> None:
        made.send(KeepZygote(made.revision("pets", ECHO, uid=0), None))
        assert "uid = 0, must be between" in (await made.first(ZygoteGone)).why

    on("auto", play)


@pytest.mark.parametrize("isolation", ["strict", "process"])
def test_a_keeper_that_keeps_none_says_so_and_starts_plainly(isolation: str) -> None:
    async def play(made: Engine) -> None:
        assert not (await made.first(Inventory)).keeps_zygotes
        revision = made.revision("pets", ECHO)
        made.send(KeepZygote(revision, None))
        assert (await made.first(ZygoteGone)).why == "on this server each instance loads its code by itself"
        made.start("one", revision)
        await made.first(Started)

    on(isolation, play)
