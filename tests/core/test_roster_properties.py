"""Any order of events, against a small world that carries the actions out: bounds hold and nothing is left behind."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.model import ExitCause, GatewayId, InstanceId, Observation, RevisionId
from corral.roster import (
    DEFAULT_ENGINE,
    SCALERS,
    Action,
    Assign,
    DropZygote,
    KeepZygote,
    Release,
    Retire,
    Roster,
    Scaling,
    Start,
    Stop,
    read_scaling,
)

QUICK: dict[str, dict[str, Any]] = {
    "fission": {"idle_timeout_s": 5},
    "hybrid": {"range_s": 60, "bin_s": 1},
    "knative": {"window_s": 6, "grace_s": 1},
    "openfaas": {"zero": True, "zero_duration_s": 60},
    "openwhisk": {"idle_container_s": 5},
}
"""Settings of engines that would otherwise keep what is idle for longer than the worlds last."""
REVISIONS = (RevisionId("default/f@1"), RevisionId("other/g@1"))
LIMIT_MIB = 100
"""Of an instance; the budget of those worlds that have one fits two, and more once some were measured."""
USUAL = ("want", "want", "want", "observed", "ready", "ready", "busy", "idle", "answer", "answer")
UNUSUAL = ("failed", "crash", "overrun", "gateway_dies", "gateway_up", "link_breaks", "keeper_dies", "keeper_up")
RARE = ("deployed", "settled", "removed", "engine_restarts")
MEMORY = ("measured", "measured", "zygote_kept", "zygote_dies", "zygote_ends")
Step = tuple[str, int, float]
steps = st.lists(
    st.tuples(
        st.sampled_from(USUAL + USUAL + UNUSUAL + RARE + MEMORY),
        st.integers(0, 7),
        st.sampled_from([0.0, 0.0, 0.01, 0.5, 3.0, 20.0]),
    ),
    min_size=30,
    max_size=100,
)


class World:
    """One keeper and one gateway at a time, both honest, with messages that get lost when a link is broken."""

    def __init__(
        self, least: int, most: int, initial: int, budget_mib: float = math.inf, engine: str = DEFAULT_ENGINE
    ) -> None:
        self.scaling = Scaling(
            min=least,
            max=most,
            initial=initial,
            idle_s=2.0,
            concurrency=1,
            engine=engine,
            settings=read_scaling({"engine": engine, **QUICK.get(engine, {})})[1],
            memory_mib=LIMIT_MIB,
        )
        self.budget_mib = budget_mib
        self.zygotes: dict[RevisionId, float] = {}
        """Kept, or told to end, by the keeper -> MiB."""
        self.ordered: list[RevisionId] = []
        """Zygotes that the keeper was told to raise."""
        self.dropped: list[RevisionId] = []
        self.now = 0.0
        self.boots = 0
        self.gateways = 0
        self.gateway: GatewayId | None = None
        """The connected one."""
        self.has_keeper = False
        self.deployed_ids: set[RevisionId] = set()
        self.running: dict[InstanceId, RevisionId] = {}
        self.held: set[InstanceId] = set()
        self.loaded: set[InstanceId] = set()
        self.busy_ones: set[InstanceId] = set()
        self.retired: set[InstanceId] = set()
        self.may_stop: set[InstanceId] = set()
        """Given up, failed, overrun, or of a revision that was removed."""
        self.may_kill: set[InstanceId] = set()
        """Failed or overrun."""
        self.asked: list[tuple[RevisionId, int]] = []
        self.seen: set[InstanceId] = set()
        self.log: list[str] = []
        self.roster = self._new_roster()

    def _new_roster(self) -> Roster:
        self.boots += 1
        return Roster(f"b{self.boots}", 2, random.Random(self.boots))

    def step(self, event: str, number: int, elapsed: float) -> None:
        self.sleep(elapsed)
        getattr(self, event)(number)

    def sleep(self, elapsed: float) -> None:
        end = self.now + elapsed
        while self.roster.next_at is not None and self.roster.next_at <= end:
            assert self.roster.next_at > self.now - 1e-9 or self.roster.next_at <= self.now
            self.now = max(self.now, self.roster.next_at)
            self.take(self.roster.tick(self.now))
            assert self.roster.next_at is None or self.roster.next_at > self.now, "a tick that does not move on"
        self.now = end

    def take(self, actions: Sequence[Action]) -> None:
        self.log += [repr(action) for action in actions]
        fresh: InstanceId | None = None
        for action in actions:
            if fresh is not None:
                assert isinstance(action, Assign) and action.instance == fresh and action.fresh
            fresh = None
            match action:
                case Start(instance, revision):
                    assert self.has_keeper and self.gateway is not None
                    assert instance not in self.seen, "an id is used once"
                    assert revision in self.deployed_ids
                    self.seen.add(instance)
                    self.running[instance] = revision
                    alive = sum(1 for each in self.running.values() if each == revision)
                    assert alive <= self.scaling.max
                    assert self.charged_mib() <= self.budget_mib
                    fresh = instance
                case Assign(instance, _, gateway, _):
                    assert gateway == self.gateway
                    if instance in self.running:
                        self.held.add(instance)
                case Release(gateway, revision, count):
                    assert gateway == self.gateway and count > 0
                    self.asked.append((revision, count))
                case Retire(gateway, instance):
                    assert gateway == self.gateway
                    self.retired.add(instance)
                case Stop(instance, cause):
                    self._stop(instance, cause)
                case KeepZygote(revision):
                    assert self.has_keeper and revision in self.deployed_ids
                    assert revision not in self.zygotes and revision not in self.ordered
                    self.ordered.append(revision)
                case DropZygote(revision):
                    self.dropped.append(revision)
                case _:
                    pass
        assert fresh is None

    def charged_mib(self) -> float:
        """What the roster may count: each instance that runs, by what its like use; each zygote that is there."""
        charged = sum(self.zygotes.values())
        for revision in REVISIONS:
            charged += sum(view.charged_mib for view in self.roster.instances(revision))
        return charged

    def _stop(self, instance: InstanceId, cause: ExitCause) -> None:
        if instance in self.running:
            is_ours = instance in self.may_stop or self.running[instance] not in self.deployed_ids
            assert is_ours, f"{instance} was stopped ({cause}) though nobody gave it up"
            assert instance not in self.busy_ones or instance in self.may_kill, "a busy instance was stopped"
        if self.has_keeper:
            self._ends(instance)

    def _ends(self, instance: InstanceId) -> None:
        """The keeper's Exited, which also the gateway is told of."""
        self._clear(instance)
        self.take(self.roster.lost(instance, self.now))

    def _clear(self, instance: InstanceId) -> None:
        self.running.pop(instance, None)
        for group in (self.held, self.loaded, self.busy_ones, self.retired):
            group.discard(instance)

    def _pick(self, group: set[InstanceId], number: int) -> InstanceId | None:
        return sorted(group)[number % len(group)] if group else None

    def _gives_up(self, instance: InstanceId) -> None:
        self.held.discard(instance)
        self.retired.discard(instance)
        self.may_stop.add(instance)
        self.take(self.roster.released(instance, self.now))

    # -- what happens ---------------------------------------------------------------------------------------

    def want(self, number: int) -> None:
        if self.gateway is not None:
            revision = REVISIONS[number % 2]
            executing = len(self.busy_ones)
            self.take(self.roster.want(self.gateway, revision, number + 1, executing, number / 50, self.now))

    def observed(self, number: int) -> None:
        if self.gateway is not None:
            seen = Observation(arrived=number * 9, completed=number * 9, service_s=number * 0.9, peak=number)
            self.take(self.roster.observed(self.gateway, REVISIONS[number % 2], seen, self.now))

    def ready(self, number: int) -> None:
        instance = self._pick(self.held - self.loaded, number)
        if instance is not None and self.gateway is not None:
            self.loaded.add(instance)
            load_s = 0.001 if self.running.get(instance) in self.zygotes else 1.0
            self.take(self.roster.ready(instance, 1, self.now, load_s))

    def busy(self, number: int) -> None:
        instance = self._pick(self.held - self.retired, number)
        if instance is not None:
            self.busy_ones.add(instance)

    def idle(self, number: int) -> None:
        instance = self._pick(self.busy_ones, number)
        if instance is not None:
            self.busy_ones.discard(instance)

    def answer(self, number: int) -> None:
        """The gateway does what it was asked: gives up idle ones, fewer when fewer are idle."""
        asked, self.asked = self.asked, []
        if self.gateway is None:
            return
        for revision, count in asked:
            idle = sorted(
                each for each in self.held - self.busy_ones - self.retired if self.running.get(each) == revision
            )
            for instance in idle[: min(count, number) if number < 3 else count]:
                self._gives_up(instance)
        for instance in sorted(self.retired - self.busy_ones):
            if instance in self.held:
                self._gives_up(instance)

    def measured(self, number: int) -> None:
        instance = self._pick(self.loaded, number)
        if instance is not None and self.has_keeper:
            zygotes = {revision: 10.0 + number for revision in self.zygotes}
            self.zygotes.update(zygotes)
            self.take(self.roster.measured({instance: 10.0 * (number + 1)}, zygotes, self.now))

    def zygote_kept(self, _: int) -> None:
        if self.has_keeper and self.ordered:
            revision = self.ordered.pop(0)
            self.zygotes[revision] = 30.0
            self.take(self.roster.zygote_kept(revision, 30.0, 0.5, self.now))

    def zygote_ends(self, _: int) -> None:
        """The keeper does as it was told."""
        dropped, self.dropped = self.dropped, []
        for revision in dropped if self.has_keeper else ():
            if self.zygotes.pop(revision, None) is not None or revision in self.ordered:
                self.ordered = [each for each in self.ordered if each != revision]
                self.take(self.roster.zygote_gone(revision, False, self.now))

    def zygote_dies(self, number: int) -> None:
        if self.has_keeper and self.zygotes:
            revision = sorted(self.zygotes)[number % len(self.zygotes)]
            del self.zygotes[revision]
            self.dropped = [each for each in self.dropped if each != revision]
            self.take(self.roster.zygote_gone(revision, False, self.now))

    def failed(self, number: int) -> None:
        instance = self._pick(self.held - self.loaded, number)
        if instance is not None and self.gateway is not None:
            self.may_stop.add(instance)
            self.may_kill.add(instance)
            kind = "load" if number % 2 else "start"
            self.take(self.roster.failed(instance, "broken", kind, self.now))
            if instance in self.running and self.has_keeper:
                self._ends(instance)

    def crash(self, number: int) -> None:
        instance = self._pick(set(self.running), number)
        if instance is not None:
            if self.has_keeper:
                self._ends(instance)
            else:
                self._clear(instance)

    def overrun(self, number: int) -> None:
        instance = self._pick(self.held, number)
        if instance is not None and self.gateway is not None:
            self.may_stop.add(instance)
            self.may_kill.add(instance)
            self.take(self.roster.overrun(instance, self.now))

    def _gateway_leaves(self) -> None:
        if self.gateway is not None:
            gateway, self.gateway = self.gateway, None
            self.asked.clear()
            self.take(self.roster.gateway_down(gateway, self.now))

    def gateway_dies(self, _: int) -> None:
        views = (view for revision in REVISIONS for view in self.roster.instances(revision))
        # Retired to make room: with its gateway its calls ended, and nobody else will give it up.
        self.may_stop |= {view.instance for view in views if view.state == "releasing"}
        self._gateway_leaves()
        self.gateways += 1
        for group in (self.held, self.busy_ones, self.retired):
            group.clear()

    def link_breaks(self, _: int) -> None:
        self._gateway_leaves()

    def gateway_up(self, _: int) -> None:
        if self.gateway is None:
            self.gateway = GatewayId(f"gate{self.gateways}")
            holding: dict[RevisionId, list[InstanceId]] = {}
            for instance in sorted(self.held):
                holding.setdefault(self.running[instance], []).append(instance)
            self.take(self.roster.gateway_up(self.gateway, holding, self.now))

    def keeper_dies(self, number: int) -> None:
        """Even: only the link. Odd: the process, and all instances with it."""
        self.has_keeper = False
        self.take(self.roster.keeper_down(self.now))
        if number % 2:
            for instance in list(self.running):
                self._clear(instance)
            self.zygotes.clear()
        self.ordered.clear()
        self.dropped.clear()

    def keeper_up(self, _: int) -> None:
        if not self.has_keeper:
            self.has_keeper = True
            actions = self.roster.keeper_up(
                dict(self.running), self.now, budget_mib=self.budget_mib, zygotes=dict(self.zygotes)
            )
            self.take(actions)

    def deployed(self, number: int) -> None:
        revision = REVISIONS[number % 2]
        self.deployed_ids.add(revision)
        self.take(self.roster.deployed(revision, self.scaling, self.now))

    def settled(self, number: int) -> None:
        self.take(self.roster.settled(REVISIONS[number % 2], self.now))

    def removed(self, number: int) -> None:
        revision = REVISIONS[number % 2]
        self.deployed_ids.discard(revision)
        self.may_stop |= {each for each, of in self.running.items() if of == revision}
        self.take(self.roster.removed(revision, self.now))

    def engine_restarts(self, number: int) -> None:
        """A new Roster knows what is deployed; gateway and keeper come back in either order."""
        self.gateway, self.has_keeper = None, False
        self.asked.clear()
        self.retired.clear()
        self.ordered.clear()
        self.dropped.clear()
        self.roster = self._new_roster()
        for revision in sorted(self.deployed_ids):
            self.take(self.roster.deployed(revision, self.scaling, self.now))
            self.take(self.roster.settled(revision, self.now))
        healthy = {each for each in self.held if self.running[each] in self.deployed_ids and each not in self.may_stop}
        for connect in (self.gateway_up, self.keeper_up) if number % 2 else (self.keeper_up, self.gateway_up):
            connect(0)
        assert healthy <= self.held, "an instance that served did not outlive the engine"

    def calm(self) -> None:
        """All come back, no call is left, and time passes."""
        self.gateway_up(0)
        self.keeper_up(0)
        self.busy_ones.clear()
        for revision in range(2):
            self.settled(revision)
        for _ in range(120):
            self.sleep(1.0)
            while self.held - self.loaded:
                self.ready(0)
            self.answer(7)
            self.zygote_kept(0)
            self.zygote_ends(0)


