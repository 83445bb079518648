"""Fission's executors behind the Scaler seam."""

from corral.policy.fission.newdeploy import NewDeploy
from corral.policy.fission.poolmgr import PoolManager
from corral.policy.fission.settings import FissionSettings
from corral.policy.scaler import Decision, Situation, Terms


def choose(settings: FissionSettings) -> str:
    """Fission's router picks the pod with fewest requests; new-deploy has a Kubernetes service before its pods."""
    return "fewest" if settings.executor == "poolmgr" else "random"


class Fission:
    """The executor begins with the first question, and anew when the function gets another one."""

    def __init__(self, terms: Terms) -> None:
        self._executor: PoolManager | NewDeploy | None = None
        self.retune(terms)

    def retune(self, terms: Terms) -> None:
        assert isinstance(terms.settings, FissionSettings)
        self._terms, self._settings = terms, terms.settings
        if isinstance(self._executor, PoolManager) and self._settings.executor == "poolmgr":
            self._executor.retune(self._settings)
        elif isinstance(self._executor, NewDeploy) and self._settings.executor == "newdeploy":
            self._executor.retune(terms, self._settings)
        else:
            self._executor = None

    def decide(self, seen: Situation, now: float) -> Decision:
        if self._executor is None:
            if self._settings.executor == "poolmgr":
                self._executor = PoolManager(self._settings, now)
            else:
                self._executor = NewDeploy(self._terms, self._settings, seen, now)
        return self._executor.decide(seen, now)
