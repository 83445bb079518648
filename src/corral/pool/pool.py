"""The Pool itself: events in, actions out."""

import random
from collections import OrderedDict
from collections.abc import Sequence

from corral.errors import CorralError, QueueFull, StartTimeout
from corral.model import CallId, InstanceId, Observation, RevisionId
from corral.policy.balance import CHOOSERS, Choice, Stack, Worker
from corral.pool.actions import Action, Dispatch, Limits, Orphan, Outcome, Refuse, Released, Want
from corral.pool.held import HeldCalls

WANT_GAP_S = 0.010
"""Least time between two Wants."""
WANT_OLD_S = 0.050
"""A call that waits longer than this lets the scaler double its starts, so it is told again."""
WANT_AGAIN_S = 1.0
"""Longest silence while calls wait: a Want that got lost costs no more than this."""


class Pool:
    """See the module. Every method returns the actions to carry out, in order; most return few or none."""

    def __init__(self, revision: RevisionId, limits: Limits, rng: random.Random | None = None) -> None:
        """`rng` is for rules that draw; None: they draw the same in every pool."""
        self.revision = revision
        self._limits = limits
        self._rng = rng
        self._workers: dict[InstanceId, Worker] = {}
        self._joined = 0
        self._idle: Stack = OrderedDict()
        """Those without a call, unless they are retiring: the longest idle one is given up first."""
        # It holds those that have a free slot and are not retiring. Nobody waits while it has one.
        self._choice: Choice = self._new_choice()
        self._accepting = 0
        """Workers that are not retiring."""
        self._executing: dict[CallId, tuple[Worker, float]] = {}
        self._foreign = 0
        self._waiting = HeldCalls()
        self._fault: CorralError | None = None
        self._fault_until = 0.0
        self._shortage = ""
        self._told = 0
        """Waiting calls of the last Want, lowered as calls stop waiting: more than that is a growing shortfall."""
        self._told_at = float("-inf")
        self._again_s = WANT_GAP_S
        # What was seen since the last `observe`; see `_since` for the two integrals.
        self._in_flight_s = self._executing_s = self._oldest_wait_s = self._service_s = 0.0
        self._peak = self._arrived = self._completed = self._completed_200 = self._failed = self._from_idle = 0

    # -- calls ----------------------------------------------------------------------------------------------

    def offer(
        self, call: CallId, now: float, hold_until: float, front: bool = False, since: float | None = None
    ) -> Sequence[Action]:
        """A call arrived: dispatched, held until `hold_until`, or refused (QueueFull; the block's fault). `front`
        puts a call that was accepted before, and dispatched or held in vain, before those that wait, also past the
        queue's limit; it is not counted again. `since` is when it began to wait in another pool; None: now."""
        if not front:
            self._arrived += 1
            if not (self._executing or self._waiting or self._foreign):
                self._from_idle += 1
        worker = self._choice.next() if front or not self._waiting else None
        if worker is None:
            return self._hold(call, now, hold_until, front, now if since is None else since)
        self._in_flight_s -= now
        dispatch = self._dispatch(call, worker, now)
        in_flight = len(self._executing) + len(self._waiting) + self._foreign
        if in_flight > self._peak:
            self._peak = in_flight
        return (dispatch,)

    def done(self, call: CallId, outcome: Outcome, now: float) -> Sequence[Action]:
        """The instance is through with this call (it said LAST): its slot is free. Unknown calls are ignored."""
        taken = self._executing.pop(call, None)
        if taken is None:
            return ()
        worker, began = taken
        worker.calls.discard(call)
        self._in_flight_s += now
        self._executing_s += now
        if outcome is not Outcome.CANCELLED:
            self._completed += 1
            self._service_s += now - began
            if outcome is Outcome.OK:
                self._completed_200 += 1
            elif outcome is Outcome.FAILED:
                self._failed += 1
        return self._give_back(worker, now)

    def cancel(self, call: CallId, now: float) -> Sequence[Action]:
        """Nobody waits for the call. Held: forgotten. Executing: its slot stays taken until `done` or `lost`."""
        if call in self._waiting:
            self._unhold(call, now)
        return ()

    # -- instances ------------------------------------------------------------------------------------------

    def joined(self, instance: InstanceId, now: float, in_flight: int = 0) -> Sequence[Action]:
        """An instance takes calls; `in_flight` of its slots are taken by calls of an earlier gateway. One that has
        joined before is ignored."""
        if instance in self._workers:
            return ()
        self._joined += 1
        worker = self._workers[instance] = Worker(instance, self._joined, in_flight)
        self._accepting += 1
        self._foreign += in_flight
        self._in_flight_s -= now * in_flight
        self._executing_s -= now * in_flight
        self._note_peak()
        if in_flight and self._limits.once:
            return self.retire(instance, now)
        self._file(worker)
        return self._drain(now)

    def freed(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """One of the instance's calls of an earlier gateway ended."""
        worker = self._workers.get(instance)
        if worker is None or worker.foreign == 0:
            return ()
        worker.foreign -= 1
        self._foreign -= 1
        self._in_flight_s += now
        self._executing_s += now
        return self._give_back(worker, now)

    def retire(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """No new call goes to the instance; Released when its last one has ended."""
        worker = self._workers.get(instance)
        if worker is None or worker.retiring:
            return ()
        worker.retiring = True
        self._accepting -= 1
        self._unfile(worker)
        actions: list[Action] = []
        if worker.taken == 0:
            del self._workers[instance]
            actions.append(Released(instance))
        return actions + self._refuse_blocked(now)

    def lost(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """The instance is gone: an Orphan for each of its calls, in the order they are to be offered again, so that
        the one offered last, which goes to the front, is the oldest."""
        worker = self._workers.pop(instance, None)
        if worker is None:
            return ()
        if not worker.retiring:
            self._accepting -= 1
            self._unfile(worker)
        self._foreign -= worker.foreign
        self._in_flight_s += now * worker.taken
        self._executing_s += now * worker.taken
        actions: list[Action] = []
        for call in sorted(worker.calls, reverse=True):
            del self._executing[call]
            actions.append(Orphan(call))
        return actions + self._refuse_blocked(now)

    def release(self, count: int, now: float) -> Sequence[Action]:
        """Give up `count` idle instances, the longest idle first; fewer when fewer are idle."""
        actions: list[Action] = []
        while self._idle and len(actions) < count:
            instance, worker = self._idle.popitem(last=False)
            self._choice.drop(worker)
            del self._workers[instance]
            self._accepting -= 1
            actions.append(Released(instance))
        return actions

    # -- limits and time ------------------------------------------------------------------------------------

    def configure(self, limits: Limits, now: float) -> Sequence[Action]:
        """New limits, from now on (the concurrency is known only when the code was loaded). When instances are to take
        one call only, those that stand may have taken one: they are retired."""
        before, self._limits = self._limits, limits
        if (before.concurrency, before.choose) != (limits.concurrency, limits.choose):
            self._choice = self._new_choice()
            for worker in self._workers.values():
                if not worker.retiring:
                    self._file(worker)
        actions: list[Action] = []
        if limits.once and not before.once:
            for instance in list(self._workers):
                actions += self.retire(instance, now)
        return actions + self._drain(now)

    def _new_choice(self) -> Choice:
        limits = self._limits
        return CHOOSERS[limits.choose](limits.concurrency, self._idle, self._rng)

    def block(self, fault: CorralError | None, until: float, now: float) -> Sequence[Action]:
        """No instance can be started until `until`: while the pool has none, held and new calls are refused with
        `fault`. None lifts it."""
        self._fault, self._fault_until = fault, until
        return self._refuse_blocked(now) or self._want_if_due(now)

    def explain(self, shortage: str) -> None:
        """Why starts wait, in a sentence for callers that are held too long; empty: they do not."""
        self._shortage = shortage

    def tick(self, now: float) -> Sequence[Action]:
        """Refuses with StartTimeout what was held too long; a pending Want. Call it at `next_at`."""
        actions: list[Action] = []
        for call in self._waiting.overdue(now):
            waited = now - self._unhold(call, now)
            fault = f"no instance of {self.revision} was free for this call within {waited:.3g} s, its limit"
            fault += f": {self._shortage}" if self._shortage else ""
            actions.append(Refuse(call, StartTimeout(fault)))
        actions += self._want_if_due(now)
        return actions

    @property
    def next_at(self) -> float | None:
        """When `tick` has something to do; None: never, unless something else happens first."""
        return min(self._waiting.deadline, self._want_at()) if self._waiting else None

    # -- what is seen ---------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Calls that are held."""
        return len(self._waiting)

    @property
    def executing(self) -> int:
        """Slots that are taken, those by calls of an earlier gateway included."""
        return len(self._executing) + self._foreign

    @property
    def instances(self) -> Sequence[InstanceId]:
        """All it holds, retiring ones included."""
        return list(self._workers)

    @property
    def is_blank(self) -> bool:
        """It knows nothing that a new one would not: no call, no instance, no block, no shortage."""
        known = self._workers or self._waiting or self._executing or self._arrived or self._fault or self._shortage
        return not known

    def wanted(self, now: float) -> Want | None:
        """What a reconnected engine has to be told; None: no call waits."""
        if not self._waiting:
            return None
        self._told, self._told_at = len(self._waiting), now
        return Want(self._told, self.executing, max(0.0, now - self._waiting.oldest))

    def observe(self, now: float) -> Observation | None:
        """What was seen since the last `observe`; None when nothing was: no call arrived, waited or executed."""
        if self._peak == 0 and self._arrived == 0:
            return None
        in_flight = len(self._waiting) + self.executing
        if self._waiting:
            self._oldest_wait_s = max(self._oldest_wait_s, now - self._waiting.oldest)
        seen = Observation(
            arrived=self._arrived,
            completed=self._completed,
            completed_200=self._completed_200,
            failed=self._failed,
            # A difference of large sums: rounding may leave a hair below zero.
            concurrency_s=max(0.0, self._in_flight_s + in_flight * now),
            executing_s=max(0.0, self._executing_s + self.executing * now),
            peak=self._peak,
            oldest_wait_s=self._oldest_wait_s,
            service_s=self._service_s,
            from_idle=self._from_idle,
        )
        self._since(now)
        return seen

    # -- inside ---------------------------------------------------------------------------------------------

    def _since(self, now: float) -> None:
        executing = len(self._executing) + self._foreign
        in_flight = executing + len(self._waiting)
        # An integral of a count that changes by one is the sum of the moments it fell, less those it rose.
        self._in_flight_s = -now * in_flight if in_flight else 0.0
        self._executing_s = -now * executing if executing else 0.0
        self._peak = in_flight
        self._arrived = self._completed = self._completed_200 = self._failed = self._from_idle = 0
        self._oldest_wait_s = self._service_s = 0.0

    def _note_peak(self) -> None:
        self._peak = max(self._peak, len(self._executing) + len(self._waiting) + self._foreign)

    def _dispatch(self, call: CallId, worker: Worker, now: float) -> Dispatch:
        instance = worker.instance
        if worker.taken == 0:
            del self._idle[instance]
        worker.taken += 1
        if self._limits.once:
            worker.retiring = True
            self._accepting -= 1
        if worker.taken < self._limits.concurrency and not worker.retiring:
            self._choice.put(worker)
        else:
            self._choice.drop(worker)
        worker.calls.add(call)
        self._executing[call] = (worker, now)
        self._executing_s -= now
        return Dispatch(call, instance)

    def _give_back(self, worker: Worker, now: float) -> Sequence[Action]:
        worker.taken -= 1
        if worker.retiring:
            if worker.taken:
                return ()
            del self._workers[worker.instance]
            return (Released(worker.instance),)
        self._file(worker)
        return self._drain(now) if self._waiting else ()

    def _file(self, worker: Worker) -> None:
        if worker.taken == 0:
            self._idle[worker.instance] = worker
        if worker.taken < self._limits.concurrency:
            self._choice.put(worker)

    def _unfile(self, worker: Worker) -> None:
        self._idle.pop(worker.instance, None)
        self._choice.drop(worker)

    def _drain(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while self._waiting:
            worker = self._choice.next()
            if worker is None:
                break
            call, held = self._waiting.popitem(last=False)
            self._oldest_wait_s = max(self._oldest_wait_s, now - held.arrived)
            actions.append(self._dispatch(call, worker, now))
        self._told = min(self._told, len(self._waiting))
        # Those that take one call only are gone from the count with it.
        return actions + self._refuse_blocked(now) if self._limits.once else actions

    def _hold(self, call: CallId, now: float, hold_until: float, front: bool, since: float) -> Sequence[Action]:
        if self._is_blocked(now):
            assert self._fault is not None
            return (Refuse(call, self._fault),)
        # One call may always wait for the first instance, or a queue of 0 could never be served.
        limit = self._limits.queue if self._accepting else max(1, self._limits.queue)
        if len(self._waiting) >= limit and not front:
            fault = f"{len(self._waiting)} calls wait for {self.revision}, its queue allows {limit}: try again later"
            return (Refuse(call, QueueFull(fault)),)
        self._waiting.hold(call, since, hold_until, front)
        self._in_flight_s -= now
        self._note_peak()
        return self._want_if_due(now)

    def _unhold(self, call: CallId, now: float) -> float:
        """When it arrived."""
        arrived = self._waiting.pop(call).arrived
        self._oldest_wait_s = max(self._oldest_wait_s, now - arrived)
        self._in_flight_s += now
        self._told = min(self._told, len(self._waiting))
        return arrived

    def _is_blocked(self, now: float) -> bool:
        return self._fault is not None and not self._accepting and now < self._fault_until

    def _refuse_blocked(self, now: float) -> list[Action]:
        if not self._waiting or not self._is_blocked(now):
            return []
        assert self._fault is not None
        refused: list[Action] = []
        for call in list(self._waiting):
            self._unhold(call, now)
            refused.append(Refuse(call, self._fault))
        return refused

    def _want_at(self) -> float:
        """When the next Want is due, as things stand. Only while calls wait."""
        if len(self._waiting) > self._told:
            return self._told_at + WANT_GAP_S
        when_old = max(self._told_at + self._again_s, self._waiting.oldest + WANT_OLD_S)
        return min(when_old, self._told_at + WANT_AGAIN_S)

    def _want_if_due(self, now: float) -> Sequence[Action]:
        if not self._waiting or now < self._want_at():
            return ()
        grew = len(self._waiting) > self._told
        # Unchanged need is told again ever more slowly: the scaler doubles within a few steps or not at all.
        self._again_s = WANT_GAP_S if grew else min(2 * self._again_s, WANT_AGAIN_S)
        self._told, self._told_at = len(self._waiting), now
        return (Want(self._told, self.executing, max(0.0, now - self._waiting.oldest)),)
