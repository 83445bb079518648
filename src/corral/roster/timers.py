"""When revisions are due though nothing happens to them."""

import heapq

from corral.model import RevisionId
from corral.roster.deployment import Deployment
from corral.roster.deployments import Deployments


class Timers:
    """At most one moment per revision counts, the one in its books; other entries of the heap are left over."""

    def __init__(self, revisions: Deployments) -> None:
        self._revisions = revisions
        self._heap: list[tuple[float, RevisionId]] = []

    def __len__(self) -> int:
        """With those that are left over."""
        return len(self._heap)

    def arm(self, known: Deployment, now: float) -> None:
        at = known.due_at(now)
        # An earlier entry stays and wakes for nothing, once: cheaper than an entry for each change.
        if at is None or (known.timer_at is not None and known.timer_at <= at):
            return
        known.timer_at = at
        heapq.heappush(self._heap, (at, known.id))

    def take(self, now: float) -> Deployment | None:
        """The next that is due; None: none is. It has to be armed again."""
        while self._heap and self._heap[0][0] <= now:
            known = self._pointed_at()
            heapq.heappop(self._heap)
            if known is not None:
                known.timer_at = None
                return known
        return None

    @property
    def next_at(self) -> float | None:
        """When the next is due; None: none will be."""
        while self._heap and self._pointed_at() is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _pointed_at(self) -> Deployment | None:
        """Whose the first entry is; None: it is left over."""
        at, revision = self._heap[0]
        known = self._revisions.find(revision)
        return known if known is not None and known.timer_at == at else None
