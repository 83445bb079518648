"""The machine's memory, shared out by the roster: events in, exact actions out."""

import random
from collections.abc import Sequence

import pytest

from corral.model import GatewayId, InstanceId, Observation, RevisionId
from corral.policy.budget import YOUNG
from corral.roster import (
    Action,
    Assign,
    Decided,
    DropZygote,
    KeepZygote,
    Learned,
    Queued,
    Release,
    Retire,
    Roster,
    Scaling,
    Start,
    ZygoteTerms,
    read_scaling,
)

GATE = GatewayId("gate")
F, G, H = RevisionId("default/f@1"), RevisionId("default/g@1"), RevisionId("default/h@1")
NEXT = RevisionId("default/f@2")
OTHER = RevisionId("other/f@1")


class Engine:
    """A roster on a machine with `budget_mib`, whose starts become ready when told."""

    def __init__(self, budget_mib: float, zygotes: bool = False, **terms: float) -> None:
        self.roster = Roster("b", 8, random.Random(0), ZygoteTerms(**terms))  # type: ignore[arg-type]
        self.roster.keeper_up({}, 0.0, budget_mib=budget_mib, zygotes={} if zygotes else None)
        self.roster.gateway_up(GATE, {}, 0.0)
        self.now = 0.0

    def deploy(self, revision: RevisionId, memory_mib: int = 100, **changes: int) -> list[Action]:
        bounds = {"min": 0, "max": 100, "initial": 0} | changes
        scaling = Scaling(**bounds, idle_s=600.0, concurrency=1, memory_mib=memory_mib)
        done = deeds(self.roster.deployed(revision, scaling, self.now))
        return done + deeds(self.roster.settled(revision, self.now))

    def deploy_kept(self, revision: RevisionId) -> None:
        """By a rule that keeps the last instance, though `min` promises none."""
        engine, settings = read_scaling(
            {"engine": "knative", "scale_to_zero": False, "window_s": 6, "target_utilization_percent": 100}
        )
        scaling = Scaling(
            min=0, max=9, initial=0, idle_s=600.0, concurrency=1, memory_mib=100, engine=engine, settings=settings
        )
        self.roster.deployed(revision, scaling, self.now)
        self.roster.settled(revision, self.now)

    def want(self, revision: RevisionId, executing: int = 0, waiting: int = 1) -> list[Action]:
        """A call waits, and has for long enough that each of these asks for one more start."""
        return deeds(self.roster.want(GATE, revision, waiting, executing, 0.0, self.now))

    def run_two(self, revision: RevisionId) -> InstanceId:
        """Two that are idle; the older of them."""
        self.deploy(revision)
        first = self.run_one(revision, used_mib=80)
        self.run_one(revision)
        self.wait(2.0)
        return first

    def loads(self, instance: InstanceId, load_s: float = 0.0, used_mib: float | None = None) -> list[Action]:
        """It becomes ready after `load_s`, and is measured."""
        self.now += load_s
        actions = self.roster.ready(instance, 1, self.now, load_s)
        if used_mib is None:
            return deeds(actions)
        done = [*actions]
        for _ in range(YOUNG):
            done += self.roster.measured({instance: used_mib}, {}, self.now)
        return deeds(done)

    def run_one(self, revision: RevisionId, load_s: float = 0.01, used_mib: float | None = None) -> InstanceId:
        """One that started for a call, is ready and busy with it."""
        executing = len(self.roster.instances(revision))
        [instance] = started(self.want(revision, executing))
        self.loads(instance, load_s, used_mib)
        self.calls(revision, executing + 1)
        return instance

    def calls(self, revision: RevisionId, peak: int) -> list[Action]:
        """A second ends in which so many calls were executed at once."""
        return deeds(self.roster.observed(GATE, revision, Observation(arrived=peak, peak=peak), self.now))

    def serve(self, revision: RevisionId, count: int, memory_mib: int = 100) -> list[InstanceId]:
        """So many of it that are busy."""
        self.deploy(revision, memory_mib)
        return [self.run_one(revision) for _ in range(count)]

    def go_on(self, seconds: float, *revisions: RevisionId, waiting: RevisionId | None = None) -> list[Action]:
        """All their instances stay busy; a call waits for one of `waiting`."""
        done: list[Action] = []
        for _ in range(round(seconds)):
            for revision in revisions:
                self.calls(revision, len(self.roster.instances(revision)))
            done += [] if waiting is None else self.want(waiting)
            done += self.wait(1.0)
        return done

    def wait(self, seconds: float) -> list[Action]:
        done: list[Action] = []
        end = self.now + seconds
        while self.roster.next_at is not None and self.roster.next_at <= end:
            self.now = max(self.now, self.roster.next_at)
            done += deeds(self.roster.tick(self.now))
        self.now = end
        return done

    def end(self, instance: InstanceId) -> list[Action]:
        """The gateway gave it up and the keeper has ended it."""
        return deeds([*self.roster.released(instance, self.now), *self.roster.lost(instance, self.now)])

    @property
    def used_mib(self) -> int:
        return self.roster.admission.budget.instances_mib


