"""Slots are made ahead, out of the way of starts."""

import asyncio
from collections.abc import Awaitable, Callable

from corral.keeper.stock import QUIET_S, Stock
from corral.model import ExitCause, InstanceId, Revision, RevisionId, SlotId
from corral.ports import Keep, Launch
from corral.testing import ManualClock


class Shelf:
    """A sandbox that makes slots at once, and nothing else."""

    tier = "T0"
    keeps_zygotes = True

    def __init__(self) -> None:
        self.discarded: list[SlotId] = []
        self.runtimes: dict[str, str] = {}

    def warm(self) -> None: ...

    def user_of(self, revision: Revision) -> int | None:
        return None

    def zygote_pids(self) -> dict[str, int]:
        return {}

    async def prepare(self, slot: SlotId, is_bare: bool = False) -> str:
        return f"unix:/{slot}"

    def discard(self, slot: SlotId) -> None:
        self.discarded.append(slot)

    def start(self, launch: Launch) -> None: ...

    def stop(self, instance: InstanceId, cause: ExitCause) -> None: ...

    def keep(self, keep: Keep) -> bool:
        return False

    def drop(self, revision: RevisionId) -> None: ...

    def zygotes(self) -> dict[RevisionId, float]:
        return {}

    def usage(self) -> dict[InstanceId, tuple[float, float]]:
        return {}

    def usage_of(self, instance: InstanceId) -> tuple[float, float] | None:
        return None

    async def close(self) -> None: ...


class Room:
    def __init__(self, size: int) -> None:
        self.clock = ManualClock()
        self.offered: list[SlotId] = []
        self.bare: list[SlotId] = []
        self._news = asyncio.Event()
        self.shelf = Shelf()
        self.stock = Stock(self.shelf, size, "k", self._offer, self.clock)

    def _offer(self, slot: SlotId, address: str, is_bare: bool) -> None:
        if is_bare:
            self.bare.append(slot)
        self.offered.append(slot)
        self._news.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.offered) < count:
                self._news.clear()
                await self._news.wait()

    async def turns(self) -> None:
        """All that is ready to run has run."""
        for _ in range(20):
            await asyncio.sleep(0)


def play(size: int, scene: Callable[[Room], Awaitable[None]]) -> None:
    async def run() -> None:
        room = Room(size)
        service = asyncio.create_task(room.stock.run())
        try:
            await room.until(size)
            await scene(room)
        finally:
            service.cancel()

    asyncio.run(run())


def test_a_taken_slot_is_replaced_once_its_start_had_the_processors() -> None:
    async def scene(room: Room) -> None:
        room.stock.take(room.offered[0])
        await room.turns()
        assert len(room.offered) == 8
        room.clock.advance(QUIET_S)
        await room.until(9)

    play(8, scene)


def test_each_start_puts_the_replacement_off_while_plenty_are_left() -> None:
    async def scene(room: Room) -> None:
        for slot in room.offered[:3]:
            room.stock.take(slot)
            room.clock.advance(QUIET_S * 0.9)
            await room.turns()
        assert len(room.offered) == 8
        room.clock.advance(QUIET_S)
        await room.until(11)

    play(8, scene)


def test_the_last_half_is_replaced_at_once() -> None:
    async def scene(room: Room) -> None:
        for slot in room.offered[:4]:
            room.stock.take(slot)
        await room.until(9)
        await room.turns()
        # One more than half is plenty again.
        assert len(room.offered) == 9

    play(8, scene)


def test_a_start_without_a_slot_does_not_wait_for_quiet() -> None:
    async def scene(room: Room) -> None:
        room.stock.take(room.offered[0])
        got: asyncio.Future[SlotId | None] = asyncio.get_running_loop().create_future()
        room.stock.order(lambda slot, address: got.set_result(slot) or True)
        async with asyncio.timeout(5):
            assert await got not in room.offered

    play(8, scene)


def test_a_stopped_stock_makes_no_more() -> None:
    async def scene(room: Room) -> None:
        room.stock.stop()
        room.stock.take(room.offered[0])
        room.clock.advance(QUIET_S)
        await room.turns()
        assert len(room.offered) == 2

    play(2, scene)


def test_a_slot_is_given_once() -> None:
    async def scene(room: Room) -> None:
        slot = room.offered[0]
        assert room.stock.take(slot) == f"unix:/{slot}"
        assert room.stock.take(slot) is None

    play(2, scene)


def test_a_slot_nobody_needs_any_more_goes_to_the_next_order() -> None:
    async def scene(room: Room) -> None:
        given: list[SlotId | None] = []
        for _ in range(50):
            room.stock.order(lambda slot, address: given.append(slot) or False)
        got: asyncio.Future[SlotId | None] = asyncio.get_running_loop().create_future()
        room.stock.order(lambda slot, address: got.set_result(slot) or True)
        async with asyncio.timeout(5):
            slot = await got
        assert set(given) == {slot}
        assert (len(room.stock.ready), room.shelf.discarded) == (2, [])

    play(2, scene)


def test_a_slot_that_nobody_needs_at_all_is_given_up() -> None:
    async def scene(room: Room) -> None:
        given: list[SlotId | None] = []
        for _ in range(50):
            room.stock.order(lambda slot, address: given.append(slot) or False)
        await room.turns()
        assert len(given) == 50
        assert room.shelf.discarded == list(dict.fromkeys(given))
        assert len(room.stock.ready) == 2

    play(2, scene)


def test_bare_slots_are_kept_besides_while_zygotes_fork_into_them() -> None:
    async def scene(room: Room) -> None:
        assert room.bare == []
        room.stock.want_bare(True)
        await room.until(4)
        assert len(room.bare) == 2
        room.stock.take(room.bare[0])
        room.clock.advance(QUIET_S)
        await room.until(5)
        assert len(room.bare) == 3
        room.stock.want_bare(False)
        room.stock.take(room.bare[1])
        room.clock.advance(QUIET_S)
        await room.turns()
        assert len(room.offered) == 5

    play(2, scene)
