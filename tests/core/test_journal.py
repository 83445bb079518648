"""A journal, begun in the middle of anything: replayed, the same events lead to the same actions, under every rule."""

import math
import random
from array import array
from collections import Counter, OrderedDict, deque
from typing import Any

import msgspec
import pytest

from corral.errors import Invalid
from corral.model import ExitCause, Observation, RevisionId, ScalingValue
from corral.policy import SCALERS
from corral.policy.knative import KnativeSettings
from corral.race.simulate import Conditions, Simulation
from corral.race.trace import Durations, Function, Trace
from corral.roster import Roster, Scaling
from corral.roster.frozen import CannotFreeze, freeze, thaw
from corral.roster.journal import EVENTS, Entry, Journal, replay, roster_of, state_of


def busy_trace() -> Trace:
    """Bursts, a timer, silence: minutes in which instances come and go."""
    rows = {"burst": (0, 400, 3, 0), "timer": (1, 1, 1, 1), "steady": (60, 60, 60, 60), "late": (0, 0, 0, 30)}
    functions = tuple(
        Function(
            name=name,
            app="a",
            owner="o",
            trigger="timer" if name == "timer" else "http",
            memory_mib=64,
            counts=counts,
            durations=Durations(200, (1, 5, 50, 100, 300, 2000, 4000)),
        )
        for name, counts in rows.items()
    )
    return Trace(functions=functions, first_minute=0, minutes=4, sha256={}, source="made")


RULES: list[dict[str, ScalingValue]] = [
    *[{"engine": engine} for engine in SCALERS],
    {"engine": "knative", "class": "hpa"},
    {"engine": "openfaas", "mode": "capacity", "target": 1, "zero": True},
    {"engine": "openfaas", "mode": "alert"},
    {"engine": "openwhisk", "scheduler": "fpc"},
    {"engine": "fission", "executor": "newdeploy"},
]
SLOW = {"openfaas", "knative-hpa", "openfaas-alert", "fission-newdeploy"}
"""Rules that may do nothing in these minutes."""


def name_of(said: dict[str, ScalingValue]) -> str:
    return "-".join(str(value) for value in said.values() if isinstance(value, str))


def recorded(said: dict[str, ScalingValue], from_minute: int) -> tuple[Any, list[Entry]]:
    """(the state, the entries) of a simulated run, as they come out of a file."""
    simulation = Simulation(busy_trace(), said, Conditions(seed=3))
    plan, entries, states = simulation._roster, list[Entry](), []
    journal = Journal(plan, entries.append)

    def begin(part: float) -> None:
        if part == from_minute / 4:
            states.append(state_of(plan))
            journal.open()

    simulation.run(begin)
    journal.close()
    return msgspec.json.decode(msgspec.json.encode((states[0], entries)), type=tuple[Any, list[Entry]])


@pytest.mark.parametrize("said", RULES, ids=name_of)
def test_replay_from_the_middle_of_a_run_gives_the_same_actions(said: dict[str, ScalingValue]) -> None:
    state, entries = recorded(said, from_minute=1)
    assert sum(bool(entry.actions) for entry in entries) > 1 or name_of(said) in SLOW
    plan = roster_of(state)
    for number, entry in enumerate(entries):
        assert replay(plan, entry) == entry.actions, (number, entry)


def test_another_rule_leads_elsewhere() -> None:
    state, entries = recorded({"engine": "corral"}, from_minute=1)
    plan = roster_of(state)
    for revision in ("race/f0@1", "race/f2@1"):
        other = Scaling(min=1, max=9, initial=0, idle_s=90, concurrency=1, engine="knative", settings=KnativeSettings())
        plan.rescaled(RevisionId(revision), other, 60.0)
    assert any(replay(plan, entry) != entry.actions for entry in entries)


def test_every_event_of_the_roster_is_recorded() -> None:
    """What people look at has no moment; what happens has."""
    assert {"want", "observed", "ready", "lost", "tick", "deployed", "keeper_up", "measured"} <= set(EVENTS)
    assert not {"instances", "why", "memory", "next_at", "is_measured"} & set(EVENTS)


def test_closed_journal_leaves_the_roster_as_it_was() -> None:
    plan, entries = Roster("boot", 2, random.Random(1)), list[Entry]()
    journal = Journal(plan, entries.append)
    journal.open()
    plan.tick(1.0)
    journal.close()
    plan.tick(2.0)
    assert [(entry.event, entry.args) for entry in entries] == [("tick", [1.0])]
    assert set(vars(plan)) == set(vars(Roster("boot", 2, random.Random(1))))