def deeds(actions: Sequence[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Decided | Assign | Learned)]


def started(actions: Sequence[Action]) -> list[InstanceId]:
    return [action.instance for action in actions if isinstance(action, Start)]


# -- admission ------------------------------------------------------------------------------------------------


def test_a_start_beyond_the_budget_waits_until_another_ends() -> None:
    engine = Engine(200)
    for revision in (F, G, H):
        engine.deploy(revision)
    first, _ = engine.run_one(F), engine.run_one(G)
    [queued] = engine.want(H)
    assert queued == Queued(
        H,
        "all 200 MiB that functions of this machine may use are in use, and it needs 100: "
        "it is started as soon as others make room",
    )
    assert engine.want(H) == [], "that is said once"
    lifted, start = engine.end(first)[1:]
    assert lifted == Queued(H, "")
    assert isinstance(start, Start) and start.revision == H
    assert engine.used_mib == 200


def test_what_was_measured_counts_and_not_the_limit() -> None:
    engine = Engine(230)
    engine.deploy(F, memory_mib=200)
    engine.run_one(F, used_mib=49.5)
    assert engine.used_mib == 50
    for _ in range(3):
        engine.run_one(F)
    assert not started(engine.want(F, executing=4))


def test_a_start_that_waits_for_room_is_not_forgotten_by_a_second_without_instances() -> None:
    engine = Engine(100)
    engine.deploy(F)
    engine.deploy(G)
    instance = engine.run_one(F)
    engine.want(G)
    assert deeds(engine.roster.observed(GATE, G, Observation(arrived=1, peak=1), engine.now)) == []
    assert started(engine.end(instance))


def test_a_start_that_nobody_waits_for_any_more_is_given_up() -> None:
    engine = Engine(100)
    engine.deploy(F)
    engine.deploy(G)
    instance = engine.run_one(F)
    engine.want(G)
    assert engine.wait(1.0) == []
    engine.calls(F, 1)
    assert engine.wait(1.0) == [Queued(G, "")]
    assert not started(engine.end(instance))
    assert not started(engine.wait(100.0))


def test_a_first_measurement_lets_others_start_at_once() -> None:
    engine = Engine(200)
    engine.deploy(F, memory_mib=200)
    engine.deploy(G, memory_mib=150)
    [instance] = started(engine.want(F))
    assert not started(engine.want(G))
    assert len(started(engine.loads(instance, used_mib=20))) == 1


def test_what_loading_takes_is_not_taken_for_what_calls_take() -> None:
    engine = Engine(1000)
    engine.deploy(F, memory_mib=200)
    first = engine.run_one(F)
    engine.roster.measured({first: 10}, {}, engine.now)
    assert engine.used_mib == 10, "as one that was deployed and waits"
    second = engine.run_one(F)
    assert engine.used_mib == 400
    for _ in range(2):
        engine.roster.measured({first: 150, second: 150}, {}, engine.now)
    assert engine.used_mib == 300


def test_what_an_earlier_engine_learned_counts_from_the_first_start() -> None:
    engine = Engine(200)
    engine.deploy(F, memory_mib=200)
    engine.roster.remembered(F, 90, 0.0)
    engine.run_one(F)
    engine.run_one(F)
    assert not started(engine.want(F, executing=2))