def play(
    least: int,
    most: int,
    initial: int,
    events: Sequence[Step],
    budget_mib: float = math.inf,
    engine: str = DEFAULT_ENGINE,
) -> World:
    world = World(least, most, initial, budget_mib, engine)
    world.gateway_up(0)
    world.keeper_up(0)
    world.deployed(0)
    for event in events:
        world.step(*event)
    world.calm()
    return world


@pytest.mark.parametrize("engine", SCALERS)
@given(least=st.integers(0, 2), most=st.integers(2, 4), initial=st.integers(0, 2), events=steps)
@settings(deadline=None)
def test_bounds_hold_in_any_order_and_nothing_is_left_behind(
    engine: str, least: int, most: int, initial: int, events: list[Step]
) -> None:
    world = play(least, most, initial, events, engine=engine)
    for revision in REVISIONS:
        left = [each for each, of in world.running.items() if of == revision]
        assert len(left) == (least if revision in world.deployed_ids else 0)
        assert sorted(view.instance for view in world.roster.instances(revision)) == sorted(left)


@pytest.mark.parametrize("engine", SCALERS)
@given(least=st.integers(0, 2), most=st.integers(2, 4), events=steps)
@settings(deadline=None, max_examples=25)
def test_replayed_events_give_the_same_actions(engine: str, least: int, most: int, events: list[Step]) -> None:
    assert play(least, most, 1, events, 220, engine).log == play(least, most, 1, events, 220, engine).log


