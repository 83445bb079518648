"""The Pool: the calls and instances of one revision in one gateway. Pure: events in, actions out; `now` is given.

Invariants, each with a property test: an instance never holds more calls than its concurrency; a slot is taken when
the instance is chosen and given back exactly once, in every order of answer, cancellation, timeout and death."""

from corral.pool.actions import Action, Dispatch, Limits, Orphan, Outcome, Refuse, Released, Want
from corral.pool.pool import Pool

__all__ = ["Action", "Dispatch", "Limits", "Orphan", "Outcome", "Pool", "Refuse", "Released", "Want"]
