"""The revisions that gateways know, from when they are readied until their last instance is gone, and where each
function's calls go."""

from collections import Counter
from collections.abc import Iterator, Sequence

from corral.engine.links import Links
from corral.engine.verification import Verification
from corral.link import Message, RevisionDrop, RevisionPut, RouteDrop, RoutePut, Served
from corral.model import FunctionKey, Revision, RevisionId, Share, revision_id
from corral.roster import Scaling


class Known:
    """A revision the gateways know."""

    __slots__ = ("had_calls", "revision", "scaling", "served", "verifications")

    def __init__(self, revision: Revision, scaling: Scaling, had_calls: bool) -> None:
        self.revision, self.scaling = revision, scaling
        self.served = _served(revision, scaling)
        """As the gateways were told."""
        self.had_calls = had_calls
        """Its instances may have calls to finish."""
        self.verifications: tuple[Verification, ...] = ()
        """Of changes that wait until it has its instances."""


class Revisions:
    def __init__(self, links: Links) -> None:
        self._links = links
        self._known: dict[RevisionId, Known] = {}
        self._traffic: dict[FunctionKey, Sequence[Share]] = {}
        self._leaving: dict[RevisionId, Revision] = {}
        self._count: Counter[FunctionKey] = Counter()
        """Of known and leaving ones."""

    def get(self, revision: RevisionId) -> Known | None:
        return self._known.get(revision)

    def add(self, revision: Revision, scaling: Scaling) -> Known:
        """One that may still be leaving from an earlier time stays instead."""
        stays = self._leaving.pop(revision.id, None) is not None
        known = self._known[revision.id] = Known(revision, scaling, had_calls=stays)
        if not stays:
            self._count[revision.key] += 1
        self._links.tell_gateways(RevisionPut(known.served))
        return known

    def route(self, key: FunctionKey, traffic: Sequence[Share]) -> set[RevisionId]:
        """The function's calls go so from now on; which revisions they went to before and do no more."""
        before = self.live(key)
        self._traffic[key] = traffic
        after = self.live(key)
        for each in after:
            self._known[each].had_calls = True
        self._links.tell_gateways(_route_put(key, traffic))
        return set(before) - set(after)

    def unroute(self, key: FunctionKey) -> Sequence[RevisionId]:
        """The function is gone; the revisions its calls went to."""
        live = self.live(key)
        if self._traffic.pop(key, None) is not None:
            self._links.tell_gateways(RouteDrop(key))
        return live

    def live(self, key: FunctionKey) -> Sequence[RevisionId]:
        """Revisions that calls may go to, by share or tag, oldest first."""
        return list(dict.fromkeys(revision_id(key, share.number) for share in self._traffic.get(key, ())))

    def is_live(self, revision: Revision) -> bool:
        return any(share.number == revision.number for share in self._traffic.get(revision.key, ()))

    def is_deployed(self, key: FunctionKey) -> bool:
        return key in self._traffic

    def learn(self, revision: Revision) -> None:
        """The same revision with what loading it has shown."""
        known = self._known.get(revision.id)
        if known is not None:
            known.revision = revision
            self._tell(known)

    def rescale(self, revision: RevisionId, scaling: Scaling) -> None:
        """It is scaled by another rule, or by other settings."""
        known = self._known.get(revision)
        if known is not None:
            known.scaling = scaling
            self._tell(known)

    def _tell(self, known: Known) -> None:
        """If something that gateways go by has changed."""
        served = _served(known.revision, known.scaling)
        if served != known.served:
            known.served = served
            self._links.tell_gateways(RevisionPut(served))

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
        """Whether the function has a revision that calls go to, that is readied or that is leaving."""
        return key in self._count

    def told(self) -> Iterator[Message]:
        """All that a gateway has to know of them."""
        for known in self._known.values():
            yield RevisionPut(known.served)
        for key, traffic in self._traffic.items():
            yield _route_put(key, traffic)


def _served(revision: Revision, scaling: Scaling) -> Served:
    return Served.of(revision, scaling.choose, scaling.once, scaling.slots)


def _route_put(key: FunctionKey, traffic: Sequence[Share]) -> RoutePut:
    shares = [(revision_id(key, share.number), share.percent) for share in traffic if share.percent]
    return RoutePut(key, shares, {share.tag: revision_id(key, share.number) for share in traffic if share.tag})
