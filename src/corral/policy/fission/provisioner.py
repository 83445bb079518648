"""Fission's provisioner: it brings a function's instances up to what is provisioned, in steps.

1. Every 30 s while there are fewer, and when a window opens or closes: as many starts as lack, at most four at a time.
2. Above it nothing is ended: the reaper may have what is idle.
Source: Fission, pkg/executor/executortype/poolmgr/provisioner.go. There only those that the provisioner began count."""

from corral.policy.fission.windows import Provision
from corral.policy.scaler import Situation

RECONCILE_S = 30.0
STARTING_MOST = 4
LOOK_S = 60.0
"""The wall clock may be set: what it says is looked at again after so long, where there are windows."""


class Provisioner:
    def __init__(self, provision: Provision) -> None:
        self._provision = provision
        self.target = 0
        """Provisioned at the last look."""
        self._floor = 0
        self._look_at: float | None = float("-inf")

    def retune(self, provision: Provision) -> None:
        self._provision = provision
        self._look_at = float("-inf")

    def floor(self, seen: Situation, now: float) -> int:
        """Instances there have to be."""
        if self._look_at is not None and now >= self._look_at:
            self._reconcile(seen, now)
        return self._floor

    @property
    def why(self) -> str:
        if self._floor == self.target:
            return f"{self.target} provisioned"
        return f"{self._floor} of {self.target} provisioned, {STARTING_MOST} start at once at most"

    @property
    def next_at(self) -> float | None:
        """When to look again; None: never."""
        return self._look_at

    def _reconcile(self, seen: Situation, now: float) -> None:
        wall_s = now + seen.wall_offset_s
        self.target = self._provision.at(wall_s)
        self._floor = min(self.target, seen.have + max(0, STARTING_MOST - seen.starting))
        moments = [now + RECONCILE_S] if self._floor < self.target else []
        change_at = self._provision.changes_after(wall_s)
        if change_at is not None:
            moments.append(min(now + LOOK_S, change_at - seen.wall_offset_s))
        self._look_at = min(moments, default=None)