@given(st.integers(0, 1), st.integers(2, 4), st.integers(0, 1), steps)
@settings(deadline=None)
def test_budget_holds_in_any_order_and_is_given_back_to_the_last(
    least: int, most: int, initial: int, events: list[Step]
) -> None:
    """Each start is checked against the budget as it is made; here, that nothing stays charged and nobody waits."""
    world = play(least, most, initial, events, 220)
    for revision in sorted(world.deployed_ids):
        assert len(world.roster.instances(revision)) == least
    budget = world.roster.admission.budget
    assert budget.instances_mib + budget.zygotes_mib == world.charged_mib()
    assert budget.waiting == 0
    assert world.roster.admission.coming_mib == world.roster.admission.zygotes.ending_mib == 0
    for revision in REVISIONS:
        world.removed(REVISIONS.index(revision))
    world.calm()
    world.zygote_ends(0)
    budget = world.roster.admission.budget
    assert (budget.instances_mib, budget.zygotes_mib, budget.zygotes) == (0, 0, 0)


def test_what_a_restarted_engine_adopts_is_charged_before_anything_starts() -> None:
    """Two functions with `min = 2` in room for two: one instance of each runs when the engine comes back."""
    world = World(2, 2, 1, 220)
    world.gateway_up(0)
    world.keeper_up(0)
    world.deployed(0)
    world.failed(0)
    world.deployed(1)
    world.gateway_dies(0)
    assert len(world.running) == 2
    world.engine_restarts(1)
    assert world.charged_mib() <= 220


def test_knative_learns_that_an_instance_is_ready_though_another_was_given_up() -> None:
    """It asks one of two back while one starts: the busy one serves on, the starting one is given up."""
    world = World(0, 2, 0, engine="knative")
    world.gateway_up(0)
    world.keeper_up(0)
    world.deployed(0)
    world.want(0)
    world.step("ready", 0, 20.0)
    world.step("busy", 0, 20.0)
    world.step("answer", 1, 0.0)
    world.calm()
    assert not world.running
