"""Fission's generic pools: of each runtime so many unbound instances stand, and one that is taken is made anew at once.

There a function takes what its environment has; here the limit of memory is its own, set when the instance becomes its,
so one pool of a runtime serves functions of every size. There a burst waits for the pool to be made anew; here a start
that finds it empty begins from nothing, which takes as long.
Source: Fission, pkg/executor/executortype/poolmgr: the deployment replaces a pod whose labels it no longer selects."""

from collections import Counter

from corral.policy.fission.settings import FissionSettings
from corral.policy.stock import Kind, StockTerms, Supply

POOL_MIB = 256
"""The limit of an unbound instance: it holds a runtime, and no code yet."""


class GenericPool:
    def __init__(self, terms: StockTerms) -> None:
        settings = terms.settings or FissionSettings()
        assert isinstance(settings, FissionSettings)
        size = settings.pool_size if settings.executor == "poolmgr" else 0
        self._wanted = {Kind(runtime, POOL_MIB): size for runtime in terms.runtimes if size}
        self._standing: Counter[Kind] = Counter()

    def take(self, kind: Kind, now: float) -> Kind | None:
        pooled = Kind(kind.runtime, POOL_MIB)
        if not self._standing[pooled]:
            return None
        self._standing[pooled] -= 1
        return pooled

    def made(self, kind: Kind, now: float) -> None:
        self._standing[kind] += 1

    def lost(self, kind: Kind, now: float) -> None:
        self._standing[kind] -= 1

    def decide(self, now: float) -> Supply:
        return Supply(self._wanted, None)
