"""A function with its real Pool and Roster: instances are started and stopped as they say, calls take their time. What
must hold under every rule is looked at with each action."""

import heapq
import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from corral import pool, roster
from corral.model import CallId, GatewayId, InstanceId, RevisionId
from corral.roster import Roster, Scaling, read_scaling

GATEWAY, REVISION = GatewayId("g"), RevisionId("default/f@1")
COLD_S, LINK_S, STOP_S = 0.02, 0.0005, 0.005
QUIET_S = 1200.0
"""For so long the keeper goes on to measure idle instances before a town counts as quiet: Kubernetes' autoscaler
remembers 300 s, and goes down in steps."""


class Town:
    def __init__(self, said: Mapping[str, Any], least: int = 0, most: int = 20, concurrency: int = 1) -> None:
        engine, settings = read_scaling(said)
        self.scaling = Scaling(
            min=least, max=most, initial=0, idle_s=5.0, concurrency=concurrency, engine=engine, settings=settings
        )
        self.now, self.last_call = 0.0, 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._armed: dict[str, float] = {}
        """The one entry of the heap that counts for the timer of each; others are left over."""
        self._is_second_due = False
        self.is_measured = self.scaling.settings.needs_usage
        """The keeper tells each second what instances use."""
        limits = pool.Limits(
            concurrency=self.scaling.at_once, queue=10_000, choose=self.scaling.choose, once=self.scaling.once
        )
        self.pool = pool.Pool(REVISION, limits)
        self.roster = Roster("boot", 4, random.Random(1))
        self.alive: set[InstanceId] = set()
        self.ready_at: dict[InstanceId, float] = {}
        self.calls: dict[InstanceId, set[CallId]] = {}
        self.service_s: dict[CallId, float] = {}
        self.cpu_s: dict[InstanceId, float] = {}
        self.told: list[Any] = []
        """Each action, for a second town to compare."""
        self.ticks = 0
        """Of the roster: questions that nobody's event brought."""
        for actions in (
            self.roster.keeper_up({}, 0.0),
            self.roster.gateway_up(GATEWAY, {}, 0.0),
            self.roster.deployed(REVISION, self.scaling, 0.0),
            self.roster.settled(REVISION, 0.0),
        ):
            self.apply(actions)
        self._arm()

    # -- time -----------------------------------------------------------------------------------------------

    def at(self, moment: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, event))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self._next()
        self.now = end

    def _next(self) -> None:
        self.now, _, event = heapq.heappop(self._heap)
        event()
        self._arm()

    def quieten(self) -> None:
        """Until every call is answered, and then until nothing has anything to do."""
        while self.service_s:
            assert self._heap, "calls wait, and nothing will happen"
            self._next()
        if self.is_measured:
            self.run(QUIET_S)
        for _ in range(5000):
            if self.roster.next_at is None:
                return
            self._next()
        raise AssertionError(f"it is still asked: {self.roster.why(REVISION)}")

    def _arm(self) -> None:
        self._set("pool", self.pool.next_at, self._tick_pool)
        self._set("roster", self.roster.next_at, self._tick_roster)
        if not self._is_second_due and (self.service_s or (self.is_measured and self.alive)):
            self._is_second_due = True
            self.at(float(int(self.now) + 1), self._close_second)

    def _set(self, name: str, at: float | None, tick: Callable[[], None]) -> None:
        if at is None or at >= self._armed.get(name, math.inf):
            return
        self._armed[name] = at

        def due() -> None:
            if self._armed.get(name) == at:
                del self._armed[name]
                tick()

        self.at(max(at, self.now), due)

    def _tick_pool(self) -> None:
        self.carry(self.pool.tick(self.now))

    def _tick_roster(self) -> None:
        self.ticks += 1
        self.apply(self.roster.tick(self.now))
        assert self.roster.next_at is None or self.roster.next_at > self.now, "a moment that does not pass"

    def _close_second(self) -> None:
        self._is_second_due = False
        seen = self.pool.observe(self.now)
        if seen is not None:
            self.apply(self.roster.observed(GATEWAY, REVISION, seen, self.now))
        if self.is_measured:
            self._measure()

    def _measure(self) -> None:
        for instance in self.alive:
            self.cpu_s[instance] += min(1.0, 0.9 * len(self.calls[instance]))
        used = {instance: (self.cpu_s[instance], 30.0) for instance in sorted(self.alive)}
        self.apply(self.roster.used(used, {}, self.now))

    # -- calls and instances --------------------------------------------------------------------------------

    def call(self, service_s: float) -> None:
        self.last_call += 1
        call = CallId(self.last_call)
        self.service_s[call] = service_s
        self.carry(self.pool.offer(call, self.now, self.now + 1e6))
        self._arm()

    def carry(self, actions: Iterable[pool.Action]) -> None:
        for action in actions:
            self.told.append(action)
            match action:
                case pool.Dispatch(call, instance):
                    assert instance in self.alive
                    assert len(self.calls[instance]) < self.scaling.at_once
                    self.calls[instance].add(call)
                    begins = max(self.now, self.ready_at[instance])
                    self.at(begins + self.service_s[call], lambda c=call, i=instance: self._end(c, i))  # type: ignore[misc]
                case pool.Want(waiting, executing, oldest):
                    self.at(self.now + LINK_S, lambda w=(waiting, executing, oldest): self._want(*w))  # type: ignore[misc]
                case pool.Released(instance):
                    assert not self.calls[instance], "a busy instance was chosen for removal"
                    self.apply(self.roster.released(instance, self.now))
                case _:
                    raise AssertionError(action)

    def _want(self, waiting: int, executing: int, oldest_wait_s: float) -> None:
        self.apply(self.roster.want(GATEWAY, REVISION, waiting, executing, oldest_wait_s, self.now))

    def _end(self, call: CallId, instance: InstanceId) -> None:
        del self.service_s[call]
        self.calls[instance].discard(call)
        self.carry(self.pool.done(call, pool.Outcome.OK, self.now))

    def apply(self, actions: Iterable[roster.Action]) -> None:
        for action in actions:
            self.told.append(action)
            match action:
                case roster.Start(instance, _):
                    self.alive.add(instance)
                    self.calls[instance], self.cpu_s[instance] = set(), 0.0
                    self.ready_at[instance] = self.now + COLD_S
                    assert len(self.alive) <= self.scaling.max
                    self.at(self.now + COLD_S, lambda i=instance: self._ready(i))  # type: ignore[misc]
                case roster.Assign(instance, _, _, _):
                    self.carry(self.pool.joined(instance, self.now))
                case roster.Release(_, _, count):
                    self.carry(self.pool.release(count, self.now))
                case roster.Retire(_, instance):
                    self.carry(self.pool.retire(instance, self.now))
                case roster.Stop(instance, _):
                    assert not self.calls[instance], "a busy instance was stopped"
                    self.at(self.now + STOP_S, lambda i=instance: self._lost(i))  # type: ignore[misc]
                case roster.Decided(_, desired, _, why):
                    assert self.scaling.min <= desired <= self.scaling.max
                    assert why
                case roster.Learned():
                    pass
                case _:
                    raise AssertionError(action)

    def _ready(self, instance: InstanceId) -> None:
        if instance in self.alive:
            self.apply(self.roster.ready(instance, self.scaling.concurrency, self.now))

    def _lost(self, instance: InstanceId) -> None:
        self.alive.discard(instance)
        self.apply(self.roster.lost(instance, self.now))
