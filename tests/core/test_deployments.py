"""Revisions that nobody needs sleep, and nobody can tell but by what they cost."""

import random

import msgspec
import pytest

from corral.model import ExitCause, GatewayId, InstanceId, RevisionId
from corral.policy import SCALERS, Decision, Rule, Situation, Terms
from corral.policy.corral import Corral, CorralSettings
from corral.roster import Release, Roster, Scaling, Start, Stop
from corral.roster.deployments import REST_S

GATE = GatewayId("gate")
IDLE = Scaling(min=0, max=100, initial=0, idle_s=15.0, concurrency=1)
MANY = [RevisionId(f"default/f-{number}@1") for number in range(1000)]


@pytest.fixture
def scalers(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every scaler that is made and every question it is asked."""
    seen: list[object] = []

    class Counted(Corral):
        def __init__(self, terms: Terms) -> None:
            super().__init__(terms)
            seen.append("made")

        def decide(self, situation: Situation, now: float) -> Decision:
            seen.append("asked")
            return super().decide(situation, now)

    monkeypatch.setitem(SCALERS, "corral", Rule(CorralSettings, Counted))
    return seen


def deployed(revisions: list[RevisionId], scaling: Scaling = IDLE) -> Roster:
    roster = Roster("b", 2, random.Random(0))
    for revision in revisions:
        roster.deployed(revision, scaling, 0.0)
        roster.settled(revision, 0.0)
    roster.keeper_up({}, 0.0)
    roster.gateway_up(GATE, {}, 0.0)
    return roster


def called_once(roster: Roster, revision: RevisionId, now: float) -> float:
    """One call, and then nothing until the instance is gone; when that was."""
    [start] = [each for each in roster.want(GATE, revision, 1, 0, 0.0, now) if isinstance(each, Start)]
    roster.ready(start.instance, 1, now)
    while True:
        assert roster.next_at is not None
        now = roster.next_at
        if any(isinstance(each, Release) for each in roster.tick(now)):
            break
    assert [type(each) for each in roster.released(start.instance, now)][:1] == [Stop]
    roster.lost(start.instance, now)
    while roster.next_at is not None:
        now = roster.next_at
        assert not roster.tick(now), "what is left of timers does nothing"
    return now


def test_functions_that_nobody_calls_are_not_looked_at_when_somebody_connects(scalers: list[object]) -> None:
    roster = deployed(MANY)
    for _ in range(3):
        roster.gateway_down(GATE, 1.0)
        roster.keeper_down(1.0)
        roster.keeper_up({}, 2.0)
        roster.gateway_up(GATE, {}, 2.0)
    assert scalers == []
    assert roster.next_at is None


def test_first_call_wakes_the_function_that_is_called_and_no_other(scalers: list[object]) -> None:
    roster = deployed(MANY)
    actions = roster.want(GATE, MANY[7], 1, 0, 0.0, 1.0)
    assert [type(each) for each in actions if isinstance(each, Start)] == [Start]
    assert scalers == ["made", "asked"]


def test_function_with_a_minimum_is_awake_from_the_beginning() -> None:
    roster = deployed([MANY[0]], Scaling(min=2, max=100, initial=0, idle_s=15.0, concurrency=1))
    assert len(roster.instances(MANY[0])) == 2


def test_function_at_rest_falls_asleep_with_its_last_decision(scalers: list[object]) -> None:
    roster = deployed(MANY)
    rested = called_once(roster, MANY[0], 1.0)
    assert roster.next_at is None, "nothing wakes up for it"
    decided = roster.why(MANY[0])
    assert decided is not None and decided.desired == 0
    called_once(roster, MANY[1], rested + REST_S)
    assert scalers.count("made") == 2
    assert roster.why(MANY[0]) == decided
    called_once(roster, MANY[0], rested + 3 * REST_S)
    assert scalers.count("made") == 3, "it slept, and woke up anew"
    called_once(roster, MANY[0], rested + 3 * REST_S + 20)
    assert scalers.count("made") == 3, "it had no time to fall asleep"


def test_back_off_is_not_forgotten_in_sleep() -> None:
    roster = deployed(MANY)
    [start] = [each for each in roster.want(GATE, MANY[0], 1, 0, 0.0, 1.0) if isinstance(each, Start)]
    roster.failed(start.instance, "no", "load", 1.0)
    roster.lost(start.instance, 1.0)
    now = called_once(roster, MANY[1], 2 * REST_S)
    called_once(roster, MANY[2], now + 2 * REST_S)
    [again] = [each for each in roster.want(GATE, MANY[0], 1, 0, 0.0, 6 * REST_S) if isinstance(each, Start)]
    roster.failed(again.instance, "no", "load", 6 * REST_S)
    assert not [each for each in roster.want(GATE, MANY[0], 2, 0, 1.5, 6 * REST_S + 1.5) if isinstance(each, Start)], (
        "the second failure in a row waits for two seconds"
    )


def test_sleeping_function_is_removed_without_a_trace() -> None:
    roster = deployed(MANY)
    assert roster.removed(MANY[0], 1.0) == []
    assert roster.want(GATE, MANY[0], 1, 0, 0.0, 1.0) == ()
    assert roster.why(MANY[0]) is None


def test_instance_of_a_sleeping_function_is_adopted() -> None:
    roster = Roster("b", 2, random.Random(0))
    roster.deployed(MANY[0], IDLE, 0.0)
    roster.keeper_up({InstanceId("old-1"): MANY[0]}, 0.0)
    actions = roster.gateway_up(GATE, {MANY[0]: [InstanceId("old-1")]}, 0.0)
    assert not [each for each in actions if isinstance(each, Stop) and each.cause is not ExitCause.STOPPED]
    assert [each.state for each in roster.instances(MANY[0])] == ["ready"]


def test_sleeping_function_is_rescaled_in_its_sleep_unless_it_now_needs_instances(scalers: list[object]) -> None:
    roster = deployed(MANY[:2])
    assert roster.rescaled(MANY[0], msgspec.structs.replace(IDLE, max=1), 1.0) == ()
    assert scalers == []
    kept = msgspec.structs.replace(IDLE, min=1)
    assert [type(each) for each in roster.rescaled(MANY[1], kept, 1.0) if isinstance(each, Start)] == [Start]
    roster.want(GATE, MANY[0], 9, 0, 0.1, 2.0)
    roster.want(GATE, MANY[0], 9, 0, 0.2, 2.1)
    assert len(roster.instances(MANY[0])) == 1, "its new max holds when it wakes"
