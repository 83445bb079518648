"""One revision in this gateway: its pool, its calls in order of arrival, its instances.

All calls of a revision have the same timeout, so their order of arrival is the order of their deadlines: the table of
calls is the deadline queue, and a call costs the deadline nothing but its row (see Activator)."""

import asyncio
from collections.abc import Callable, Sequence
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING

from corral.errors import CallTimeout, CorralError, LoadFailed
from corral.gateway.call import Call
from corral.gateway.http import Refused, ResponseHeads
from corral.gateway.instance import Instance
from corral.gateway.stats import FunctionStats
from corral.link import CallLost, Message, Ready, Released, Served, Want
from corral.model import STAMPS, CallId, FunctionKey, InstanceId
from corral.pool import Action, Dispatch, Limits, Orphan, Outcome, Pool, Refuse
from corral.pool import Released as PoolReleased
from corral.pool import Want as PoolWant

if TYPE_CHECKING:
    from corral.gateway.activator import Activator


class Lane:
    """See the module. Made at RevisionPut with all that a call looks up."""

    def __init__(
        self, served: Served, activator: "Activator", stats: FunctionStats, tell: Callable[[Message], None]
    ) -> None:
        self.activator = activator
        self.stats = stats
        self.tell = tell
        self.heads: ResponseHeads = activator.heads
        self.window = activator.window
        self.calls: dict[CallId, Call] = {}
        self.instances: dict[InstanceId, Instance] = {}
        self.active = False
        """Whether it is among those that are observed each second."""
        self.armed = False
        """Whether the activator's deadline heap has an entry for it."""
        self.closing = False
        """No call comes any more: its revision was dropped. Known until its last call and instance are gone."""
        self._latest = 0.0
        """The latest deadline of all calls so far."""
        self._tick: asyncio.TimerHandle | None = None
        self._tick_at = 0.0
        self._take(served)

    @cached_property
    def pool(self) -> Pool:
        """Made when it is first needed: of thousands of functions few are called at a time."""
        return Pool(self.id, self._limits)

    @property
    def has_pool(self) -> bool:
        return "pool" in vars(self)

    def rest(self) -> None:
        """No call has come for a second, or the last idle instance was given up."""
        if self.has_pool and self.pool.is_blank:
            del self.pool

    def _take(self, served: Served) -> None:
        self.served = served
        self.id = served.id
        self.key = served.key
        self.namespace = served.namespace
        self.private = served.private
        self.timeout_s = served.timeout_s
        self.hold_s = min(served.hold_s, served.timeout_s)
        self.body_max = int(served.body_max_mib * 1024 * 1024)
        self._limits = self._limits_of(served.concurrency)

    def _limits_of(self, concurrency: int) -> Limits:
        """With so many calls at once in an instance, as far as its code goes."""
        served = self.served
        return Limits(
            concurrency=concurrency if served.slots is None else min(concurrency, served.slots),
            queue=served.queue,
            choose=served.choose,
            once=served.once,
        )

    def configure(self, served: Served) -> None:
        """New facts of the same revision."""
        self._take(served)
        if self.has_pool:
            self._carry_out(self.pool.configure(self._limits, monotonic()))

    # -- calls ----------------------------------------------------------------------------------------------

    def offer(self, call: Call, front: bool = False, since: float | None = None) -> None:
        """`front` and `since` as in Pool.offer."""
        deadline = call.deadline
        if deadline >= self._latest:
            self._latest = deadline
            self.calls[call.id] = call
        else:
            self._place(call)
        if not self.active:
            self.activator.observe(self)
        if not self.armed:
            self.activator.watch(self, deadline)
        now = monotonic()
        hold_until = min(call.arrived + self.hold_s, deadline) if front else min(now + self.hold_s, deadline)
        actions = self.pool.offer(call.id, now, hold_until, front, since)
        if actions:
            self._carry_out(actions)
        else:
            self._arm()  # held, and the Want for it is due later

    def over(self, call: Call, now: float, failed: bool = False) -> None:
        """The instance said LAST."""
        if self.calls.pop(call.id, None) is None:
            outcome = Outcome.FAILED  # its deadline passed before
            if call.instance is not None:
                call.instance.ended_late(call)
        elif failed:
            outcome = Outcome.FAILED
        elif call.status == 200:
            outcome = Outcome.OK
        else:
            outcome = Outcome.OTHER if call.status else Outcome.CANCELLED
        actions = self.pool.done(call.id, outcome, now)
        if actions:
            self._carry_out(actions)
        if self.closing:
            self.activator.sweep(self)

    def abandon(self, call: Call) -> None:
        """The client left. A call that an instance has stays here until the instance is through with it."""
        self.stats.left()
        self._tell_watchers(call, call.status, is_whole=False)
        self._carry_out(self.pool.cancel(call.id, monotonic()))
        if call.number:
            call.cancel()
        else:
            self.calls.pop(call.id, None)

    def count(self, call: Call, status: int, now: float = 0.0) -> None:
        """The client was told `status`."""
        self.stats.told(status, (now or monotonic()) - call.arrived)
        self._tell_watchers(call, status)

    def cut(self, call: Call) -> None:
        """The answer had begun and broke off."""
        self.stats.cut()
        self._tell_watchers(call, call.status, is_whole=False)

    def _tell_watchers(self, call: Call, status: int, is_whole: bool = True) -> None:
        watched = self.activator.watched
        if self.key in watched.told:
            watched.ended(call, status, is_whole)

    def expire(self, now: float) -> float | None:
        """End the calls whose deadline passed; the next deadline, or None without calls."""
        while self.calls:
            call = next(iter(self.calls.values()))
            if call.deadline > now:
                return call.deadline
            del self.calls[call.id]
            instance = call.instance
            fault = self._lateness(call)
            call.refuse(fault)
            self._carry_out(self.pool.cancel(call.id, now))
            if instance is not None:
                self.tell_lost(instance, call, fault)
                call.cancel()
                instance.overrun(call)
        return None

    def tell_lost(self, instance: Instance, call: Call, fault: CorralError) -> None:
        """For the function's log: the caller knows its request id, and looks for it there."""
        request = call.request_id.decode("ascii", "replace")
        self.tell(CallLost(instance.id, self.id, request, f"{type(fault).__name__}: {fault}"))

    def _lateness(self, call: Call) -> CorralError:
        if not call.complete:
            return self.late_body()
        where = "did not answer" if call.number else "got no instance"
        return CallTimeout(f"the function {where} within its timeout of {self.timeout_s:g} s")

    def late_body(self) -> Refused:
        limit = f"the function's timeout of {self.timeout_s:g} s"
        return Refused(408, "body_timeout", f"the request's body was not whole within {limit}")

    def waiting(self) -> list[Call]:
        return [call for call in self.calls.values() if not call.number]

    def move_waiting(self, find: "Callable[[FunctionKey], Lane | None]") -> None:
        """Held calls go where the calls of their name go now: None, they stay here. Raises nothing: a call whose name
        leads nowhere any more is told so."""
        now = monotonic()
        for call in reversed(self.waiting()):  # each is put in front, the oldest last
            try:
                successor = find(call.key)
            except CorralError as fault:
                self._unhold(call, now)
                call.refuse(fault)
                continue
            if successor is not None:
                self._unhold(call, now)
                successor.take_over(call)

    def take_over(self, call: Call) -> None:
        """One that another lane accepted and does not carry out any more. It arrived there: here it is not counted,
        and its limits go on from then."""
        call.lane = self
        call.deadline = call.arrived + self.timeout_s
        self.offer(call, front=True, since=call.arrived)

    def offer_again(self, call: Call) -> None:
        """One that was begun nowhere. Where no calls come any more it goes where those of its name go now."""
        if not self.closing:
            self.offer(call, front=True)
            return
        try:
            self.activator.find(call.key).take_over(call)
        except CorralError as fault:
            call.refuse(fault)

    def _unhold(self, call: Call, now: float) -> None:
        del self.calls[call.id]
        self._carry_out(self.pool.cancel(call.id, now))

    def refuse_waiting(self, fault: CorralError) -> None:
        now = monotonic()
        for call in self.waiting():
            self._unhold(call, now)
            call.refuse(fault)

    def close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()

    # -- instances ------------------------------------------------------------------------------------------

    def assign(self, instance: Instance) -> None:
        self.instances[instance.id] = instance
        if instance.fresh:
            self._carry_out(self.pool.joined(instance.id, monotonic()))

    def joined(self, instance: Instance, in_flight: int) -> None:
        self._carry_out(self.pool.joined(instance.id, monotonic(), in_flight))

    def freed(self, instance: Instance) -> None:
        self._carry_out(self.pool.freed(instance.id, monotonic()))

    def ready(self, instance: Instance, message: Ready) -> None:
        stamps = message.stamps
        # Not those that a deployment or `min` asked for. After a back-off the engine no longer knows which call waited.
        if instance.fresh and ("waited" in stamps or instance.connection.in_flight):
            self.stats.started({name: stamps[name] for name in STAMPS if name in stamps})
        self.tell(message)
        limits = self._limits_of(message.concurrency)
        if limits != self._limits:
            self._limits = limits
            self._carry_out(self.pool.configure(self._limits, monotonic()))

    def retire(self, instance: Instance) -> None:
        self._carry_out(self.pool.retire(instance.id, monotonic()))

    def release(self, count: int) -> None:
        self._carry_out(self.pool.release(count, monotonic()))

    def lost(self, instance: Instance) -> None:
        """Its calls that were not begun are offered again, the others end with it."""
        self._drop_instance(instance)
        orphans = self.pool.lost(instance.id, monotonic())
        self._carry_out([action for action in orphans if type(action) is not Orphan])
        # In the pool's order: the oldest is put in front last.
        for action in orphans:
            if type(action) is not Orphan:
                continue
            call = self.calls.pop(action.call, None)
            if call is None or call.answer is None:
                continue
            if instance.heard_out and call.take_back():
                self.offer_again(call)
            else:
                instance.bereave(call)
                self.activator.await_cause(instance)
        if self.closing:
            self.activator.sweep(self)

    def load_failed(self, instance: Instance, fault: LoadFailed, until: float) -> None:
        """The code could not be loaded: its calls, and held ones where nothing else serves, are told at once."""
        self._drop_instance(instance)
        serves = any(other.ready_at for other in self.instances.values())
        for action in self.pool.lost(instance.id, monotonic()):
            if type(action) is not Orphan:
                self._carry_out((action,))
            elif (call := self.calls.pop(action.call, None)) is not None:
                if serves and call.answer is not None and call.take_back():
                    self.offer_again(call)
                else:
                    call.refuse(fault)
        self.block(fault, until)
        if self.closing:
            self.activator.sweep(self)

    def _place(self, call: Call) -> None:
        """Put a call that is not the newest where it belongs: the table stays in order of deadlines."""
        later = {key: other for key, other in self.calls.items() if other.deadline > call.deadline}
        for key in later:
            del self.calls[key]
        self.calls[call.id] = call
        self.calls.update(later)
        self.activator.watch(self, call.deadline)

    def block(self, fault: CorralError | None, until: float) -> None:
        self._carry_out(self.pool.block(fault, until, monotonic()))

    def _drop_instance(self, instance: Instance) -> None:
        self.instances.pop(instance.id, None)
        self.activator.dropped(instance)

    # -- the pool's actions ---------------------------------------------------------------------------------

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if type(action) is Dispatch:
                self.calls[action.call].send_to(self.instances[action.instance], monotonic())
            else:
                self._carry_out_seldom(action)

    def _carry_out_seldom(self, action: Action) -> None:
        if isinstance(action, PoolWant):
            self.want(action)
        elif isinstance(action, Refuse):
            call = self.calls.pop(action.call, None)
            if call is not None:
                call.refuse(action.fault)
        elif isinstance(action, PoolReleased):
            instance = self.instances.get(action.instance)
            if instance is not None:
                self._drop_instance(instance)
                instance.release()
                self.tell(Released(instance.id))
                if self.closing:
                    self.activator.sweep(self)
        self._arm()
        if not self.active:
            self.rest()

    def want(self, want: PoolWant) -> None:
        waited = monotonic() - want.oldest_wait_s
        self.tell(Want(self.id, want.waiting, want.executing, want.oldest_wait_s, waited))

    def _arm(self) -> None:
        """The pool's own timer: hold limits and pending Wants. An early firing does no harm, so it is only ever
        brought forward."""
        next_at = self.pool.next_at
        if next_at is None:
            return
        if self._tick is not None:
            if self._tick_at <= next_at:
                return
            self._tick.cancel()
        self._tick_at = next_at
        self._tick = asyncio.get_running_loop().call_later(max(next_at - monotonic(), 0.0005), self._ticked)

    def _ticked(self) -> None:
        self._tick = None
        self._carry_out(self.pool.tick(monotonic()))
        self._arm()
