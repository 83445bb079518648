"""The Choose seam: which instance takes a call. The pool keeps the slots; a rule here only points at one."""

from collections import OrderedDict
from collections.abc import Callable

from corral.model import CallId, InstanceId


class Worker:
    """One instance as its pool sees it. Only the pool changes it."""

    __slots__ = ("calls", "foreign", "instance", "retiring", "taken")

    def __init__(self, instance: InstanceId, foreign: int) -> None:
        self.instance = instance
        self.calls: set[CallId] = set()
        self.foreign = foreign
        """Slots taken by calls of an earlier gateway, which have no id here."""
        self.taken = foreign
        """len(calls) + foreign."""
        self.retiring = False


Stack = OrderedDict[InstanceId, Worker]
"""Workers in order of their last change, the latest at the end."""

Choose = Callable[[Stack, Stack], Worker | None]
"""(busy with a free slot, idle) -> the worker that takes the next call; None: the call waits. Constant time."""


def most_recent(busy: Stack, idle: Stack) -> Worker | None:
    """The busiest end first, then the instance used last: the others fall idle and can be given up."""
    if busy:
        return next(reversed(busy.values()))
    if idle:
        return next(reversed(idle.values()))
    return None
