"""Pools, Roster and a keeper on an event heap: many functions on a machine too small for them, with no sockets."""

import heapq
import random
from collections.abc import Callable, Iterable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral import pool, roster
from corral.model import CallId, GatewayId, InstanceId, RevisionId
from corral.roster import Roster, Scaling, ZygoteTerms

GATEWAY = GatewayId("g")
FORK_S, LINK_S, END_S = 0.010, 0.0005, 0.005
HOLD_S = 30.0


class Kind(msgspec.Struct, frozen=True):
    """What a function is like."""

    id: RevisionId
    load_s: float
    uses_mib: int
    service_s: float = 0.020
    memory_mib: int = 64


class Machine:
    """Gateway, engine and keeper in one. A start costs a fork and, without a zygote, the loading of the code."""

    def __init__(self, kinds: Sequence[Kind], budget_mib: float, idle_s: float = 15.0) -> None:
        self.kinds = {kind.id: kind for kind in kinds}
        self.budget_mib = budget_mib
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._armed: dict[str, float] = {}
        self.pools = {kind.id: pool.Pool(kind.id, pool.Limits(concurrency=1, queue=10_000)) for kind in kinds}
        self.roster = Roster("boot", 2, random.Random(0), ZygoteTerms())
        self.running: dict[InstanceId, tuple[RevisionId, float, float]] = {}
        """What runs -> its revision, when it is ready, what it spends on loading."""
        self.zygotes: set[RevisionId] = set()
        self.forked = self.plain = 0
        """Starts of functions that are slow to load, with a zygote and without."""
        self.waits: dict[RevisionId, list[float]] = {kind.id: [] for kind in kinds}
        self.refused: list[str] = []
        self._arrived: dict[CallId, float] = {}
        self.apply(self.roster.keeper_up({}, 0.0, budget_mib=budget_mib, zygotes={}))
        self.apply(self.roster.gateway_up(GATEWAY, {}, 0.0))
        for kind in kinds:
            scaling = Scaling(min=0, max=100, initial=0, idle_s=idle_s, concurrency=1, memory_mib=kind.memory_mib)
            self.apply(self.roster.deployed(kind.id, scaling, 0.0))
            self.apply(self.roster.settled(kind.id, 0.0))

    # -- time -----------------------------------------------------------------------------------------------

    def at(self, moment: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, event))

    def run(self, until: float) -> None:
        for second in range(int(self.now) + 1, int(until) + 1):
            self.at(float(second), self._second)
        while self._heap and self._heap[0][0] <= until:
            self.now, _, event = heapq.heappop(self._heap)
            event()
            self._arm("roster", self.roster.next_at, lambda: self.apply(self.roster.tick(self.now)))

    def _arm(self, name: str, at: float | None, tick: Callable[[], None]) -> None:
        if at is not None and self._armed.get(name) != at:
            self._armed[name] = at
            self.at(max(at, self.now), tick)

    def _second(self) -> None:
        """Gateway and keeper say what they saw."""
        for revision, one in self.pools.items():
            seen = one.observe(self.now)
            if seen is not None:
                self.apply(self.roster.observed(GATEWAY, revision, seen, self.now))
        used = {
            each: float(self.kinds[of].uses_mib)
            for each, (of, ready_at, _) in self.running.items()
            if ready_at <= self.now
        }
        self.apply(self.roster.measured(used, {each: self._zygote_mib(each) for each in self.zygotes}, self.now))

    def _zygote_mib(self, revision: RevisionId) -> float:
        return 0.8 * self.kinds[revision].uses_mib

    # -- calls ----------------------------------------------------------------------------------------------

    def call(self, number: int, revision: RevisionId) -> None:
        self._arrived[CallId(number)] = self.now
        self.carry(revision, self.pools[revision].offer(CallId(number), self.now, self.now + HOLD_S))

    def carry(self, revision: RevisionId, actions: Iterable[pool.Action]) -> None:
        for action in actions:
            match action:
                case pool.Dispatch(call, instance):
                    begins = max(self.now, self.running[instance][1])
                    self.waits[revision].append(begins - self._arrived.pop(call))
                    self.at(begins + self.kinds[revision].service_s, lambda c=call: self._done(revision, c))  # type: ignore[misc]
                case pool.Want(waiting, executing, oldest):
                    self.at(self.now + LINK_S, lambda w=(waiting, executing, oldest): self._want(revision, *w))  # type: ignore[misc]
                case pool.Released(instance):
                    self.apply(self.roster.released(instance, self.now))
                case pool.Refuse(_, fault):
                    self.refused.append(fault.message)
                case _:
                    raise AssertionError(action)
        self._arm(
            revision, self.pools[revision].next_at, lambda: self.carry(revision, self.pools[revision].tick(self.now))
        )

    def _want(self, revision: RevisionId, waiting: int, executing: int, oldest: float) -> None:
        self.apply(self.roster.want(GATEWAY, revision, waiting, executing, oldest, self.now))

    def _done(self, revision: RevisionId, call: CallId) -> None:
        self.carry(revision, self.pools[revision].done(call, pool.Outcome.OK, self.now))

    # -- what the engine orders -----------------------------------------------------------------------------

    def apply(self, actions: Iterable[roster.Action]) -> None:
        for action in actions:
            match action:
                case roster.Start(instance, revision):
                    self._start(instance, revision)
                case roster.Assign(instance, revision, _, _):
                    self.carry(revision, self.pools[revision].joined(instance, self.now))
                case roster.Release(_, revision, count):
                    self.carry(revision, self.pools[revision].release(count, self.now))
                case roster.Retire(_, instance):
                    revision = self.running[instance][0]
                    self.carry(revision, self.pools[revision].retire(instance, self.now))
                case roster.Stop(instance, _):
                    self.at(self.now + END_S, lambda i=instance: self._end(i))  # type: ignore[misc]
                case roster.Queued(revision, why):
                    self.pools[revision].explain(why)
                case roster.KeepZygote(revision):
                    self.at(self.now + self.kinds[revision].load_s, lambda r=revision: self._keep(r))  # type: ignore[misc]
                case roster.DropZygote(revision):
                    self.at(self.now + END_S, lambda r=revision: self._drop(r))  # type: ignore[misc]
                case _:
                    pass

    def _start(self, instance: InstanceId, revision: RevisionId) -> None:
        kind, budget = self.kinds[revision], self.roster.admission.budget
        assert budget.instances_mib + budget.zygotes_mib <= self.budget_mib
        assert budget.zygotes_mib <= 0.25 * self.budget_mib + max(each.uses_mib for each in self.kinds.values())
        load_s = 0.001 if revision in self.zygotes else kind.load_s
        if kind.load_s > 0.005:
            self.forked += revision in self.zygotes
            self.plain += revision not in self.zygotes
        self.running[instance] = revision, self.now + FORK_S + load_s, load_s
        self.at(self.now + FORK_S + load_s, lambda: self._ready(instance))

    def _ready(self, instance: InstanceId) -> None:
        if instance in self.running:
            revision, _, load_s = self.running[instance]
            self.apply(self.roster.ready(instance, 1, self.now, load_s))
            if not self.roster.is_measured(revision):
                self.apply(self.roster.measured({instance: float(self.kinds[revision].uses_mib)}, {}, self.now))

    def _end(self, instance: InstanceId) -> None:
        if self.running.pop(instance, None) is not None:
            self.apply(self.roster.lost(instance, self.now))

    def _keep(self, revision: RevisionId) -> None:
        self.zygotes.add(revision)
        self.apply(self.roster.zygote_kept(revision, self._zygote_mib(revision), 0.0, self.now))

    def _drop(self, revision: RevisionId) -> None:
        self.zygotes.discard(revision)
        self.apply(self.roster.zygote_gone(revision, False, self.now))


