"""The clock on the wall, as the Roster is told of it: rules that go by it start instances by its hours."""

import asyncio
import random

from corral.config import Budget
from corral.engine.fleet import Fleet
from corral.engine.history import History
from corral.roster import Roster
from corral.roster.journal import Entry, Journal
from corral.testing import ManualClock


def test_roster_is_told_when_the_clock_was_set_and_not_otherwise() -> None:
    told: list[Entry] = []
    plan, clock = Roster("boot", 2, random.Random(0)), ManualClock(monotonic=1000.0, wall=1_700_000_000.0)
    journal = Journal(plan, told.append)
    journal.open()

    async def scene() -> None:
        orders = Fleet(plan, clock, History(), Budget())._orders
        for change_s in (0.0, 0.01, 3600.0, 0.0, -86_400.0):
            clock.advance(60.0)
            clock.set_wall(clock.wall() + change_s)
            orders._tick()

    asyncio.run(scene())
    offsets = [entry.args[0] for entry in told if entry.event == "clock"]
    begun = 1_700_000_000.0 - 1000.0
    assert offsets == [begun, begun + 3600.01, begun + 3600.01 - 86_400]