def test_working_sets_are_told_when_they_change_by_a_tenth() -> None:
    engine = Engine(1000)
    engine.deploy(F)
    [instance] = started(engine.want(F))
    engine.roster.ready(instance, 1, 0.0)
    told = []
    for mib in (50, 54, 56, 58, 90):
        told += [each for each in engine.roster.measured({instance: mib}, {}, 0.0) if isinstance(each, Learned)]
    assert told == [Learned(F, 50), Learned(F, 56), Learned(F, 90)]


def test_memory_counts_until_the_instance_is_gone() -> None:
    engine = Engine(100)
    engine.deploy(F)
    engine.deploy(G)
    instance = engine.run_one(F)
    engine.want(G)
    assert not started(deeds(engine.roster.released(instance, engine.now))), "it is only ending"
    assert started(deeds(engine.roster.lost(instance, engine.now)))


def test_a_function_that_could_never_fit_is_told_so() -> None:
    engine = Engine(100)
    engine.deploy(F, memory_mib=300)
    assert engine.want(F) == [Queued(F, "it needs 300 MiB, and all functions of this machine may use 100")]


def test_without_a_budget_everything_starts() -> None:
    engine = Engine(float("inf"))
    engine.deploy(F, memory_mib=1_000_000, min=20)
    assert len(engine.roster.instances(F)) == 20


# -- who waits ------------------------------------------------------------------------------------------------


def test_a_start_that_what_is_promised_leaves_no_room_for_keeps_nobody_from_starting() -> None:
    engine = Engine(1000)
    engine.deploy(F, min=6)
    assert engine.deploy(G, memory_mib=500, min=1) == [
        Queued(
            G,
            "it needs 500 MiB, and 600 of 1000 that functions of this machine may use are promised to instances by "
            "`min`",
        )
    ]
    engine.wait(100.0)
    engine.deploy(OTHER)
    assert len(started(engine.want(OTHER))) == 1


def test_a_start_that_fairness_makes_no_room_for_lets_others_pass() -> None:
    engine = Engine(1000)
    engine.serve(OTHER, 6)
    engine.deploy(F, memory_mib=590)
    [told] = engine.want(F)
    assert isinstance(told, Queued), "the others would have less"
    engine.deploy(G)
    assert len(started(engine.want(G))) == 1


def test_one_that_has_waited_for_long_gets_room_also_from_those_that_have_less() -> None:
    engine = Engine(1000)
    engine.serve(OTHER, 6)
    engine.deploy(F, memory_mib=590)
    done = engine.go_on(4.0, OTHER, waiting=F)
    assert not [action for action in done if isinstance(action, Retire)]
    done = engine.go_on(3.0, OTHER, waiting=F)
    retired = [action.instance for action in done if isinstance(action, Retire)]
    assert len(retired) == 2, "410 MiB are free or will be, 590 are needed"
    engine.deploy(G)
    assert not started(engine.want(G)), "nobody takes what was free"
    assert [start for instance in retired for start in started(engine.end(instance))][:1]
    assert len(engine.roster.instances(F)) == 1


def test_everyone_who_waits_is_told_why() -> None:
    engine = Engine(100)
    engine.serve(F, 1)
    for revision in (G, H):
        engine.deploy(revision)
        assert [type(action) for action in engine.want(revision)] == [Queued]
        memory = engine.roster.memory(revision)
        assert memory is not None and memory.shortage is not None


def test_who_waits_is_told_again_to_a_gateway_that_came_back() -> None:
    engine = Engine(100)
    [instance] = engine.serve(F, 1)
    engine.deploy(G)
    engine.want(G)
    engine.roster.gateway_down(GATE, engine.now)
    again = [*engine.roster.gateway_up(GATE, {F: [instance]}, engine.now), *engine.wait(0.3)]
    assert [action.revision for action in again if isinstance(action, Queued)] == [G]


# -- what is given up -----------------------------------------------------------------------------------------


def idle(engine: Engine, *revisions: tuple[RevisionId, int]) -> None:
    """An instance of each that has had so many calls and none now."""
    for revision, calls in revisions:
        engine.deploy(revision)
        engine.run_one(revision)
        for _ in range(calls - 1):
            engine.calls(revision, 1)
    engine.wait(2.0)


def test_the_idle_instance_of_least_value_goes_first() -> None:
    engine = Engine(200)
    idle(engine, (F, 5), (G, 3))
    engine.deploy(H)
    assert engine.want(H) == [Release(GATE, G, 1)]
    assert engine.want(H) == [], "room is on its way"