def test_measurement_of_all_is_one_event() -> None:
    plan, entries = Roster("boot", 2, random.Random(1)), list[Entry]()
    Journal(plan, entries.append).open()
    plan.used({}, {}, 1.0)
    assert [entry.event for entry in entries] == ["used"]


class _Shared:
    pass


SECOND = Observation(
    arrived=1, completed=1, completed_200=1, failed=0, concurrency_s=0.1, executing_s=0.1, peak=1, oldest_wait_s=0.0,
    service_s=0.1,
)  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing"),
        pytest.param([1, 1.0, "text", True, -0.1], id="plain"),
        pytest.param({"a": [1], "b": {}}, id="object"),
        pytest.param({"$same": 0}, id="key-that-looks-like-ours"),
        pytest.param({(1, 2): {3}, None: frozenset({4})}, id="keys-of-any-kind"),
        pytest.param((math.inf, -math.inf), id="infinite"),
        pytest.param(deque([1, 2], maxlen=5), id="bounded-queue"),
        pytest.param(OrderedDict([("b", 1), ("a", 2)]), id="ordered"),
        pytest.param(Counter({"x": 2}), id="counter"),
        pytest.param(array("d", [1.5, 2.5]), id="array"),
        pytest.param(SECOND, id="struct"),
        pytest.param(ExitCause.TIMEOUT, id="enum"),
        pytest.param(KnativeSettings, id="class"),
    ],
)
@pytest.mark.parametrize("shares", [False, True])
def test_frozen_value_is_the_same_again(value: object, shares: bool) -> None:
    again = thaw(msgspec.json.decode(msgspec.json.encode(freeze(value, shares=shares))))
    assert again == value
    assert type(again) is type(value)


def test_what_was_one_object_is_one_again() -> None:
    rng, one = random.Random(4), [1]
    value = {"one": one, "two": (one, one), "rng": rng, "same": rng}
    again = thaw(msgspec.json.decode(msgspec.json.encode(freeze(value, shares=True))))
    assert again["one"] is again["two"][0] is again["two"][1]
    assert again["rng"] is again["same"]
    assert again["rng"].random() == rng.random()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param(_Shared(), "_Shared is no class or function of corral.policy", id="foreign-class"),
        pytest.param(lambda: None, "<lambda>", id="function-without-a-name"),
        pytest.param(iter(()), "tuple_iterator", id="iterator"),
    ],
)
def test_foreign_object_is_not_frozen(value: object, said: str) -> None:
    with pytest.raises(CannotFreeze, match=said):
        freeze(value)


@pytest.mark.parametrize(
    "frozen",
    [
        pytest.param({"$named": "os:system"}, id="foreign-function"),
        pytest.param({"$": "subprocess:Popen", "args": ["true"]}, id="foreign-class"),
        pytest.param({"$named": "corral.policy.scalers:difflib"}, id="module-that-is-imported-there"),
        pytest.param({"$named": "corral.policy.scalers:nothing"}, id="unknown-name"),
        pytest.param({"$method": "__reduce__", "of": {"$": "corral.roster.zygotes:Zygote"}}, id="method-of-object"),
        pytest.param({"$same": 7}, id="object-that-was-not-met"),
        pytest.param({"$what": 1}, id="unknown-mark"),
        pytest.param({"$": "corral.policy.scaler:Situation", "ready": 1}, id="lacking-fields"),
        pytest.param({"$enum": "corral.model:ExitCause", "value": "bored"}, id="no-value-of-it"),
    ],
)
def test_what_was_not_frozen_by_us_is_refused(frozen: Any) -> None:
    with pytest.raises(Invalid, match="cannot be read by this version"):
        thaw(frozen)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(Entry("_forget", [None], {}, []), id="no-event"),
        pytest.param(Entry("__init__", [], {}, []), id="no-method-of-events"),
        pytest.param(Entry("tick", [], {}, []), id="without-its-moment"),
        pytest.param(Entry("tick", 7, {}, []), id="without-arguments"),
        pytest.param(Entry("want", ["g", "default/f@1", 1, 0, "long", 2.0, 3.0], {}, []), id="too-many"),
    ],
)
def test_entry_that_is_none_is_refused(entry: Entry) -> None:
    with pytest.raises(Invalid):
        replay(Roster("boot", 2, random.Random(1)), entry)


def test_state_of_something_else_is_refused() -> None:
    with pytest.raises(Invalid, match="must be a Roster"):
        roster_of(freeze({"no": "roster"}))
