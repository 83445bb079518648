"""What revisions keep from being given away: their function's user, their package and their layer."""

from collections import Counter
from collections.abc import Callable, Iterable

from corral.engine.layers import Layers
from corral.engine.uids import Uids
from corral.model import FunctionKey, Revision, RevisionId
from corral.ports import Packages


class Holdings:
    """A revision holds from the beginning of its deployment until it is neither stored nor has an instance.
    `dropped` is called when a package may be of no use any more."""

    def __init__(self, packages: Packages, layers: Layers, uids: Uids) -> None:
        self._packages, self._layers, self._uids = packages, layers, uids
        self._held: set[RevisionId] = set()
        self._uid: dict[FunctionKey, int] = {}
        self._count: Counter[FunctionKey] = Counter()
        self.dropped: Callable[[], None] = lambda: None

    def restore(self, revisions: Iterable[Revision]) -> None:
        """At start: those of a function that are stored."""
        for revision in revisions:
            self.hold(revision)
        self._uids.claim({revision.uid for revision in revisions})

    def user_of(self, key: FunctionKey) -> int:
        """For a revision that will hold it; one for each function. Raises Conflict when there are none left."""
        return self._uid[key] if key in self._uid else self._uids.take()

    def hold(self, revision: Revision) -> None:
        self._held.add(revision.id)
        self._uid[revision.key] = revision.uid
        self._count[revision.key] += 1
        self._packages.hold(revision.namespace, revision.package)
        self._layers.hold(revision)

    def deployed(self, revision: Revision) -> None:
        """Its package was uploaded for it."""
        self._packages.deployed(revision.namespace, revision.package)

    def let_go(self, revision: Revision) -> None:
        """Nothing is left of it. Again: nothing."""
        if revision.id not in self._held:
            return
        self._held.remove(revision.id)
        self._packages.drop(revision.namespace, revision.package)
        self._layers.drop(revision)
        self._count[revision.key] -= 1
        if not self._count[revision.key]:
            del self._count[revision.key]
            self._uids.give_back(self._uid.pop(revision.key))
        self.dropped()
