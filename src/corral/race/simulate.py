"""The event simulation: the production Pools, Roster and rules of one policy on a trace, driven by a heap of events.

One gateway, one engine and one node without limit of memory. Two events per call, arrival and end; each closed second
is told of the pools that had calls; the Roster's timers go off at its `next_at`, pools' at theirs. Nothing else ticks.

A call's added latency is what passes from its arrival until its instance begins with it: waiting in the pool, and the
rest of the instance's start."""

import heapq
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from math import ceil
from typing import cast

import msgspec

from corral import pool, roster
from corral.model import CallId, GatewayId, InstanceId, Observation, RevisionId, ScalingValue
from corral.race.arrivals import Calls
from corral.race.conditions import Conditions, scaling_of
from corral.race.events import Events
from corral.race.lane import Lane
from corral.race.node import Node
from corral.race.score import Score, rank
from corral.race.trace import Trace

GATEWAY = GatewayId("gateway")
OK = pool.Outcome.OK
QUEUE = 1_000_000
"""Calls that may wait for a function: none is refused for its number."""
LATE_S = 0.0001
"""So late do the engine's timers go off. A rule that counts a minute from a call's second hears of the call that comes
just a minute later before it decides, as it mostly would."""


class Simulation:
    """One policy. `run` once, then `score`."""

    def __init__(self, trace: Trace, said: Mapping[str, ScalingValue], conditions: Conditions) -> None:
        """Raises Invalid: the policy is none."""
        self._trace, self._said, self._conditions = trace, said, conditions
        self._scaling = scaling_of(said, conditions)
        self._window_s = 60.0 * trace.minutes
        self._events = Events()
        self._ids = cast(Iterator[CallId], count(1))
        self._open = 0
        """Calls that have arrived and are not over."""
        self._active: dict[Lane, None] = {}
        """Those that may have something to tell of this second, in the order of their first call in it."""
        self._is_wanted = False
        """What is carried out answers calls that wait."""
        self._roster = roster.Roster("race", conditions.cores, random.Random(conditions.seed))
        self._tick_at: float | None = None
        self._node = Node(self._events, trace.minutes, self._scaling, conditions, self._roster, self._apply)
        self._lanes = _lanes(trace, self._scaling, conditions)
        self._lane_by_revision = {lane.revision: lane for lane in self._lanes}

    # -- the run --------------------------------------------------------------------------------------------

    def run(self, progress: Callable[[float], None] = lambda part: None) -> None:
        """`progress` hears the part that is done, after each minute of the trace."""
        self._deploy()
        self._events.at(1.0, self._close_second)
        for minute in range(self._trace.minutes):
            self._pass(self._calls_of(minute))
            self._events.run(60.0 * (minute + 1))
            progress((minute + 1) / self._trace.minutes)
        while self._open:
            self._events.next()
        self._node.close(self._lanes)

    def _deploy(self) -> None:
        self._node.connect()
        self._apply(self._roster.gateway_up(GATEWAY, {}, 0.0))
        # Which day it was a trace does not say; minute 480 is eight o'clock of it.
        self._apply(self._roster.clock(60.0 * self._trace.first_minute, 0.0))
        for lane in self._lanes:
            scaling = msgspec.structs.replace(
                self._scaling, memory_mib=ceil(lane.function.memory_mib), trigger=lane.function.trigger
            )
            self._apply(self._roster.deployed(lane.revision, scaling, 0.0))
            self._apply(self._roster.settled(lane.revision, 0.0))
        self._node.restock()

    def _calls_of(self, minute: int) -> list[tuple[float, int, float]]:
        """(moment, number of the lane, how long it takes), in order."""
        calls: list[tuple[float, int, float]] = []
        for number, lane in enumerate(self._lanes):
            if lane.function.counts[minute]:
                moments, services = lane.calls.of(minute)
                calls += [(moment, number, service) for moment, service in zip(moments, services, strict=True)]
        calls.sort()
        return calls

    def _pass(self, calls: Iterable[tuple[float, int, float]]) -> None:
        """The calls come, and between them happens what is due: Events.next, written out."""
        events, heap, lanes, pop = self._events, self._events.heap, self._lanes, heapq.heappop
        for moment, number, service_s in calls:
            while heap[0][0] <= moment:
                events.now, _, act, one, other = pop(heap)
                act(one, other)
            events.now = moment
            self._arrive(lanes[number], service_s)

    # -- calls ----------------------------------------------------------------------------------------------

    def _arrive(self, lane: Lane, service_s: float) -> None:
        now, call = self._events.now, next(self._ids)
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
        instance, begins = self._node.instances[on], self._events.now
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
        self._events.at(ends, self._end, lane, call)

    def _end(self, lane: Lane, call: CallId) -> None:
        self._open -= 1
        actions = lane.pool.done(call, OK, self._events.now)
        if actions:
            self._carry(lane, actions)

    def _carry(self, lane: Lane, actions: Iterable[pool.Action]) -> None:
        """The pool's actions, carried out."""
        events = self._events
        for action in actions:
            match action:
                case pool.Dispatch(call, instance):
                    self._begin(lane, call, instance, *lane.held.pop(call))
                case pool.Want():
                    events.at(events.now + self._conditions.link_s, self._want, lane, action)
                case pool.Released(instance):
                    self._apply(self._roster.released(instance, events.now))
                case pool.Refuse(call, _):
                    arrived, _ = lane.held.pop(call)
                    lane.refused += 1
                    lane.waited(events.now - arrived)
                    self._open -= 1
                case _:
                    raise AssertionError(action)
        at = lane.pool.next_at
        if at is not None and (lane.tick_at is None or at < lane.tick_at):
            lane.tick_at = at
            events.at(max(at, events.now), self._tick_pool, lane, at)

    def _tick_pool(self, lane: Lane, at: float) -> None:
        if lane.tick_at == at:
            lane.tick_at = None
            self._carry(lane, lane.pool.tick(self._events.now))

    # -- what the engine hears ------------------------------------------------------------------------------

    def _want(self, lane: Lane, want: pool.Want) -> None:
        self._is_wanted = True
        waiting, executing, oldest_wait_s = want.waiting, want.executing, want.oldest_wait_s
        self._apply(self._roster.want(GATEWAY, lane.revision, waiting, executing, oldest_wait_s, self._events.now))
        self._is_wanted = False

    def _close_second(self, _: None, __: None) -> None:
        now, seconds = self._events.now, []
        for lane in list(self._active):
            seen = lane.pool.observe(now)
            if seen is None:
                lane.is_active = False
                del self._active[lane]
            else:
                seconds.append((lane.revision, seen))
        if seconds:
            self._events.at(now + self._conditions.link_s, self._observed, seconds)
        if self._scaling.settings.needs_usage:
            self._node.tell_usage()
        self._events.at(now + 1.0, self._close_second)

    def _observed(self, seconds: list[tuple[RevisionId, Observation]], _: None) -> None:
        now, observed = self._events.now, self._roster.observed
        for revision, seen in seconds:
            actions = observed(GATEWAY, revision, seen, now)
            if actions:
                self._carry_out(actions)
        self._arm()

    def _tick(self, at: float, _: None) -> None:
        if self._tick_at == at:
            self._tick_at = None
            self._apply(self._roster.tick(self._events.now))

    # -- what it orders -------------------------------------------------------------------------------------

    def _apply(self, actions: Iterable[roster.Action]) -> None:
        self._carry_out(actions)
        self._arm()

    def _arm(self) -> None:
        at = self._roster.next_at
        if at is not None and (self._tick_at is None or at < self._tick_at):
            self._tick_at = at
            self._events.at(max(at, self._events.now) + LATE_S, self._tick, at)

    def _carry_out(self, actions: Iterable[roster.Action]) -> None:
        now, node = self._events.now, self._node
        for action in actions:
            match action:
                case roster.Decided() | roster.Learned():
                    pass
                case roster.Start(instance, revision):
                    node.start(instance, self._lane_by_revision[revision], self._is_wanted)
                case roster.Assign(instance, revision, _, _):
                    lane = self._lane_by_revision[revision]
                    self._carry(lane, lane.pool.joined(instance, now))
                case roster.Release(_, revision, count):
                    lane = self._lane_by_revision[revision]
                    self._carry(lane, lane.pool.release(count, now))
                case roster.Retire(_, instance):
                    lane = node.instances[instance].lane
                    self._carry(lane, lane.pool.retire(instance, now))
                case roster.Stop(instance, _):
                    node.stop(instance)
                case roster.KeepZygote(revision):
                    node.keep_zygote(self._lane_by_revision[revision])
                case roster.DropZygote(revision):
                    node.drop_zygote(self._lane_by_revision[revision])
                case _:
                    raise AssertionError(action)

    # -- the result -----------------------------------------------------------------------------------------

    def score(self, label: str) -> Score:
        lanes, functions = self._lanes, [lane.score for lane in self._lanes]
        waits = array("d")
        for lane in lanes:
            waits += lane.waits
        ordered, calls = sorted(waits), sum(lane.count for lane in lanes)
        p50, p99, p999, most = (1000 * rank(ordered, calls - len(ordered), each) for each in (50, 99, 99.9, 100))
        warm = self._node.warm
        return Score(
            policy=label,
            scaling=self._said,
            calls=calls,
            refused=sum(lane.refused for lane in lanes),
            cold_calls=sum(lane.cold_calls for lane in lanes),
            cold_starts=sum(each.cold_starts for each in functions),
            starts=sum(each.starts for each in functions) + warm.unused,
            added_s=sum(each.added_s for each in functions),
            added_p50_ms=p50,
            added_p99_ms=p99,
            added_p999_ms=p999,
            added_max_ms=most,
            idle_gb_min=sum(each.idle_gb_min for each in functions) + warm.gb_min,
            pool_gb_min=warm.gb_min,
            zygote_gb_min=sum(lane.zygote_gb_min for lane in lanes),
            busy_gb_min=sum(each.busy_gb_min for each in functions),
            instances=self._node.gauge.means,
            functions=functions,
        )


def _lanes(trace: Trace, scaling: roster.Scaling, conditions: Conditions) -> list[Lane]:
    limits = pool.Limits(concurrency=scaling.at_once, queue=QUEUE, choose=scaling.choose, once=scaling.once)
    return [
        Lane(
            RevisionId(f"race/f{number}@1"),
            function,
            Calls(function, conditions.seed, conditions.arrivals),
            limits,
            f"{conditions.seed}/{function.owner}/{function.app}/{function.name}",
        )
        for number, function in enumerate(trace.functions)
    ]
