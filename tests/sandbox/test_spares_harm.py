"""What code that was loaded into a zygote tries by way of its spare, each attempt by name."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from corral.sandbox.keeping import LOOK_AFTER_S

from .stage import Stage
from .test_kept import zygote_pids
from .test_kept_harm import HARM
from .test_spares import ECHO, FORKED, PLAIN, on_t1, spare, spares, started

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")

FLOOD = """
import _corral.python.kept as k
begin = k.Zygote._begin
def flood(self, order):
    begin(self, order)
    if order.message["op"] == "spare":
        for _ in range(3000): say(8, order.message["serial"])
if IS_ZYGOTE: k.Zygote._begin = flood
"""


def test_a_zygote_that_repeats_that_its_spare_waits_is_ended() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(HARM + FLOOD + ECHO)
        await made.until(lambda: revision.id in made.gone)
        assert made.gone[revision.id] == ("it said WAITING out of turn", True)
        assert (await started(made, revision))[1]["loaded_by"] == PLAIN

    on_t1(play)


DYING = """
import _corral.python.kept as k
wait, SPOKEN = k.Zygote._wait, k.words.say
def die(self, order):
    k.words.say = lambda fd, word, *rest: os._exit(9) if word == 5 else SPOKEN(fd, word, *rest)
    return wait(self, order)
k.Zygote._wait = die
"""


def test_a_start_whose_spare_dies_of_its_order_is_forked_and_the_next_ones_too() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(HARM + DYING + ECHO)
        await spare(made)
        for _ in range(3):
            assert (await started(made, revision))[1]["loaded_by"] == FORKED
        assert made.exits == made.gone == {} and not spares(made)

    on_t1(play)


def test_a_zygote_that_is_slow_to_collect_its_spare_is_kept() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        waiting = await spare(made)
        _, zygote = zygote_pids(made, revision)
        os.kill(zygote, signal.SIGSTOP)
        os.kill(waiting, signal.SIGKILL)
        await made.until(lambda: is_dead(waiting))
        starting = asyncio.create_task(started(made, revision))
        await made.until(lambda: not spares(made))
        # As long as it takes to see three times what is left behind.
        await asyncio.sleep(3.5 * LOOK_AFTER_S)
        os.kill(zygote, signal.SIGCONT)
        assert (await starting)[1]["loaded_by"] == FORKED
        assert made.gone == {}

    on_t1(play)


def is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
