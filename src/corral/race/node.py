"""The node of a race: what a keeper does there with instances, zygotes and a warm pool, how long it takes, and what
memory they hold meanwhile."""

import random
from collections.abc import Callable, Iterable

from corral import roster
from corral.model import InstanceId
from corral.policy import SCALERS, Kind, StockTerms
from corral.race.conditions import Conditions
from corral.race.events import Events
from corral.race.gauge import Gauge
from corral.race.lane import Instance, Lane
from corral.race.warm_pool import WarmPool, kind_of

RUNTIME = "python3"
"""Of all functions: a trace does not say."""


class Node:
    """`tell` takes what the roster answers to what the node says."""

    def __init__(
        self,
        events: Events,
        minutes: int,
        scaling: roster.Scaling,
        conditions: Conditions,
        engine: roster.Roster,
        tell: Callable[[Iterable[roster.Action]], None],
    ) -> None:
        self._events, self._window_s = events, 60.0 * minutes
        self._scaling, self._conditions = scaling, conditions
        self._load_s = conditions.cold_start.load_ms / 1000
        self._roster, self._tell = engine, tell
        self.instances: dict[InstanceId, Instance] = {}
        self.gauge = Gauge(minutes)
        self._pool_rng = random.Random(f"{conditions.seed}/warm pool")
        stock = SCALERS[scaling.engine].stock
        terms = StockTerms(rng=self._pool_rng, runtimes=(RUNTIME,), settings=scaling.settings)
        self.warm = WarmPool(None if stock is None else stock(terms), self._window_s)

    def connect(self) -> None:
        # One that keeps no zygotes of functions, where no code takes time to load.
        self._tell(self._roster.keeper_up({}, 0.0, zygotes={} if self._load_s else None))

    def close(self, lanes: Iterable[Lane]) -> None:
        """The trace is over: what there still is counts up to its end."""
        for instance in self.instances.values():
            instance.lane.ended(instance, self._window_s, self._window_s)
        for lane in lanes:
            lane.zygote_ended(self._window_s, self._window_s)
        self.gauge.close(self._window_s)
        self.warm.close()

    # -- instances ------------------------------------------------------------------------------------------

    def start(self, instance: InstanceId, lane: Lane, is_cold: bool) -> None:
        """`is_cold`: a call waits for it."""
        events, conditions = self._events, self._conditions
        takes_s = max(0.0, conditions.cold_start.draw(lane.rng) - conditions.link_s)
        if not lane.has_zygote:
            takes_s += self._load_s
        lane.starts += 1
        started = self.instances[instance] = Instance(lane, events.now, events.now + takes_s, is_cold)
        self.gauge.change(1, events.now)
        events.at(started.ready_at, self._ready, instance)
        if self.warm.take(kind_of(lane.function, RUNTIME), events.now):
            self.gauge.change(-1, events.now)
        self.restock()

    def stop(self, instance: InstanceId) -> None:
        self._events.at(self._events.now + self._conditions.stop_s, self._lost, instance)

    def tell_usage(self) -> None:
        """As a keeper does each second. What a call takes of a processor no trace says: an instance that executes is
        taken to use one core."""
        now = self._events.now
        used = {
            name: (each.busy_s - max(0.0, each.busy_until - max(now, each.ready_at)), each.lane.function.memory_mib)
            for name, each in self.instances.items()
        }
        if used:
            self._tell(self._roster.used(used, {}, now))

    def _ready(self, instance: InstanceId, _: None) -> None:
        there = self.instances.get(instance)
        if there is None:
            return
        now, load_s = self._events.now, 0.0 if there.is_forked else self._load_s
        if load_s:
            # Only what was measured gets a zygote.
            self._tell(self._roster.measured({instance: there.lane.function.memory_mib}, {}, now))
        self._tell(self._roster.ready(instance, self._scaling.concurrency, now, load_s))

    def _lost(self, instance: InstanceId, _: None) -> None:
        now, gone = self._events.now, self.instances.pop(instance)
        gone.lane.ended(gone, now, self._window_s)
        self.gauge.change(-1, now)
        self._tell(self._roster.lost(instance, now))

    # -- zygotes of functions -------------------------------------------------------------------------------

    def keep_zygote(self, lane: Lane) -> None:
        lane.zygote_since = self._events.now
        self._events.at(self._events.now + self._load_s, self._zygote_kept, lane)

    def drop_zygote(self, lane: Lane) -> None:
        lane.has_zygote = False
        self._events.at(self._events.now + self._conditions.stop_s, self._zygote_gone, lane)

    def _zygote_kept(self, lane: Lane, _: None) -> None:
        if lane.zygote_since is None:
            return  # it was dropped before it stood
        lane.has_zygote = True
        memory_mib = lane.function.memory_mib
        self._tell(self._roster.zygote_kept(lane.revision, memory_mib, self._load_s, self._events.now))

    def _zygote_gone(self, lane: Lane, _: None) -> None:
        lane.has_zygote = False
        lane.zygote_ended(self._events.now, self._window_s)
        self._tell(self._roster.zygote_gone(lane.revision, False, self._events.now))

    # -- the warm pool --------------------------------------------------------------------------------------

    def restock(self) -> None:
        """Something was taken from it, or stands, or it is time."""
        warm, now = self.warm, self._events.now
        before, due = warm.size, warm.next_at
        for kind in warm.restock(now):
            self._events.at(now + self._conditions.cold_start.draw(self._pool_rng), self._unbound_made, kind)
        self.gauge.change(warm.size - before, now)
        if warm.next_at is not None and warm.next_at != due:
            self._events.at(max(now, warm.next_at), self._look_at_pool, warm.next_at)

    def _unbound_made(self, kind: Kind, _: None) -> None:
        self.warm.made(kind, self._events.now)
        self.restock()

    def _look_at_pool(self, at: float, _: None) -> None:
        if self.warm.next_at == at:
            self.restock()
