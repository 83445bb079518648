"""Pool and Roster together on an event heap: a step from nothing to 500 calls/s, as in production, no sockets."""

import heapq
import random
from collections.abc import Callable, Iterable

import pytest

from corral import pool, roster
from corral.model import CallId, GatewayId, InstanceId, RevisionId
from corral.roster import Roster, Scaling

GATEWAY, REVISION = GatewayId("g"), RevisionId("default/f@1")


class Simulation:
    """A gateway, an engine and a keeper in one: `cold_s` from a start to ready, `service_s` for each call."""

    def __init__(self, cold_s: float, service_s: float, cores: int = 2, link_s: float = 0.0005) -> None:
        self.cold_s, self.service_s, self.link_s = cold_s, service_s, link_s
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._pool = pool.Pool(REVISION, pool.Limits(concurrency=1, queue=1000))
        self._roster = Roster("boot", cores, random.Random(0))
        self._ready_at: dict[InstanceId, float] = {}
        self._armed: dict[str, float] = {}
        self.arrived: dict[CallId, float] = {}
        self.latency: list[float] = []
        self.starts = 0
        self.why: list[str] = []
        self.apply(self._roster.keeper_up({}, 0.0))
        self.apply(self._roster.gateway_up(GATEWAY, {}, 0.0))
        self.apply(self._roster.deployed(REVISION, Scaling(min=0, max=100, initial=0, idle_s=15, concurrency=1), 0.0))
        self.apply(self._roster.settled(REVISION, 0.0))

    def at(self, moment: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, event))

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, event = heapq.heappop(self._heap)
            event()
            self._arm("pool", self._pool.next_at, lambda: self.carry(self._pool.tick(self.now)))
            self._arm("roster", self._roster.next_at, lambda: self.apply(self._roster.tick(self.now)))

    def _arm(self, name: str, at: float | None, tick: Callable[[], None]) -> None:
        if at is not None and self._armed.get(name) != at:
            self._armed[name] = at
            self.at(max(at, self.now), tick)

    @property
    def instances(self) -> int:
        return len(self._roster.instances(REVISION))

    def call(self, number: int) -> None:
        call = CallId(number)
        self.arrived[call] = self.now
        self.carry(self._pool.offer(call, self.now, self.now + 30))

    def observe(self) -> None:
        seen = self._pool.observe(self.now)
        if seen is not None:
            self.apply(self._roster.observed(GATEWAY, REVISION, seen, self.now))

    def carry(self, actions: Iterable[pool.Action]) -> None:
        """The pool's actions, carried out."""
        for action in actions:
            match action:
                case pool.Dispatch(call, instance):
                    begins = max(self.now, self._ready_at[instance])
                    self.at(begins + self.service_s, lambda call=call: self._done(call))  # type: ignore[misc]
                case pool.Want(waiting, executing, oldest):
                    self.at(self.now + self.link_s, lambda w=(waiting, executing, oldest): self._want(*w))  # type: ignore[misc]
                case pool.Released(instance):
                    self.apply(self._roster.released(instance, self.now))
                case _:
                    raise AssertionError(action)

    def _want(self, waiting: int, executing: int, oldest: float) -> None:
        self.apply(self._roster.want(GATEWAY, REVISION, waiting, executing, oldest, self.now))

    def _done(self, call: CallId) -> None:
        self.latency.append(self.now - self.arrived.pop(call))
        self.carry(self._pool.done(call, pool.Outcome.OK, self.now))

    def apply(self, actions: Iterable[roster.Action]) -> None:
        """The roster's actions, carried out."""
        for action in actions:
            match action:
                case roster.Start(instance, _):
                    self.starts += 1
                    self._ready_at[instance] = self.now + self.cold_s
                    self.at(self.now + self.cold_s, lambda i=instance: self._ready(i))  # type: ignore[misc]
                case roster.Assign(instance, _, _, _):
                    self.carry(self._pool.joined(instance, self.now))
                case roster.Release(_, _, count):
                    self.carry(self._pool.release(count, self.now))
                case roster.Stop(instance, _):
                    self.at(self.now + 0.005, lambda i=instance: self.apply(self._roster.lost(i, self.now)))  # type: ignore[misc]
                case roster.Decided(_, _, _, why):
                    self.why.append(why)
                case _:
                    raise AssertionError(action)

    def _ready(self, instance: InstanceId) -> None:
        self.apply(self._roster.ready(instance, 1, self.now))


def stepped(cold_s: float, poisson: bool = False, seconds: int = 10) -> Simulation:
    simulation = Simulation(cold_s, service_s=0.010)
    rng = random.Random(7)
    at = 0.0
    for number in range(500 * seconds):
        at = at + rng.expovariate(500) if poisson else number / 500
        simulation.at(at, lambda number=number: simulation.call(number))  # type: ignore[misc]
    for second in range(1, seconds + 60):
        simulation.at(float(second), simulation.observe)
    return simulation


@pytest.mark.parametrize("poisson", [False, True])
@pytest.mark.parametrize("cold_s", [0.005, 0.010, 0.020])
def test_step_to_500_calls_a_second_is_met_by_few_instances(cold_s: float, poisson: bool) -> None:
    simulation = stepped(cold_s, poisson)
    simulation.run(until=10.0)
    waits = [latency - 0.010 for latency in simulation.latency]
    assert len(waits) > 4900
    assert max(waits) <= 0.150
    assert simulation.starts <= 20
    assert sorted(waits)[len(waits) // 2] < 0.001, "most calls find an idle instance"


def test_everything_is_stopped_15_s_after_the_last_call() -> None:
    simulation = stepped(0.010, seconds=3)
    simulation.run(until=17.5)
    assert simulation.instances > 0
    simulation.run(until=20.0)
    assert simulation.instances == 0
    assert simulation.why[-1] == "idle for 15 s"


def test_one_call_starts_one_instance_even_when_it_loads_for_long() -> None:
    simulation = Simulation(cold_s=2.0, service_s=0.010)
    simulation.at(0.0, lambda: simulation.call(1))
    for second in range(1, 10):
        simulation.at(float(second), simulation.observe)
    simulation.run(until=9.0)
    assert simulation.starts == 1


def test_burst_with_slow_starts_doubles_up_to_twice_the_cores() -> None:
    simulation = Simulation(cold_s=1.0, service_s=0.010, cores=2)
    for number in range(50):
        simulation.at(number / 1000, lambda number=number: simulation.call(number))  # type: ignore[misc]
    simulation.run(until=0.9)
    assert simulation.starts == 4
    simulation.run(until=3.0)
    assert len(simulation.latency) == 50
