"""Children forked before they are needed: whose they become, and when they end. Runs on all of BACKENDS."""

import os
import signal
from pathlib import Path

from corral.model import SlotId
from corral.sandbox import processes

from .stage import Stage
from .test_contract import ECHO, on, tier

__all__ = ["tier"]

LISTING = """
import os
def main(args):
    return {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in range(1024) if os.path.lexists(f"/proc/self/fd/{fd}")}
"""


async def parked(made: Stage, count: int = 1) -> list[SlotId]:
    """Slots in which children wait."""
    made.sandbox.warm()
    await made.until(lambda: made.zygotes)
    slots = [await made.prepare() for _ in range(count)]
    await made.until(lambda: len(waiting(made)) >= count)
    return slots


def waiting(made: Stage) -> list[int]:
    """Pids of children that wait for their order, in the order of their making."""
    children = processes.children(made.zygotes["python3"])
    return sorted(pid for pid in children if pid not in made.pids.values() and is_waiting(pid))


def is_waiting(pid: int) -> bool:
    """Behind all that it opens on its way, and asleep: it passes this number of files once before, on the move."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state == "S" and files(pid) == ["0", "1", "2", "3", "4"]


def files(pid: int) -> list[str]:
    try:
        return sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
    except OSError:
        return []


def sockets(pid: int) -> set[str]:
    return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in ("3", "4")}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_start_is_taken_by_the_child_that_waits_in_its_slot(tier: str) -> None:
    async def play(made: Stage) -> None:
        (slot,) = await parked(made)
        (pid,) = waiting(made)
        instance = await made.start(ECHO, slot=slot)
        assert made.pids[instance] == pid
        assert await made.call(instance, say="hi") == {"echo": "hi"}

    on(tier, play)


def test_each_child_becomes_one_instance_and_ends_with_it(tier: str) -> None:
    async def play(made: Stage) -> None:
        slots = await parked(made, 3)
        children = waiting(made)
        instances = [await made.start(ECHO, slot=slot) for slot in slots]
        assert sorted(made.pids[instance] for instance in instances) == children
        for instance in instances:
            await made.call(instance)
            await made.stop(instance)
            assert not is_alive(made.pids[instance])
        assert waiting(made) == []

    on(tier, play)


def test_a_waiting_child_holds_nothing_of_another_slot(tier: str) -> None:
    async def play(made: Stage) -> None:
        await parked(made, 3)
        held = [sockets(pid) for pid in waiting(made)]
        assert len(set.union(*held)) == 6

    on(tier, play)


def test_an_instance_that_waited_holds_what_any_other_does(tier: str) -> None:
    async def play(made: Stage) -> None:
        (slot,) = await parked(made)
        answer = await made.call(await made.start(LISTING, slot=slot))
        # Its listener and its connection.
        assert set(answer) == {"0", "1", "2", "3", "4"}
        assert answer["0"] == "/dev/null" and answer["1"] == answer["2"]

    on(tier, play)


def test_waiting_children_end_with_their_zygote_and_others_take_their_place(tier: str) -> None:
    async def play(made: Stage) -> None:
        slots = await parked(made, 2)
        before, zygote = waiting(made), made.zygotes["python3"]
        os.kill(zygote, signal.SIGKILL)
        await made.until(lambda: made.fallen)
        await made.until(lambda: not any(map(is_alive, before)))
        made.sandbox.warm()
        await made.until(lambda: made.zygotes["python3"] != zygote)
        await made.until(lambda: len(waiting(made)) == 2)
        instance = await made.start(ECHO, slot=slots[0])
        assert await made.call(instance, say="hi") == {"echo": "hi"}

    on(tier, play)


def test_an_order_to_a_child_whose_zygote_was_killed_is_carried_out(tier: str) -> None:
    async def play(made: Stage) -> None:
        (slot,) = await parked(made)
        os.kill(made.zygotes["python3"], signal.SIGKILL)
        instance = await made.start(ECHO, slot=slot)
        assert await made.call(instance, say="hi") == {"echo": "hi"}
        await made.stop(instance)
        assert not is_alive(made.pids[instance])

    on(tier, play)


def test_a_start_in_a_slot_whose_child_was_killed_gets_another_one(tier: str) -> None:
    async def play(made: Stage) -> None:
        (slot,) = await parked(made)
        (pid,) = waiting(made)
        os.kill(pid, signal.SIGKILL)
        await made.until(lambda: not os.path.exists(f"/proc/{pid}"))
        instance = await made.start(ECHO, slot=slot)
        assert await made.call(instance, say="hi") == {"echo": "hi"}
        assert made.pids[instance] != pid

    on(tier, play)


def test_a_start_before_any_child_waits_is_forked(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start(ECHO, slot=await made.prepare())
        assert await made.call(instance, say="hi") == {"echo": "hi"}

    on(tier, play)


def test_a_function_on_the_hosts_network_is_not_started_in_a_waiting_child(tier: str) -> None:
    async def play(made: Stage) -> None:
        (slot,) = await parked(made)
        (pid,) = waiting(made)
        instance = await made.start(ECHO, slot=slot, network="host")
        assert await made.call(instance, say="hi") == {"echo": "hi"}
        assert made.pids[instance] != pid
        await made.until(lambda: not is_alive(pid))

    on(tier, play)


def test_a_discarded_slot_takes_its_child_along(tier: str) -> None:
    async def play(made: Stage) -> None:
        (slot,) = await parked(made)
        (pid,) = waiting(made)
        made.sandbox.discard(slot)
        await made.until(lambda: not is_alive(pid))

    on(tier, play)


def test_closing_leaves_no_waiting_child(tier: str) -> None:
    async def play(made: Stage) -> None:
        await parked(made, 3)
        children = waiting(made)
        await made.sandbox.close()
        assert not any(map(is_alive, children))

    on(tier, play)