def test_as_many_go_as_the_start_needs() -> None:
    engine = Engine(300)
    idle(engine, (F, 3), (G, 2), (OTHER, 1))
    engine.deploy(H, memory_mib=200)
    assert engine.want(H) == [Release(GATE, OTHER, 1), Release(GATE, G, 1)]


def test_the_one_evicted_does_not_come_back_by_itself() -> None:
    engine = Engine(100)
    idle(engine, (F, 1))
    engine.deploy(G)
    engine.want(G)
    [instance] = [each.instance for each in engine.roster.instances(F)]
    assert len(started(engine.end(instance))) == 1
    assert not started(engine.wait(100.0))


def test_the_one_evicted_comes_back_when_there_is_room_if_its_rule_keeps_it() -> None:
    engine = Engine(100)
    engine.deploy_kept(F)
    kept = engine.run_one(F)
    engine.wait(5.0)
    engine.deploy(G)
    assert engine.want(G) == [Release(GATE, F, 1)]
    [instance] = started(engine.end(kept))
    engine.loads(instance)
    assert not started(engine.wait(30.0)), "G has the room"
    assert [start.revision for start in engine.end(instance) if isinstance(start, Start)] == [F]


def test_what_a_rule_foresees_is_met_as_soon_as_there_is_room() -> None:
    engine = Engine(230)
    for revision in (F, G):
        engine.deploy(revision)
    engine.run_one(F)
    other = engine.run_one(G)
    engine.wait(2.0)
    much = Observation(arrived=1500, completed=1500, service_s=15.0, peak=1)
    assert deeds(engine.roster.observed(GATE, F, much, engine.now)) == []
    assert [start.revision for start in engine.end(other) if isinstance(start, Start)] == [F]


def test_what_min_promises_stays() -> None:
    engine = Engine(100)
    engine.deploy(F, min=1)
    [instance] = [each.instance for each in engine.roster.instances(F)]
    engine.loads(instance)
    engine.wait(5.0)
    engine.deploy(G)
    [told] = engine.want(G)
    assert isinstance(told, Queued)


def test_nothing_is_given_up_for_what_a_rule_foresees() -> None:
    engine = Engine(200)
    idle(engine, (F, 1))
    engine.deploy(G)
    engine.run_one(G)
    engine.wait(2.0)
    much = Observation(arrived=500, completed=500, service_s=50.0, peak=1)
    assert deeds(engine.roster.observed(GATE, G, much, engine.now)) == []


def test_a_scale_down_after_an_eviction_is_asked_again_when_it_was_refused() -> None:
    engine = Engine(200)
    evicted = engine.run_two(F)
    engine.deploy(G)
    assert engine.want(G) == [Release(GATE, F, 1)]
    engine.end(evicted)
    asked = [action for action in engine.wait(603.0) if action == Release(GATE, F, 1)]
    assert len(asked) >= 2, "600 s after its last call, and each second from then on"


def test_one_that_turns_out_busy_costs_a_second_and_then_another_goes() -> None:
    engine = Engine(200)
    idle(engine, (F, 1), (G, 9))
    engine.deploy(H)
    assert engine.want(H) == [Release(GATE, F, 1)]
    engine.calls(F, 1)
    engine.want(H)
    assert Release(GATE, G, 1) in engine.wait(1.1)


# -- fairness -------------------------------------------------------------------------------------------------


def test_the_largest_user_lets_one_go_after_its_calls_for_who_has_less() -> None:
    engine = Engine(400)
    for revision in (G, F, F, H):
        engine.deploy(revision)
        engine.run_one(revision)
    engine.deploy(OTHER)
    told, retired = sorted(engine.want(OTHER), key=lambda action: type(action).__name__)
    assert isinstance(told, Queued)
    assert isinstance(retired, Retire)
    assert retired.instance in [each.instance for each in engine.roster.instances(F)]
    assert started(engine.end(retired.instance))


def test_one_function_leaves_a_tenth_to_the_first_starts_of_others() -> None:
    engine = Engine(1000)
    engine.deploy(F)
    for _ in range(9):
        engine.run_one(F)
    assert engine.want(F, executing=9) == [
        Queued(F, "it has 9 instances, and what they leave of 1000 MiB is for others")
    ]
    engine.deploy(G)
    assert len(started(engine.want(G))) == 1


