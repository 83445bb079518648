"""OpenWhisk's order when an activation finds no container: room for a new one, the room of idle ones, waiting. The
slots are the Roster's budget: four for actions of 256 MiB, and a little."""

import random

from corral.model import GatewayId, InstanceId, Observation, RevisionId
from corral.policy.openwhisk import OpenWhiskSettings
from corral.roster import Action, Release, Roster, Scaling, Start

GATEWAY = GatewayId("g")
ONE, OTHER = RevisionId("a/one@1"), RevisionId("a/other@1")


class Invoker:
    def __init__(self) -> None:
        self.roster = Roster("boot", 2, random.Random(0))
        self.roster.keeper_up({}, 0.0, budget_mib=1100)
        self.roster.gateway_up(GATEWAY, {}, 0.0)
        scaling = Scaling(
            min=0,
            max=9,
            initial=0,
            idle_s=5,
            concurrency=1,
            memory_mib=256,
            engine="openwhisk",
            settings=OpenWhiskSettings(),
        )
        for revision in (ONE, OTHER):
            self.roster.deployed(revision, scaling, 0.0)
            self.roster.settled(revision, 0.0)

    def want(self, revision: RevisionId, waiting: int, executing: int, now: float) -> list[Action]:
        return list(self.roster.want(GATEWAY, revision, waiting, executing, 0.0, now))

    def filled(self) -> list[InstanceId]:
        """One action has containers wherever there is room for them, and all are ready."""
        started = starts(self.want(ONE, 5, 0, 1.0))
        for instance in started:
            self.roster.ready(instance, 1, 1.1)
        self.roster.observed(GATEWAY, ONE, Observation(arrived=5, completed=5, peak=5, service_s=0.1), 2.0)
        return started


def starts(actions: list[Action]) -> list[InstanceId]:
    return [each.instance for each in actions if isinstance(each, Start)]


def test_containers_are_made_while_there_is_room() -> None:
    # Of four slots one is left to others, as nobody may have more than nine times what he leaves free.
    assert len(Invoker().filled()) == 3


def test_another_action_finds_the_room_that_is_left() -> None:
    invoker = Invoker()
    invoker.filled()
    assert len(starts(invoker.want(OTHER, 1, 0, 10.0))) == 1


def test_idle_containers_of_another_action_make_room() -> None:
    invoker = Invoker()
    first, *_ = invoker.filled()
    actions = invoker.want(OTHER, 2, 0, 10.0)
    assert len(starts(actions)) == 1
    assert Release(GATEWAY, ONE, 1) in actions
    invoker.roster.released(first, 10.0)
    assert len(starts(list(invoker.roster.lost(first, 10.01)))) == 1, "in the room of the idle one"


def test_activation_waits_while_all_containers_are_busy_and_begins_when_one_ends() -> None:
    invoker = Invoker()
    first, *_ = invoker.filled()
    invoker.want(OTHER, 1, 0, 10.0)
    invoker.want(ONE, 1, 3, 10.0)
    actions = invoker.want(OTHER, 1, 1, 10.1)
    assert not any(isinstance(each, Start | Release) for each in actions)
    assert len(starts(list(invoker.roster.lost(first, 10.2)))) == 1
