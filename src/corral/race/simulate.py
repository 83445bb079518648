"""The event simulation: the production Pools, Roster and rules of one policy on a trace, driven by a heap of events.

One gateway, one engine and one keeper without limit of memory. Two events per call, arrival and end; each closed second
is told of the pools that had calls; the Roster's timers go off at its `next_at`, pools' at theirs. Nothing else ticks.

A call's added latency is what passes from its arrival until its instance begins with it: waiting in the pool, and the
rest of the instance's start."""

import heapq
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from math import ceil
from typing import Any, cast

import msgspec

from corral import pool, roster
from corral.model import CallId, GatewayId, InstanceId, Observation, RevisionId, ScalingValue
from corral.policy import SCALERS, Kind, StockTerms
from corral.race.arrivals import Calls
from corral.race.conditions import Conditions, scaling_of
from corral.race.gauge import Gauge
from corral.race.lane import Instance, Lane
from corral.race.score import Score, rank
from corral.race.trace import Trace
from corral.race.warm_pool import WarmPool, kind_of

GATEWAY = GatewayId("gateway")
OK = pool.Outcome.OK
QUEUE = 1_000_000
"""Calls that may wait for a function: none is refused for its number."""
RUNTIME = "python3"
"""Of all functions: a trace does not say."""
LATE_S = 0.0001
"""So late do the engine's timers go off. A rule that counts a minute from a call's second hears of the call that comes
just a minute later before it decides, as it mostly would."""