def test_one_that_lets_go_after_its_calls_is_enough_for_one_start() -> None:
    engine = Engine(900)
    busy = engine.serve(F, 8)
    engine.deploy(OTHER, memory_mib=190)
    engine.want(OTHER)
    done = engine.go_on(10.0, F, waiting=OTHER)
    assert not [action for action in done if isinstance(action, Retire)], "one was at once, and it is enough"
    retiring = [each.instance for each in engine.roster.instances(F) if each.state == "releasing"]
    assert len(retiring) == 1
    assert started(engine.end(retiring[0])) and len(busy) == 8


def test_one_that_fell_idle_is_taken_before_the_calls_of_another_end() -> None:
    engine = Engine(300)
    engine.serve(F, 2)
    engine.serve(G, 1)
    engine.deploy(OTHER)
    assert [type(action) for action in engine.want(OTHER)] == [Retire, Queued]
    assert Release(GATE, G, 1) in engine.go_on(2.0, F, waiting=OTHER)


def test_what_is_promised_may_take_the_last() -> None:
    engine = Engine(1000)
    engine.deploy(F, min=10)
    assert len(engine.roster.instances(F)) == 10


def test_who_would_have_less_than_the_taker_need_not_give() -> None:
    engine = Engine(200)
    engine.deploy(F)
    engine.deploy(OTHER)
    engine.run_one(F)
    engine.run_one(OTHER)
    assert [type(action) for action in engine.want(OTHER, executing=1)] == [Queued]
    assert not [action for action in engine.wait(1.0) if isinstance(action, Retire)]


@pytest.mark.parametrize(
    ("asking", "expected"),
    [
        pytest.param([(F, 100), (OTHER, 100)], OTHER, id="the namespace that has less goes first"),
        pytest.param([(G, 100), (H, 100)], G, id="equals go in the order they came"),
        pytest.param([(G, 300), (H, 100)], H, id="who asks for much goes after who asks for little"),
        pytest.param([(F, 100), (G, 100)], G, id="in a namespace, the function that has less"),
    ],
)
def test_whose_turn_it_is(asking: list[tuple[RevisionId, int]], expected: RevisionId) -> None:
    engine = Engine(400)
    hog = RevisionId("hogs/f@1")
    engine.deploy(F)
    engine.run_one(F)
    engine.deploy(hog, min=3)
    for each in engine.roster.instances(hog):
        engine.loads(each.instance)
    engine.calls(hog, 3)
    for revision, memory_mib in asking:
        if revision != F:
            engine.deploy(revision, memory_mib)
        engine.want(revision, executing=int(revision == F))
    one, *_ = [each.instance for each in engine.roster.instances(hog)]
    [start] = [each for each in engine.end(one) if isinstance(each, Start)]
    assert start.revision == expected


# -- zygotes --------------------------------------------------------------------------------------------------


def slow(engine: Engine, revision: RevisionId, load_s: float = 0.2, used_mib: float = 50) -> list[Action]:
    """One slow start; what it led to."""
    engine.deploy(revision)
    [instance] = started(engine.want(revision))
    return engine.loads(instance, load_s, used_mib)


def test_a_slow_start_raises_a_zygote() -> None:
    engine = Engine(1000, zygotes=True)
    assert slow(engine, F) == [KeepZygote(F)]
    assert engine.roster.admission.budget.zygotes_mib == 50
    engine.roster.zygote_kept(F, 61.5, 0.2, engine.now)
    assert engine.roster.admission.budget.zygotes_mib == 62


def test_what_a_zygote_holds_is_not_counted_again_for_those_forked_from_it() -> None:
    engine = Engine(1000, zygotes=True)
    slow(engine, F, used_mib=80)
    engine.roster.zygote_kept(F, 80, 0.2, engine.now)
    [forked] = started(engine.want(F, executing=1))
    engine.loads(forked, 0.001, used_mib=5)
    assert engine.used_mib == 85
    engine.roster.zygote_gone(F, False, engine.now)
    assert engine.used_mib == 85, "those that were forked stay what they are"
    engine.run_one(F)
    assert engine.used_mib == 165, "the next one loads it all itself"


