"""Rules that go by the clock on the wall: instances come by it, though nobody calls."""

import random
from datetime import UTC, datetime
from typing import Any

from corral.model import GatewayId, RevisionId
from corral.roster import Assign, Release, Roster, Scaling, Start, read_scaling

REVISION = RevisionId("default/f@1")
GATEWAY = GatewayId("g")
EVENING = datetime(2025, 1, 1, 20, 0, tzinfo=UTC).timestamp()
WINDOWED = {"engine": "fission", "windows": "0 8 * * * for 2h keep 3", "idle_timeout_s": 60}


def scaling(said: dict[str, Any]) -> Scaling:
    engine, settings = read_scaling(said)
    return Scaling(min=0, max=10, initial=0, idle_s=15, concurrency=1, engine=engine, settings=settings)


class Night:
    """A roster whose instances are ready at once and idle; `clock` is what the clock on the wall shows at 0."""

    def __init__(self, said: dict[str, Any], clock: float = EVENING) -> None:
        self.roster, self.now, self.asked = Roster("boot", 2, random.Random(0)), 0.0, 0
        self.running: list[Any] = []
        self.roster.clock(clock, 0.0)
        self.take(self.roster.keeper_up({}, 0.0))
        self.take(self.roster.gateway_up(GATEWAY, {}, 0.0))
        self.take(self.roster.deployed(REVISION, scaling(said), 0.0))
        self.take(self.roster.settled(REVISION, 0.0))

    def take(self, actions: Any) -> None:
        for action in actions:
            if isinstance(action, Start):
                self.running.append(action.instance)
            elif isinstance(action, Assign):
                self.take(self.roster.ready(action.instance, 1, self.now))
            elif isinstance(action, Release):
                for _ in range(action.count):
                    gone = self.running.pop(0)
                    self.take(self.roster.released(gone, self.now))
                    self.take(self.roster.lost(gone, self.now))

    def until(self, moment: float) -> int:
        while self.roster.next_at is not None and self.roster.next_at <= moment:
            self.now = self.roster.next_at
            self.asked += 1
            self.take(self.roster.tick(self.now))
        self.now = moment
        return len(self.running)


def test_window_opens_and_closes_at_its_hours_without_a_call() -> None:
    night = Night(WINDOWED)
    assert night.until(12 * 3600 - 1) == 0
    assert night.until(12 * 3600) == 3
    assert night.until(14 * 3600 - 1) == 3
    assert night.until(14 * 3600 + 1) == 0
    assert night.until(36 * 3600) == 3, "and the next day"


def test_function_that_gets_a_window_while_it_sleeps_wakes_up_for_it() -> None:
    night = Night({"engine": "fission"})
    assert night.roster.next_at is None, "nothing of it needs time"
    night.take(night.roster.rescaled(REVISION, scaling(WINDOWED), 0.0))
    assert night.until(12 * 3600) == 3


def test_provisioned_ones_stand_after_a_restart_before_any_call() -> None:
    night = Night({"engine": "fission", "provisioned": 6})
    assert night.until(31.0) == 6
    assert night.roster.next_at is None, "and nothing is asked from then on"


def test_clock_that_is_set_moves_the_window_within_a_minute() -> None:
    night = Night(WINDOWED)
    night.until(3600.0)
    night.roster.clock(EVENING + 12 * 3600, night.now)
    assert night.until(3660.0) == 3
