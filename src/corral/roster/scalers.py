"""The scalers of revisions: each made and set as its revision's scaling says."""

import random
from collections.abc import Mapping

import msgspec

from corral.model import FunctionKey, RevisionId, key_of
from corral.policy import SCALERS, Scaler, Terms
from corral.roster.actions import Scaling
from corral.roster.deployment import Deployment


def recalls(engine: str) -> bool:
    """Whether its rule goes by idle times that were seen before it was asked."""
    return SCALERS[engine].recall is not None


class Scalers:
    """`cores` are the machine's; `rng` is the one source of chance for all of them."""

    def __init__(self, cores: int, rng: random.Random) -> None:
        self._cores, self._rng = cores, rng
        self._memories: dict[FunctionKey, dict[str, msgspec.Struct]] = {}
        """Function -> engine -> what its scalers learned; of rules that learn."""
        self._commons: dict[str, object] = {}

    def make(self, revision: RevisionId, scaling: Scaling) -> Scaler:
        return SCALERS[scaling.engine].make(self._terms(revision, scaling))

    def retune(self, known: Deployment, scaling: Scaling) -> None:
        """From now on it goes by `scaling`; another engine knows nothing of what this scaler saw."""
        if scaling.engine == known.scaling.engine:
            known.scaler.retune(self._terms(known.id, scaling))
        else:
            known.scaler = self.make(known.id, scaling)
        known.scaling = scaling

    def recall(self, function: FunctionKey, engine: str, idle_minutes: Mapping[int, int]) -> None:
        rule = SCALERS[engine]
        if rule.recall is not None:
            rule.recall(self._memory(function, engine), idle_minutes)

    def forget(self, function: FunctionKey) -> None:
        """It is not deployed any more."""
        self._memories.pop(function, None)

    def _terms(self, revision: RevisionId, scaling: Scaling) -> Terms:
        return Terms(
            settings=scaling.settings,
            idle_s=scaling.idle_s,
            cores=self._cores,
            rng=self._rng,
            min=scaling.min,
            max=scaling.max,
            initial=scaling.initial,
            cpu=scaling.cpu,
            trigger=scaling.trigger,
            memory=self._memory(key_of(revision), scaling.engine),
            common=self._common(scaling.engine),
        )

    def _memory(self, function: FunctionKey, engine: str) -> msgspec.Struct | None:
        kind = SCALERS[engine].memory
        if kind is None:
            return None
        memories = self._memories.setdefault(function, {})
        if engine not in memories:
            memories[engine] = kind()
        return memories[engine]

    def _common(self, engine: str) -> object:
        make = SCALERS[engine].common
        if make is None:
            return None
        if engine not in self._commons:
            self._commons[engine] = make()
        return self._commons[engine]