def test_those_that_loaded_the_code_themselves_count_as_such_beside_forked_ones() -> None:
    engine = Engine(10_000, zygotes=True)
    engine.deploy(F, memory_mib=400)
    plain = [engine.run_one(F, 0.2, used_mib=300) for _ in range(8)]
    engine.roster.zygote_kept(F, 300, 0.2, engine.now)
    forked = engine.run_one(F, 0.001, used_mib=30)
    assert engine.used_mib == 8 * 300 + 30
    engine.roster.zygote_gone(F, False, engine.now)
    assert engine.used_mib == 8 * 300 + 30
    engine.end(forked)
    assert engine.used_mib == 8 * 300
    for instance in plain:
        engine.end(instance)
    assert engine.used_mib == engine.roster.admission.coming_mib == 0


def test_a_quick_start_raises_none() -> None:
    assert slow(Engine(1000, zygotes=True), F, load_s=0.004) == []


def test_a_keeper_that_keeps_none_is_asked_for_none() -> None:
    assert slow(Engine(1000, zygotes=False), F) == []


def test_what_an_instance_says_of_its_loading_is_not_believed_beyond_what_was_seen() -> None:
    engine = Engine(1000, zygotes=True)
    engine.deploy(F)
    [instance] = started(engine.want(F))
    engine.now += 0.002
    engine.roster.ready(instance, 1, engine.now, 1000.0)
    assert deeds(engine.roster.measured({instance: 10}, {}, engine.now)) == []


def test_a_revision_that_finds_its_dependencies_imported_inherits_the_need_of_a_zygote() -> None:
    engine = Engine(1000, zygotes=True)
    slow(engine, F)
    engine.roster.zygote_kept(F, 50, 0.2, engine.now)
    assert slow(engine, NEXT, load_s=0.002) == []
    assert deeds(engine.roster.succeeded(F, NEXT, engine.now)) == [KeepZygote(NEXT)]
    assert DropZygote(F) in deeds(engine.roster.removed(F, engine.now))
    # What it starts with meanwhile says nothing.
    [instance] = started(engine.want(NEXT, executing=1))
    engine.loads(instance, 0.002, 50)
    engine.roster.zygote_kept(NEXT, 60, 0.001, engine.now)
    seen = engine.roster.admission.zygotes.view(NEXT)
    assert seen is not None and seen.saves_s == 0.2


def test_a_revision_whose_predecessor_had_no_zygote_inherits_none() -> None:
    engine = Engine(1000, zygotes=True)
    slow(engine, F, load_s=0.002)
    slow(engine, NEXT, load_s=0.002)
    assert deeds(engine.roster.succeeded(F, NEXT, engine.now)) == []


def test_unsafe_code_is_never_asked_for_again() -> None:
    engine = Engine(1000, zygotes=True)
    slow(engine, F)
    engine.roster.zygote_gone(F, True, engine.now)
    engine.wait(1000.0)
    [instance] = started(engine.want(F, executing=1))
    assert engine.loads(instance, 0.2, 50) == []
    assert engine.roster.admission.budget.zygotes_mib == 0


def test_a_zygote_that_died_is_raised_again_by_a_later_slow_start() -> None:
    engine = Engine(1000, zygotes=True)
    slow(engine, F)
    engine.roster.zygote_kept(F, 50, 0.2, engine.now)
    engine.roster.zygote_gone(F, False, engine.now)
    [instance] = started(engine.want(F, executing=1))
    assert engine.loads(instance, 0.2, 50) == [], "not at once: it may die at once again"
    engine.wait(2.0)
    [instance] = started(engine.want(F, executing=2))
    assert engine.loads(instance, 0.2, 50) == [KeepZygote(F)]


def test_the_zygote_of_least_value_makes_room_within_the_share() -> None:
    engine = Engine(400, zygotes=True, share=0.25)
    for revision, load_s in ((F, 0.1), (G, 0.3)):
        assert slow(engine, revision, load_s) == [KeepZygote(revision)]
        engine.roster.zygote_kept(revision, 50, load_s, engine.now)
    assert slow(engine, H, load_s=0.2) == [DropZygote(F)]
    assert deeds(engine.roster.zygote_gone(F, False, engine.now)) == [KeepZygote(H)]
    assert engine.roster.admission.budget.zygotes_mib == 100