class Simulation:
    """One policy. `run` once, then `score`."""

    def __init__(self, trace: Trace, said: Mapping[str, ScalingValue], conditions: Conditions) -> None:
        """Raises Invalid: the policy is none."""
        self._trace, self._said, self._conditions = trace, said, conditions
        self._load_s = conditions.cold_start.load_ms / 1000
        self._scaling = scaling_of(said, conditions)
        self._window_s = 60.0 * trace.minutes
        self._now = 0.0
        # (moment, number, what is done, two arguments): without closures, as there are millions.
        self._heap: list[tuple[float, int, Callable[[Any, Any], None], Any, Any]] = []
        self._number = 0
        self._ids = cast(Iterator[CallId], count(1))
        self._open = 0
        """Calls that have arrived and are not over."""
        self._instances: dict[InstanceId, Instance] = {}
        self._gauge = Gauge(trace.minutes)
        self._active: dict[Lane, None] = {}
        self._because_of_call = False
        """What is carried out answers calls that wait."""
        self._roster = roster.Roster("race", conditions.cores, random.Random(conditions.seed))
        self._tick_at: float | None = None
        scaling = self._scaling
        limits = pool.Limits(concurrency=scaling.at_once, queue=QUEUE, choose=scaling.choose, once=scaling.once)
        self._lanes = [
            Lane(
                RevisionId(f"race/f{number}@1"),
                function,
                Calls(function, conditions.seed, conditions.arrivals),
                limits,
                f"{conditions.seed}/{function.owner}/{function.app}/{function.name}",
            )
            for number, function in enumerate(trace.functions)
        ]
        self._lane_by_revision = {lane.revision: lane for lane in self._lanes}
        self._pool_rng = random.Random(f"{conditions.seed}/warm pool")
        stock = SCALERS[scaling.engine].stock
        terms = StockTerms(rng=self._pool_rng, runtimes=(RUNTIME,), settings=scaling.settings)
        self._warm = WarmPool(None if stock is None else stock(terms), self._window_s)

    # -- the run --------------------------------------------------------------------------------------------

    def run(self, progress: Callable[[float], None] = lambda part: None) -> None:
        """`progress` hears the part that is done, after each minute of the trace."""
        # A keeper that keeps no zygotes of functions, where no code takes time to load.
        self._apply(self._roster.keeper_up({}, 0.0, zygotes={} if self._load_s else None))
        self._apply(self._roster.gateway_up(GATEWAY, {}, 0.0))
        # Which day it was a trace does not say; minute 480 is eight o'clock of it.
        self._apply(self._roster.clock(60.0 * self._trace.first_minute, 0.0))
        for lane in self._lanes:
            scaling = msgspec.structs.replace(
                self._scaling, memory_mib=ceil(lane.function.memory_mib), trigger=lane.function.trigger
            )
            self._apply(self._roster.deployed(lane.revision, scaling, 0.0))
            self._apply(self._roster.settled(lane.revision, 0.0))
        self._restock()
        self._at(1.0, self._close_second, None, None)
        for minute in range(self._trace.minutes):
            self._pass(self._calls_of(minute), 60.0 * (minute + 1))
            progress((minute + 1) / self._trace.minutes)
        while self._open:
            self._next()
        for instance in self._instances.values():
            instance.lane.ended(instance, self._window_s, self._window_s)
        for lane in self._lanes:
            lane.zygote_ended(self._window_s, self._window_s)
        self._gauge.close(self._window_s)
        self._warm.close()

    def _calls_of(self, minute: int) -> list[tuple[float, int, float]]:
        """(moment, number of the lane, how long it takes), in order."""
        calls: list[tuple[float, int, float]] = []
        for number, lane in enumerate(self._lanes):
            if lane.function.counts[minute]:
                moments, services = lane.calls.of(minute)
                calls += [(moment, number, service) for moment, service in zip(moments, services, strict=True)]
        calls.sort()
        return calls

    def _pass(self, calls: Iterable[tuple[float, int, float]], until: float) -> None:
        heap, lanes, pop = self._heap, self._lanes, heapq.heappop
        for moment, number, service in calls:
            while heap[0][0] <= moment:
                self._now, _, act, one, other = pop(heap)
                act(one, other)
            self._now = moment
            self._arrive(lanes[number], service)
        while heap[0][0] <= until:
            self._next()

    def _next(self) -> None:
        self._now, _, act, one, other = heapq.heappop(self._heap)
        act(one, other)

    def _at(self, moment: float, act: Callable[[Any, Any], None], one: Any, other: Any) -> None:
        self._number += 1
        heapq.heappush(self._heap, (moment, self._number, act, one, other))

    # -- calls ----------------------------------------------------------------------------------------------

    def _arrive(self, lane: Lane, service_s: float) -> None:
        now = self._now
        call = next(self._ids)
        self._open += 1
        lane.count += 1
        if not lane.is_active:
            lane.is_active = True
            self._active[lane] = None
        actions = lane.pool.offer(call, now, now + self._conditions.hold_s)
        if len(actions) == 1 and type(actions[0]) is pool.Dispatch:
            self._begin(lane, call, actions[0].instance, now, service_s)
            return
        lane.held[call] = (now, service_s)
        self._carry(lane, actions)

    def _begin(self, lane: Lane, call: CallId, on: InstanceId, arrived: float, service_s: float) -> None:
        """The call has its instance, which serves it now or as soon as it is ready."""
        instance = self._instances[on]
        begins = self._now
        if instance.ready_at > begins:
            begins = instance.ready_at
            instance.is_cold = True
        if begins > arrived:
            lane.waited(begins - arrived)
            lane.cold_calls += instance.ready_at > arrived
        ends = begins + service_s
        # Overlapping calls count once, and nothing after the trace.
        since, until = max(begins, instance.busy_until), min(ends, self._window_s)
        if until > since:
            instance.busy_s += until - since
            instance.busy_until = until
        self._number += 1
        heapq.heappush(self._heap, (ends, self._number, self._end, lane, call))

    def _end(self, lane: Lane, call: CallId) -> None:
        self._open -= 1
        actions = lane.pool.done(call, OK, self._now)
        if actions:
            self._carry(lane, actions)

    def _carry(self, lane: Lane, actions: Iterable[pool.Action]) -> None:
        """The pool's actions, carried out."""
        for action in actions:
            match action:
                case pool.Dispatch(call, instance):
                    self._begin(lane, call, instance, *lane.held.pop(call))
                case pool.Want():
                    self._at(self._now + self._conditions.link_s, self._want, lane, action)
                case pool.Released(instance):
                    self._apply(self._roster.released(instance, self._now))
                case pool.Refuse(call, _):
                    arrived, _ = lane.held.pop(call)
                    lane.refused += 1
                    lane.waited(self._now - arrived)
                    self._open -= 1
                case _:
                    raise AssertionError(action)
        at = lane.pool.next_at
        if at is not None and (lane.tick_at is None or at < lane.tick_at):
            lane.tick_at = at
            self._at(max(at, self._now), self._tick_pool, lane, at)

    def _tick_pool(self, lane: Lane, at: float) -> None:
        if lane.tick_at == at:
            lane.tick_at = None
            self._carry(lane, lane.pool.tick(self._now))

    # -- what the engine hears ------------------------------------------------------------------------------

    def _want(self, lane: Lane, want: pool.Want) -> None:
        self._because_of_call = True
        told = self._roster.want(GATEWAY, lane.revision, want.waiting, want.executing, want.oldest_wait_s, self._now)
        self._apply(told)
        self._because_of_call = False

    def _close_second(self, _: None, __: None) -> None:
        now, seconds = self._now, []
        for lane in list(self._active):
            seen = lane.pool.observe(now)
            if seen is None:
                lane.is_active = False
                del self._active[lane]
            else:
                seconds.append((lane.revision, seen))
        if seconds:
            self._at(now + self._conditions.link_s, self._observed, seconds, None)
        if self._scaling.settings.needs_usage:
            self._tell_usage()
        self._at(now + 1.0, self._close_second, None, None)

    def _tell_usage(self) -> None:
        """As the keeper does each second. What a call takes of a processor no trace says: an instance that executes is
        taken to use one core."""
        now = self._now
        used = {
            name: (each.busy_s - max(0.0, each.busy_until - max(now, each.ready_at)), each.lane.function.memory_mib)
            for name, each in self._instances.items()
        }
        if used:
            self._apply(self._roster.used(used, {}, now))

    def _observed(self, seconds: list[tuple[RevisionId, Observation]], _: None) -> None:
        now, observed = self._now, self._roster.observed
        for revision, seen in seconds:
            actions = observed(GATEWAY, revision, seen, now)
            if actions:
                self._carry_out(actions)
        self._arm()

    def _ready(self, instance: InstanceId, _: None) -> None:
        there = self._instances.get(instance)
        if there is None:
            return
        load_s = 0.0 if there.is_forked else self._load_s
        if load_s:
            # Only what was measured gets a zygote.
            self._apply(self._roster.measured({instance: there.lane.function.memory_mib}, {}, self._now))
        self._apply(self._roster.ready(instance, self._scaling.concurrency, self._now, load_s))

    def _zygote_kept(self, lane: Lane, _: None) -> None:
        lane.has_zygote = True
        memory_mib, load_s = lane.function.memory_mib, self._load_s
        self._apply(self._roster.zygote_kept(lane.revision, memory_mib, load_s, self._now))

    def _zygote_gone(self, lane: Lane, _: None) -> None:
        lane.zygote_ended(self._now, self._window_s)
        self._apply(self._roster.zygote_gone(lane.revision, False, self._now))

    def _lost(self, instance: InstanceId, _: None) -> None:
        gone = self._instances.pop(instance)
        gone.lane.ended(gone, self._now, self._window_s)
        self._gauge.change(-1, self._now)
        self._apply(self._roster.lost(instance, self._now))

    def _tick(self, at: float, _: None) -> None:
        if self._tick_at == at:
            self._tick_at = None
            self._apply(self._roster.tick(self._now))

    # -- what it orders -------------------------------------------------------------------------------------

    def _apply(self, actions: Iterable[roster.Action]) -> None:
        self._carry_out(actions)
        self._arm()

    def _arm(self) -> None:
        at = self._roster.next_at
        if at is not None and (self._tick_at is None or at < self._tick_at):
            self._tick_at = at
            self._at(max(at, self._now) + LATE_S, self._tick, at, None)

    def _carry_out(self, actions: Iterable[roster.Action]) -> None:
        now = self._now
        for action in actions:
            match action:
                case roster.Decided() | roster.Learned():
                    pass
                case roster.Start(instance, revision):
                    self._start(instance, self._lane_by_revision[revision])
                case roster.Assign(instance, revision, _, _):
                    lane = self._lane_by_revision[revision]
                    self._carry(lane, lane.pool.joined(instance, now))
                case roster.Release(_, revision, count):
                    lane = self._lane_by_revision[revision]
                    self._carry(lane, lane.pool.release(count, now))
                case roster.Retire(_, instance):
                    lane = self._instances[instance].lane
                    self._carry(lane, lane.pool.retire(instance, now))
                case roster.Stop(instance, _):
                    self._at(now + self._conditions.stop_s, self._lost, instance, None)
                case roster.KeepZygote(revision):
                    lane = self._lane_by_revision[revision]
                    lane.zygote_since = now
                    self._at(now + self._load_s, self._zygote_kept, lane, None)
                case roster.DropZygote(revision):
                    lane = self._lane_by_revision[revision]
                    lane.has_zygote = False
                    self._at(now + self._conditions.stop_s, self._zygote_gone, lane, None)
                case _:
                    raise AssertionError(action)

    def _start(self, instance: InstanceId, lane: Lane) -> None:
        conditions = self._conditions
        takes_s = max(0.0, conditions.cold_start.draw(lane.rng) - conditions.link_s)
        if not lane.has_zygote:
            takes_s += self._load_s
        lane.starts += 1
        started = Instance(lane, self._now, self._now + takes_s, self._because_of_call)
        self._instances[instance] = started
        self._gauge.change(1, self._now)
        self._at(started.ready_at, self._ready, instance, None)
        self._take_unbound(lane)

    # -- its warm pool --------------------------------------------------------------------------------------

    def _take_unbound(self, lane: Lane) -> None:
        if self._warm.take(kind_of(lane.function, RUNTIME), self._now):
            self._gauge.change(-1, self._now)
        self._restock()

    def _unbound_made(self, kind: Kind, _: None) -> None:
        self._warm.made(kind, self._now)
        self._restock()

    def _restock(self) -> None:
        warm, now = self._warm, self._now
        before, due = warm.size, warm.next_at
        for kind in warm.restock(now):
            self._at(now + self._conditions.cold_start.draw(self._pool_rng), self._unbound_made, kind, None)
        self._gauge.change(warm.size - before, now)
        if warm.next_at is not None and warm.next_at != due:
            self._at(max(now, warm.next_at), self._look_at_pool, warm.next_at, None)

    def _look_at_pool(self, at: float, _: None) -> None:
        if self._warm.next_at == at:
            self._restock()

    # -- the result -----------------------------------------------------------------------------------------

    def score(self, label: str) -> Score:
        lanes, functions = self._lanes, [lane.score for lane in self._lanes]
        waits = array("d")
        for lane in lanes:
            waits += lane.waits
        ordered, calls = sorted(waits), sum(lane.count for lane in lanes)
        p50, p99, p999, most = (1000 * rank(ordered, calls - len(ordered), each) for each in (50, 99, 99.9, 100))
        return Score(
            policy=label,
            scaling=self._said,
            calls=calls,
            refused=sum(lane.refused for lane in lanes),
            cold_calls=sum(lane.cold_calls for lane in lanes),
            cold_starts=sum(each.cold_starts for each in functions),
            starts=sum(each.starts for each in functions) + self._warm.unused,
            added_s=sum(each.added_s for each in functions),
            added_p50_ms=p50,
            added_p99_ms=p99,
            added_p999_ms=p999,
            added_max_ms=most,
            idle_gb_min=sum(each.idle_gb_min for each in functions) + self._warm.gb_min,
            pool_gb_min=self._warm.gb_min,
            zygote_gb_min=sum(lane.zygote_gb_min for lane in lanes),
            busy_gb_min=sum(each.busy_gb_min for each in functions),
            instances=self._gauge.means,
            functions=functions,
        )
