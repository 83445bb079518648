"""All deployed revisions by id. One that nobody needs sleeps: of ten thousand, those are nearly all."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import cast

from corral.model import FunctionKey, RevisionId, key_of
from corral.roster.actions import Action, Decided, Learned, Scaling
from corral.roster.deployment import Deployment, Instance
from corral.roster.scalers import Scalers

REST_S = 120.0
"""A revision without instances and timers sleeps after so long: until then its scaler may still know something of use.
Looked at when the next one comes to rest, so nothing wakes up for it."""
LEARN_MORE = 0.1
"""So much a working set must change, as a part of it, before it is remembered anew."""


class Deployments:
    """Asleep a revision is its scaling, the last decision and what was learned."""

    def __init__(self, scalers: Scalers) -> None:
        self._scalers = scalers
        self._awake: dict[RevisionId, Deployment] = {}
        self._asleep: dict[RevisionId, tuple[Scaling, Decided | None]] = {}
        self._resting: dict[RevisionId, float] = {}
        """Since when, the longest first. It may have been needed again meanwhile."""
        self._learned: dict[RevisionId, int] = {}
        """What an instance of each uses, in MiB, to within LEARN_MORE; also of those that sleep."""
        self._count: Counter[FunctionKey] = Counter()
        """Revisions of each function."""

    def get(self, revision: RevisionId) -> Deployment | None:
        """Wakes it. None: it is not deployed."""
        return self._awake.get(revision) or (self._wake(revision) if revision in self._asleep else None)

    def __contains__(self, revision: object) -> bool:
        """Whether it is deployed, not only ending."""
        known = self._awake.get(cast(RevisionId, revision))
        return not known.is_removed if known is not None else revision in self._asleep

    def rescale(self, revision: RevisionId, scaling: Scaling) -> Deployment | None:
        """The one that is awake, or wakes as it needs instances now. None: it sleeps on with its new scaling, or is
        not deployed."""
        asleep = self._asleep.get(revision)
        if asleep is not None and scaling.min == 0 and not scaling.settings.acts_alone:
            self._asleep[revision] = (scaling, asleep[1])
            return None
        return self.get(revision)

    def has_function(self, function: FunctionKey) -> bool:
        return self._count[function] > 0

    def find(self, revision: RevisionId) -> Deployment | None:
        """Wakes nobody. None: it sleeps, or is not deployed."""
        return self._awake.get(revision)

    @property
    def awake(self) -> Collection[Deployment]:
        return list(self._awake.values())

    def put(self, revision: RevisionId, scaling: Scaling) -> Deployment | None:
        """A new one. None: it sleeps, as it needs nothing yet."""
        self._count[key_of(revision)] += 1
        if max(scaling.min, scaling.initial) == 0 and not scaling.settings.acts_alone:
            self._asleep[revision] = (scaling, None)
            return None
        return self._add(revision, scaling)

    def add(self, revision: RevisionId, scaling: Scaling) -> Deployment:
        """A new one that is awake."""
        self._count[key_of(revision)] += 1
        return self._add(revision, scaling)

    def _add(self, revision: RevisionId, scaling: Scaling) -> Deployment:
        added = self._awake[revision] = Deployment(revision, scaling, self._scalers.make(revision, scaling))
        if revision in self._learned:
            added.used.remember(self._learned[revision])
        return added

    def remove(self, revision: RevisionId) -> None:
        if self._awake.pop(revision, None) is None and self._asleep.pop(revision, None) is None:
            return
        self._resting.pop(revision, None)
        self._learned.pop(revision, None)
        function = key_of(revision)
        self._count[function] -= 1
        if not self._count[function]:
            del self._count[function]
            self._scalers.forget(function)

    def rest(self, known: Deployment, now: float) -> None:
        """It is at rest. Those that have been for REST_S fall asleep."""
        self._resting.pop(known.id, None)
        self._resting[known.id] = now
        while (longest_id := next(iter(self._resting))) != known.id and self._resting[longest_id] + REST_S <= now:
            del self._resting[longest_id]
            longest = self._awake.get(longest_id)
            if longest is not None and longest.is_at_rest:
                del self._awake[longest.id]
                self._asleep[longest.id] = (longest.scaling, longest.decided)

    def remember(self, revision: RevisionId, memory_mib: int) -> Deployment | None:
        """What an earlier engine learned of a deployed one. None: it sleeps, and knows it when it wakes."""
        self._learned[revision] = memory_mib
        known = self.find(revision)
        if known is not None:
            known.used.remember(memory_mib)
        return known

    def learned_mib(self, revision: RevisionId) -> int | None:
        """What an instance of it uses, also while it sleeps; None: never measured."""
        return self._learned.get(revision)

    def learn(self, known: Deployment) -> list[Action]:
        """What its instances were seen to use. What is not much different is not worth a write."""
        mib, before = known.used.mib, self._learned.get(known.id)
        if mib is None or (before is not None and abs(mib - before) <= LEARN_MORE * before):
            return []
        self._learned[known.id] = mib
        return [Learned(known.id, mib)]

    # -- for people -----------------------------------------------------------------------------------------

    def instances(self, revision: RevisionId) -> Sequence[Instance]:
        known = self._awake.get(revision)
        return [] if known is None else list(known.instances.values())

    def decided(self, revision: RevisionId) -> Decided | None:
        """The last decision."""
        known = self._awake.get(revision)
        if known is not None:
            return known.decided
        return self._asleep[revision][1] if revision in self._asleep else None

    # -- inside ---------------------------------------------------------------------------------------------

    def _wake(self, revision: RevisionId) -> Deployment:
        scaling, decided = self._asleep.pop(revision)
        woken = self._add(revision, scaling)
        woken.decided, woken.is_settled = decided, True
        return woken