def test_a_slow_start_worth_less_than_all_that_are_kept_raises_none() -> None:
    engine = Engine(400, zygotes=True, share=0.125)
    slow(engine, F, load_s=0.35)
    engine.roster.zygote_kept(F, 50, 0.35, engine.now)
    assert slow(engine, G, load_s=0.1) == []
    for executing in (1, 2):
        [instance] = started(engine.want(G, executing))
        actions = engine.loads(instance, 0.1, 50)
        engine.wait(2.0)
    assert actions == [], "3 x 0.1 s is not more than 0.35 s"
    [instance] = started(engine.want(G, 3))
    assert engine.loads(instance, 0.1, 50) == [DropZygote(F)]


def test_zygotes_go_after_idle_instances_and_before_a_start_waits() -> None:
    engine = Engine(373, zygotes=True, share=0.5)
    slow(engine, F, used_mib=50)
    engine.roster.zygote_kept(F, 100, 0.2, engine.now)
    engine.deploy(G)
    engine.run_one(G)
    engine.run_one(G)
    engine.calls(F, 1)
    engine.deploy(H)
    assert engine.want(H) == [DropZygote(F)]
    assert started(engine.roster.zygote_gone(F, False, engine.now))


def test_idle_instances_go_before_zygotes() -> None:
    engine = Engine(150, zygotes=True, share=0.5)
    slow(engine, F, used_mib=50)
    engine.roster.zygote_kept(F, 50, 0.2, engine.now)
    engine.wait(2.0)
    engine.deploy(G)
    assert engine.want(G) == [Release(GATE, F, 1)]


def test_a_zygote_takes_nothing_that_is_not_enough() -> None:
    engine = Engine(300, zygotes=True, share=0.5)
    idle(engine, (F, 1))
    engine.serve(G, 1)
    assert not [action for action in slow(engine, H, used_mib=110) if isinstance(action, Release)]
    assert not [action for action in engine.go_on(3.0, G, H) if isinstance(action, Release | KeepZygote)]


@pytest.mark.parametrize(("calls", "is_given"), [(1, True), (1000, False)])
def test_a_zygote_takes_the_room_of_idle_instances_that_are_worth_less(calls: int, is_given: bool) -> None:
    engine = Engine(200, zygotes=True, share=0.5)
    idle(engine, (F, calls))
    done = [*slow(engine, H, used_mib=60), *engine.go_on(3.0, H)]
    assert (Release(GATE, F, 1) in done) == is_given


def test_a_zygote_that_finds_no_room_does_not_keep_a_call_from_looking_for_it() -> None:
    engine = Engine(200, zygotes=True, share=0.5)
    idle(engine, (F, 1000))
    slow(engine, H, used_mib=60)
    engine.deploy(G)
    assert engine.want(G) == [Release(GATE, F, 1)]


def test_a_removed_revision_loses_its_zygote() -> None:
    engine = Engine(1000, zygotes=True)
    slow(engine, F)
    engine.roster.zygote_kept(F, 50, 0.2, engine.now)
    assert DropZygote(F) in engine.roster.removed(F, engine.now)
    engine.roster.zygote_gone(F, False, engine.now)
    assert engine.roster.admission.budget.zygotes_mib == 0
    assert engine.roster.admission.zygotes.view(F) is None


def test_what_a_returning_keeper_has_is_taken_over_and_what_is_not_deployed_dropped() -> None:
    engine = Engine(1000, zygotes=True)
    slow(engine, F)
    engine.deploy(G)
    engine.roster.keeper_down(engine.now)
    actions = engine.roster.keeper_up({}, engine.now, budget_mib=1000, zygotes={G: 30, H: 40})
    assert DropZygote(H) in actions and DropZygote(G) not in actions
    assert engine.roster.admission.budget.zygotes_mib == 70
    engine.roster.zygote_gone(H, False, engine.now)
    assert engine.roster.admission.budget.zygotes_mib == 30


def test_only_so_many_are_raised_at_once() -> None:
    engine = Engine(10_000, zygotes=True, raised_at_once=1)
    assert slow(engine, F) == [KeepZygote(F)]
    assert slow(engine, G) == []
    assert deeds(engine.roster.zygote_kept(F, 50, 0.2, engine.now)) == [KeepZygote(G)]
