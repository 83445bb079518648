"""Processors are divided among functions, not among instances: one that has many may not push the others aside."""

from collections.abc import Sequence
from typing import NamedTuple

from corral.model import FunctionKey, InstanceId
from corral.sandbox.cgroups import Group


class Weighing(NamedTuple):
    group: Group
    weight: float
    """A part of what one function has."""


class Weights:
    """Each instance weighs 1 / 2**k, its function having at least 2**k of them: only when that number doubles or halves
    all its groups are written again, so a start costs about one write however many there are."""

    def __init__(self) -> None:
        self._groups: dict[FunctionKey, dict[InstanceId, Group]] = {}
        self._halvings: dict[FunctionKey, int] = {}

    def add(self, function: FunctionKey, instance: InstanceId, group: Group) -> Sequence[Weighing]:
        """What is to be written; a group nobody has weighed counts as 1."""
        groups = self._groups.setdefault(function, {})
        groups[instance] = group
        halvings = self._halvings.get(function, 0)
        if len(groups) >= 2 ** (halvings + 1):
            return self._weigh(function, halvings + 1)
        return [Weighing(group, 0.5**halvings)] if halvings else []

    def remove(self, function: FunctionKey, instance: InstanceId) -> Sequence[Weighing]:
        """What is to be written. One that is not known is ignored."""
        groups = self._groups.get(function)
        if groups is None or groups.pop(instance, None) is None:
            return []
        if not groups:
            del self._groups[function]
            self._halvings.pop(function, None)
            return []
        # Not at the number at which it was divided, where one that comes and goes would write all each time.
        halvings = self._halvings.get(function, 0)
        return self._weigh(function, halvings - 1) if halvings and len(groups) < 2 ** (halvings - 1) + 1 else []

    def _weigh(self, function: FunctionKey, halvings: int) -> Sequence[Weighing]:
        self._halvings[function] = halvings
        return [Weighing(group, 0.5**halvings) for group in self._groups[function].values()]