def of(namespace: str, name: str) -> RevisionId:
    return RevisionId(f"{namespace}/{name}@1")


def percentile(values: Iterable[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[int(part * (len(ordered) - 1))]


def test_five_hundred_functions_in_4_gib_are_all_served() -> None:
    rng = random.Random(5)
    kinds = [
        Kind(of(f"n{number % 7}", f"f{number}"), rng.choice([0.002, 0.003, 0.3]), rng.randint(8, 60), memory_mib=256)
        for number in range(500)
    ]
    machine = Machine(kinds, 4096)
    for number, kind in enumerate(kinds):
        # As a deployment loads each once.
        machine.at(number / 20, lambda n=number, k=kind: machine.call(n, k.id))  # type: ignore[misc]
    machine.run(30.0)
    machine.forked = machine.plain = 0
    weights = [1 / (rank + 1) for rank in range(500)]
    at = machine.now
    for number, kind in enumerate(rng.choices(kinds, weights, k=4000)):
        at += rng.expovariate(20.0)
        machine.at(at, lambda n=1000 + number, k=kind: machine.call(n, k.id))  # type: ignore[misc]
    machine.run(at + HOLD_S)
    waits = [wait for each in machine.waits.values() for wait in each]
    budget = machine.roster.admission.budget
    assert machine.refused == []
    assert len(waits) == 4500
    assert budget.evicted_instances > 100, "the machine was full"
    slow = machine.forked + machine.plain
    assert machine.forked > 0.3 * slow, "zygotes fit for a quarter of the slow functions"
    assert budget.evicted_zygotes < slow, "they do not evict each other in turns"
    assert percentile(waits, 0.9) < 0.1
    assert max(waits) < 2.0


@pytest.mark.parametrize("rivals", [1, 6])
def test_who_asks_again_and_again_keeps_nobody_from_starting(rivals: int) -> None:
    """One namespace has more calls than the machine can ever do; each of the others calls once in a while."""
    hog = Kind(of("hog", "f"), 0.0, 50, service_s=0.5, memory_mib=50)
    others = [Kind(of(f"n{number}", "f"), 0.0, 50, memory_mib=50) for number in range(rivals)]
    machine = Machine([hog, *others], budget_mib=500, idle_s=0.5)
    for number in range(1200):
        machine.at(number / 60, lambda n=number: machine.call(n, hog.id))  # type: ignore[misc]
    for number in range(10 * rivals):
        other = others[number % rivals]
        machine.at(2.0 + 18 * number / (10 * rivals), lambda n=10_000 + number, o=other: machine.call(n, o.id))  # type: ignore[misc]
    machine.run(60.0)
    for other in others:
        assert len(machine.waits[other.id]) == 10
        assert max(machine.waits[other.id]) < 1.5, "until one of the hog's calls ends, and a look for room"
    assert len(machine.waits[hog.id]) + len(machine.refused) == 1200


def test_who_needs_much_gets_it_though_many_who_need_little_go_on_asking() -> None:
    """Each of the many has less than the one asks for, and together they leave it no room."""
    big = Kind(of("big", "f"), 0.0, 600, memory_mib=600)
    many = [Kind(of(f"n{number}", "f"), 0.0, 100, service_s=1.0, memory_mib=100) for number in range(20)]
    machine = Machine([big, *many], budget_mib=1000, idle_s=0.2)
    for number in range(320):
        machine.at(number / 8, lambda n=number: machine.call(n, many[n % 20].id))  # type: ignore[misc]
    machine.at(5.0, lambda: machine.call(1000, big.id))
    machine.run(80.0)
    assert machine.waits[big.id][0] < 10.0, "5 s, and until calls of 1 s have ended"
    assert machine.refused == []
    assert max(wait for each in many for wait in machine.waits[each.id]) < 10.0


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.floats(0.0, 20.0), st.sampled_from([0.01, 0.5, 3.0])),
        min_size=1,
        max_size=120,
    ),
    st.lists(st.integers(10, 100), min_size=9, max_size=9),
)
@settings(deadline=None, max_examples=60)
def test_every_call_is_served_in_the_end_whoever_asks_for_what(
    calls: list[tuple[int, int, float, float]], sizes: list[int]
) -> None:
    """Three namespaces of three functions in room for two of the largest: with calls that end, none waits for ever."""
    kinds = [
        Kind(of(f"n{number // 3}", f"f{number % 3}"), 0.1, size, service_s=0.2, memory_mib=100)
        for number, size in enumerate(sizes)
    ]
    machine = Machine(kinds, budget_mib=200, idle_s=2.0)
    for number, (namespace, name, at, _) in enumerate(calls):
        machine.at(at, lambda n=number, k=kinds[3 * namespace + name]: machine.call(n, k.id))  # type: ignore[misc]
    machine.run(120.0)
    assert machine.refused == []
    assert sum(len(waits) for waits in machine.waits.values()) == len(calls)
    budget = machine.roster.admission.budget
    assert (budget.instances_mib, budget.waiting) == (0, 0)
    assert machine.running == {}
    assert budget.zygotes_mib <= 50
