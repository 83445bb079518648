"""The Pool: the calls and instances of one revision in one gateway. Pure: events in, actions out; `now` is given.

Invariants, each with a property test: an instance never holds more calls than its concurrency; a slot is taken when
the instance is chosen and given back exactly once, in every order of answer, cancellation, timeout and death."""

from collections.abc import Sequence
from enum import Enum

import msgspec

from corral.errors import CorralError
from corral.model import CallId, InstanceId, Observation, RevisionId


class Dispatch(msgspec.Struct, frozen=True, gc=False):
    """Send the call to the instance."""

    call: CallId
    instance: InstanceId


class Refuse(msgspec.Struct, frozen=True):
    """The call ends here; `fault` says why. The pool has forgotten it."""

    call: CallId
    fault: CorralError


class Want(msgspec.Struct, frozen=True, gc=False):
    """Calls wait for instances. Edge-triggered: at the first waiting call, then at most every 10 ms while the
    shortfall grows."""

    waiting: int
    executing: int
    oldest_wait_s: float


class Released(msgspec.Struct, frozen=True, gc=False):
    """The instance was given up: idle, and no call goes to it any more. The pool has forgotten it."""

    instance: InstanceId


class Orphan(msgspec.Struct, frozen=True, gc=False):
    """The instance that held this call is gone and the pool has forgotten the call: offer it again (`front=True`)
    if it was not begun, else end it."""

    call: CallId


Action = Dispatch | Refuse | Want | Released | Orphan


class Outcome(Enum):
    OK = "ok"  # answered with 200
    OTHER = "other"  # answered with another status
    FAILED = "failed"  # the function raised, or its deadline passed
    CANCELLED = "cancelled"  # its client left


class Limits(msgspec.Struct, frozen=True):
    concurrency: int
    queue: int


class Pool:
    """See the module. Every method returns the actions to carry out, in order; most return few or none."""

    def __init__(self, revision: RevisionId, limits: Limits) -> None: ...

    def configure(self, limits: Limits, now: float) -> Sequence[Action]:
        """New limits, from now on (the concurrency is known only when the code was loaded)."""

    def offer(self, call: CallId, now: float, hold_until: float, front: bool = False) -> Sequence[Action]:
        """A call arrived: dispatched, held until `hold_until`, or refused (QueueFull; the block's fault). `front`
        puts a call that was dispatched in vain before those that wait, also past the queue's limit."""

    def done(self, call: CallId, outcome: Outcome, now: float) -> Sequence[Action]:
        """The instance is through with this call (it said LAST): its slot is free. Unknown calls are ignored."""

    def cancel(self, call: CallId, now: float) -> Sequence[Action]:
        """Nobody waits for the call. Held: forgotten. Executing: its slot stays taken until `done` or `lost`."""

    def joined(self, instance: InstanceId, now: float, in_flight: int = 0) -> Sequence[Action]:
        """An instance takes calls; `in_flight` of its slots are taken by calls of an earlier gateway."""

    def freed(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """One of the instance's calls of an earlier gateway ended."""

    def retire(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """No new call goes to the instance; Released when its last one has ended."""

    def lost(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """The instance is gone: an Orphan for each of its calls."""

    def release(self, count: int, now: float) -> Sequence[Action]:
        """Give up `count` idle instances, the longest idle first."""

    def block(self, fault: CorralError | None, until: float, now: float) -> Sequence[Action]:
        """No instance can be started until `until`: while the pool has none, held and new calls are refused with
        `fault`. None lifts it."""

    def tick(self, now: float) -> Sequence[Action]:
        """Refuses with StartTimeout what was held too long; a pending Want. Call it at `next_at`."""

    @property
    def next_at(self) -> float | None:
        """When `tick` has something to do; None: never, unless something else happens first."""

    def observe(self, now: float) -> Observation | None:
        """What was seen since the last `observe`; None when nothing was: no call arrived, waited or executed."""
