"""The revisions that gateways know, from the beginning of their deployment until their last instance is gone."""

from collections import Counter
from collections.abc import Iterator

from corral.engine.links import Links
from corral.engine.verification import Verification
from corral.link import Message, RevisionDrop, RevisionPut, RoutePut
from corral.model import FunctionKey, Revision, RevisionId


class Known:
    """A revision the gateways know."""

    __slots__ = ("is_serving", "revision", "verification")

    def __init__(self, revision: Revision, verification: Verification | None, is_serving: bool) -> None:
        self.revision = revision
        self.is_serving = is_serving
        self.verification = verification


class Revisions:
    def __init__(self, links: Links) -> None:
        self._links = links
        self._known: dict[RevisionId, Known] = {}
        self._serving: dict[FunctionKey, RevisionId] = {}
        self._leaving: dict[RevisionId, Revision] = {}
        self._count: Counter[FunctionKey] = Counter()
        """Of both."""

    def get(self, revision: RevisionId) -> Known | None:
        return self._known.get(revision)

    def add(self, revision: Revision, verification: Verification | None, is_serving: bool) -> None:
        self._known[revision.id] = Known(revision, verification, is_serving)
        self._count[revision.key] += 1
        self._links.tell_gateways(RevisionPut.of(revision))
        if is_serving:
            self._route(revision)

    def serve(self, known: Known) -> None:
        """What loading it has shown stays; only the flag is new."""
        known.verification, known.is_serving = None, True
        self._route(known.revision)

    def _route(self, revision: Revision) -> None:
        self._serving[revision.key] = revision.id
        self._links.tell_gateways(RoutePut(revision.key, [(revision.id, 100)]))

    def serving(self, key: FunctionKey) -> RevisionId | None:
        """Where the function's calls go; None: it is not deployed."""
        return self._serving.get(key)

    def stop_serving(self, key: FunctionKey) -> RevisionId | None:
        """The one that served; None when the function is not deployed."""
        return self._serving.pop(key, None)

    def learn(self, revision: Revision) -> None:
        """The same revision with what loading it has shown. Of that, gateways go by the concurrency alone."""
        known = self._known.get(revision.id)
        if known is None:
            return
        before, known.revision = known.revision, revision
        if revision.concurrency != before.concurrency:
            self._links.tell_gateways(RevisionPut.of(revision))

    def leave(self, revision: RevisionId) -> None:
        """It is given up; it may have instances for a while."""
        self._leaving[revision] = self._known.pop(revision).revision
        self._links.tell_gateways(RevisionDrop(revision))

    def is_leaving(self, revision: RevisionId) -> bool:
        return revision in self._leaving

    def forget(self, revision: RevisionId) -> Revision:
        """One that was leaving has no instance left."""
        gone = self._leaving.pop(revision)
        self._count[gone.key] -= 1
        if not self._count[gone.key]:
            del self._count[gone.key]
        return gone

    def are_left(self, key: FunctionKey) -> bool:
        """Whether the function has a revision that serves, is verified or is leaving."""
        return key in self._count

    def told(self) -> Iterator[Message]:
        """All that a gateway has to know of them."""
        for known in self._known.values():
            yield RevisionPut.of(known.revision)
        for key, revision in self._serving.items():
            yield RoutePut(key, [(revision, 100)])
