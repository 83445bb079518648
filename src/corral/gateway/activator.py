"""Calls meet instances here: all lanes, all instances, the deadlines and what the engine is told.

Deadlines: one heap with at most one entry for each lane that has calls, and one timer for the heap's first. An entry
may be early (its call has ended since): the lane then says when to come again. Nothing is cancelled per call."""

import asyncio
import heapq
from collections.abc import Callable, Iterator
from time import monotonic

from corral.errors import CorralError, LoadFailed, NotFound, Unavailable
from corral.gateway.http import ResponseHeads
from corral.gateway.instance import Instance
from corral.gateway.lane import Lane
from corral.gateway.stats import Stats
from corral.gateway.watched import Watched
from corral.link import (
    Assign,
    Block,
    Gone,
    Holding,
    Message,
    Observed,
    Overrun,
    Queued,
    Release,
    Released,
    Retire,
    Served,
)
from corral.model import CallId, FunctionKey, InstanceId, RevisionId


def _nowhere(key: FunctionKey) -> Lane:
    raise NotFound(f"function {key} does not exist")


CAUSE_WAIT_S = 0.2
"""How long a lost instance's calls wait for the keeper to say why it ended."""


class Activator:
    """See the module. `tell` sends to the engine and may drop: after a reconnect `sync` says everything again."""

    def __init__(self, tell: Callable[[Message], None], stats: Stats, window: int) -> None:
        self.heads = ResponseHeads()
        self.window = window
        self.lanes: dict[RevisionId, Lane] = {}
        self.instances: dict[InstanceId, Instance] = {}
        self.watched = Watched(tell)
        self.find: Callable[[FunctionKey], Lane] = _nowhere
        """Where calls of a function go; the routes say it. Raises NotFound."""
        self._tell = tell
        self._stats = stats
        self._calls = 0
        self._observed: list[Lane] = []
        """All that have calls, and those that had some a moment ago."""
        self.has_seen = asyncio.Event()
        """There is something to report: while nothing is called, nothing is done each second."""
        self._deadlines: list[tuple[float, int, Lane]] = []
        self._watched = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._lost: dict[InstanceId, Instance] = {}
        """Lost ones whose calls wait to hear why."""
        self._condemned: set[InstanceId] = set()
        """Those the engine has to kill; kept until it says they are gone, for it may be away."""
        stats.queue.labels().source = lambda: sum(lane.pool.waiting for lane in self._observed)
        stats.in_flight.labels().source = lambda: sum(len(lane.calls) for lane in self._observed)
        stats.instances.labels().source = lambda: len(self.instances)

    def next_call(self) -> CallId:
        self._calls += 1
        return CallId(self._calls)

    def close(self) -> None:
        """Leave all instances where they are: the next gateway connects to them."""
        for instance in list(self.instances.values()):
            instance.release()
        for lane in self.lanes.values():
            lane.close()
        if self._timer is not None:
            self._timer.cancel()

    # -- lanes ----------------------------------------------------------------------------------------------

    def lane(self, served: Served) -> Lane:
        """The lane of this revision, made or told its new facts."""
        lane = self.lanes.get(served.id)
        if lane is None:
            lane = self.lanes[served.id] = Lane(served, self, self._stats.of(served.key), self._tell)
        elif lane.served != served:
            lane.configure(served)
        return lane

    def drop(self, lane: Lane, why: NotFound) -> None:
        """No call comes to it any more; those that are held are told why."""
        lane.closing = True
        lane.refuse_waiting(why)
        self.sweep(lane)

    def sweep(self, lane: Lane) -> None:
        """Forget a closing lane once nothing is left in it."""
        if not lane.calls and not lane.instances and self.lanes.get(lane.id) is lane:
            del self.lanes[lane.id]

    # -- the engine's messages ------------------------------------------------------------------------------

    def assign(self, message: Assign) -> None:
        if message.instance in self.instances:
            return
        lane = self.lanes.get(message.revision)
        if message.instance in self._condemned:
            self._tell(Overrun(message.instance))
        elif lane is None:
            self._tell(Released(message.instance))
        else:
            instance = Instance(message.instance, lane, message.address, message.fresh)
            self.instances[instance.id] = instance
            instance.connect(asyncio.get_running_loop())
            lane.assign(instance)

    def release(self, message: Release) -> None:
        lane = self.lanes.get(message.revision)
        if lane is not None:
            lane.release(message.count)

    def retire(self, message: Retire) -> None:
        instance = self.instances.get(message.instance)
        if instance is not None:
            instance.lane.retire(instance)
        else:
            self._tell(Released(message.instance))

    def gone(self, message: Gone) -> None:
        self._condemned.discard(message.instance)
        instance = self.instances.get(message.instance) or self._lost.pop(message.instance, None)
        if instance is not None:
            instance.ended(message)

    def block(self, message: Block) -> None:
        lane = self.lanes.get(message.revision)
        if lane is None:
            return
        fault: CorralError | None = None
        if message.error:
            kind = LoadFailed if message.kind == "load" else Unavailable
            fault = kind(message.error, retry_after_s=max(message.until - monotonic(), 1.0))
        lane.block(fault, message.until)

    def queued(self, message: Queued) -> None:
        lane = self.lanes.get(message.revision)
        if lane is not None:
            lane.pool.explain(message.why)
            lane.rest()

    def sync(self) -> Iterator[Message]:
        """All the engine must know after a connect."""
        holding: dict[RevisionId, list[InstanceId]] = {}
        for instance in self.instances.values():
            holding.setdefault(instance.lane.id, []).append(instance.id)
        yield Holding(holding)
        for condemned in self._condemned:
            yield Overrun(condemned)

    def wants(self) -> None:
        """Tell a new engine of the calls that wait."""
        now = monotonic()
        for lane in self._observed:
            want = lane.pool.wanted(now)
            if want is not None:
                lane.want(want)

    # -- what lanes ask for ---------------------------------------------------------------------------------

    def dropped(self, instance: Instance) -> None:
        """Its lane has it no longer."""
        self.instances.pop(instance.id, None)
        if instance.condemned:
            self._condemned.add(instance.id)
            self._tell(Overrun(instance.id))

    def await_cause(self, instance: Instance) -> None:
        """Its calls are told why it ended: as soon as the engine says so, or without a reason in CAUSE_WAIT_S."""
        if instance.gone is None and instance.id not in self._lost:
            self._lost[instance.id] = instance
            asyncio.get_running_loop().call_later(CAUSE_WAIT_S, self._give_up_waiting, instance)

    def _give_up_waiting(self, instance: Instance) -> None:
        if self._lost.pop(instance.id, None) is not None:
            instance.answer_bereaved()

    def observe(self, lane: Lane) -> None:
        lane.active = True
        self._observed.append(lane)
        self.has_seen.set()

    def report(self, now: float) -> None:
        """Once a second, while calls come: what was seen of each lane that saw anything."""
        seen = {}
        lanes, self._observed = self._observed, []
        for lane in lanes:
            observation = lane.pool.observe(now)
            if observation is None and not lane.calls:
                lane.active = False
                lane.rest()
            else:
                self._observed.append(lane)
                if observation is not None:
                    seen[lane.id] = observation
        if seen:
            self._tell(Observed(seen))
        if not self._observed:
            self.has_seen.clear()

    def watch(self, lane: Lane, deadline: float) -> None:
        """Come to the lane at `deadline`, once."""
        lane.armed = True
        self._watched += 1
        heapq.heappush(self._deadlines, (deadline, self._watched, lane))
        self._arm()

    def _arm(self) -> None:
        if not self._deadlines:
            return
        first = self._deadlines[0][0]
        if self._timer is not None:
            if self._timer_at <= first:
                return
            self._timer.cancel()
        self._timer_at = first
        delay = max(first - monotonic(), 0.001)
        self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, lane = heapq.heappop(self._deadlines)
            lane.armed = False
            deadline = lane.expire(now)
            if deadline is not None and not lane.armed:
                self.watch(lane, deadline)
            if lane.closing:
                self.sweep(lane)
        self._arm()
