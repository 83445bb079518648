"""Spares: children of a function's zygote that wait for the next start, and what depends on them."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from corral.model import Revision

from .stage import Stage, stage

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")

ECHO = """
import os, random
LOADED_BY = os.getpid()
def main(args):
    fds = os.listdir("/proc/self/fd")
    return {"loaded_by": LOADED_BY, "drawn": random.random(), "tmp": os.listdir("/tmp"), "fds": fds}
"""
FORKED, PLAIN = 2, 1
"""Who loaded the code: pid 2 is the zygote."""


def on_t1(play: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        async with stage("T1") as made:
            await play(made)

    asyncio.run(run())


def spares(made: Stage) -> list[int]:
    """Processes in groups of spares that no instance is."""
    own = re.compile(rf"/corral-{made.boot.name}/slice-[^/\n]+/spare-")
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            if own.search(Path(f"/proc/{pid}/cgroup").read_text()) and pid not in made.pids.values():
                found.append(pid)
    return found


async def spare(made: Stage) -> int:
    """Waits until there is one, asleep."""
    await made.until(lambda: [pid for pid in spares(made) if is_asleep(pid)])
    (pid,) = spares(made)
    return pid


def is_asleep(pid: int) -> bool:
    """It has closed what it does not need, and waits for its order."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "S" and sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2", "3", "4"]
    return False


async def started(made: Stage, revision: Revision) -> tuple[int, Any]:
    """(pid, answer) of a new instance."""
    instance = await made.start_of(revision, slot=await made.prepare(is_bare=True))
    answer = await made.call(instance)
    await made.until(lambda: instance in made.pids)
    return made.pids[instance], answer


def test_a_start_takes_the_spare_and_another_one_is_made() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        seen = []
        for _ in range(3):
            waiting = await spare(made)
            pid, answer = await started(made, revision)
            assert (pid, answer["loaded_by"]) == (waiting, FORKED)
            # Its listener, its connection and the folder that is listed.
            assert len(answer["fds"]) == 6 and answer["tmp"] == []
            seen.append(answer["drawn"])
        assert len(set(seen)) == 3

    on_t1(play)


def test_a_burst_is_forked_as_it_comes() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        await spare(made)
        answers = await asyncio.gather(*(started(made, revision) for _ in range(6)))
        assert {answer["loaded_by"] for _, answer in answers} == {FORKED}
        assert len({pid for pid, _ in answers}) == 6

    on_t1(play)


def test_a_start_whose_spare_was_killed_is_forked() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        os.kill(await spare(made), signal.SIGKILL)
        _, answer = await started(made, revision)
        assert answer["loaded_by"] == FORKED
        assert made.gone == {} and made.exits == {}

    on_t1(play)


def test_a_spare_ends_with_its_zygote_and_instances_go_on() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        await spare(made)
        instance = await made.start_of(revision, slot=await made.prepare(is_bare=True))
        await made.call(instance)
        waiting = await spare(made)
        made.sandbox.drop(revision.id)
        await made.until(lambda: not os.path.exists(f"/proc/{waiting}"))
        assert (await made.call(instance))["loaded_by"] == FORKED
        assert (await started(made, revision))[1]["loaded_by"] == PLAIN
        assert made.exits == {}

    on_t1(play)


def test_a_zygote_that_dies_of_its_first_spare_twice_is_not_raised_again() -> None:
    code = "import os\nimport _corral.python.kept as k\nif os.getpid() == 2: k.Zygote._begin = lambda *_: os._exit(0)\n"

    async def play(made: Stage) -> None:
        await made.warmed()
        revision = made.deploy(code + ECHO)
        for is_unsafe in (False, True):
            made.keep(revision)
            await made.until(lambda: revision.id in made.gone)
            assert made.gone.pop(revision.id) == ("it ended by itself", is_unsafe)
        assert (await started(made, revision))[1]["loaded_by"] == PLAIN

    on_t1(play)


def test_a_zygote_whose_spares_do_not_come_up_forks_at_each_start() -> None:
    code = """
import os
import _corral.python.kept as k
def wait(self, order): os._exit(3)
if os.getpid() == 2: k.Zygote._wait = wait
"""

    async def play(made: Stage) -> None:
        revision = await made.kept(code + ECHO)
        for _ in range(3):
            assert (await started(made, revision))[1]["loaded_by"] == FORKED, made.gone
        await made.until(lambda: not spares(made))
        assert made.gone == {}

    on_t1(play)
