"""What a pool answers, and what it is told of its revision and of a call's end."""

from enum import Enum

import msgspec

from corral.errors import CorralError
from corral.model import CallId, InstanceId
from corral.policy.balance import MOST_RECENT


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
    choose: str = MOST_RECENT
    """A row of policy.balance.CHOOSERS."""
    once: bool = False
    """An instance takes one call, and is given up when it has ended."""
