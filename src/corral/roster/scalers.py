"""The scalers of revisions: each made and set as its revision's scaling says."""

import random

from corral.policy import SCALERS, Scaler, Terms
from corral.roster.actions import Scaling
from corral.roster.deployment import Deployment


class Scalers:
    """`cores` are the machine's; `rng` is the one source of chance for all of them."""

    def __init__(self, cores: int, rng: random.Random) -> None:
        self._cores, self._rng = cores, rng

    def make(self, scaling: Scaling) -> Scaler:
        return SCALERS[scaling.engine].make(self._terms(scaling))

    def retune(self, known: Deployment, scaling: Scaling) -> None:
        """From now on it goes by `scaling`; with another engine what its scaler knew is forgotten."""
        if scaling.engine == known.scaling.engine:
            known.scaler.retune(self._terms(scaling))
        else:
            known.scaler = self.make(scaling)
        known.scaling = scaling

    def _terms(self, scaling: Scaling) -> Terms:
        return Terms(
            settings=scaling.settings,
            idle_s=scaling.idle_s,
            cores=self._cores,
            rng=self._rng,
            min=scaling.min,
            max=scaling.max,
            initial=scaling.initial,
        )
