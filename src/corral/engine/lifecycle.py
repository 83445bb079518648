"""A revision's way through the engine: it is readied, gets calls, gets none any more, and is forgotten with its last
instance."""

from collections.abc import Callable

from corral import link
from corral.clock import Clock
from corral.engine.codes import Codes
from corral.engine.history import History
from corral.engine.links import Links
from corral.engine.orders import Orders
from corral.engine.revisions import Known, Revisions
from corral.engine.running import Instances
from corral.engine.scalings import Scalings
from corral.engine.verification import Verification
from corral.model import ExitCause, FunctionKey, Revision, RevisionId, key_of
from corral.ports import StoredFunction
from corral.roster import Roster, Scaling, recalls


class Lifecycle:
    """See the module. `emptied(revision)` is called when a revision that was given up has no instance left,
    `removed(function)` when a function was deleted, `recalls(function, engine)` when an engine scales it that goes by
    idle times of before."""

    def __init__(
        self,
        plan: Roster,
        clock: Clock,
        history: History,
        links: Links,
        revisions: Revisions,
        running: Instances,
        codes: Codes,
        scalings: Scalings,
        orders: Orders,
    ) -> None:
        self._roster, self._clock, self._history, self._links = plan, clock, history, links
        self._revisions, self._running, self._codes = revisions, running, codes
        self._scalings, self._orders = scalings, orders
        self.emptied: Callable[[Revision], None] = lambda _: None
        self.removed: Callable[[FunctionKey], None] = lambda _: None
        self.recalls: Callable[[FunctionKey, str], None] = lambda *_: None
        self._forgotten: set[FunctionKey] = set()
        """Functions that went while the keeper was away."""

    def prepare(self, revision: Revision, needed: int, least: int) -> Verification:
        """Have `needed` instances of it, so that calls can go to it; `least` of them prove that its code loads. Until
        `give_up` they are kept, whatever its scaling says. Calls still go where they went."""
        now = self._clock.monotonic()
        known = self._revisions.get(revision.id) or self._add(revision, now)
        ready = sum(each.state == "ready" for each in self._roster.instances(revision.id))
        verification = Verification(needed, least, ready)
        known.verifications += (verification,)
        self._orders.carry_out(self._roster.required(revision.id, needed, now), now)
        return verification

    def give_up(self, revision: RevisionId, verification: Verification) -> None:
        """What it was prepared for is over. If calls go to it now, its scaling decides from here on; if none ever went
        to it, nothing of it stays."""
        now = self._clock.monotonic()
        known = self._revisions.get(revision)
        if known is None:
            return
        known.verifications = tuple(each for each in known.verifications if each is not verification)
        if known.verifications:
            return
        if self._revisions.is_live(known.revision):
            self._orders.carry_out(self._roster.settled(revision, now), now)
            return
        self._leave(revision, now)
        if not known.had_calls:
            for instance in self._running.of(revision):
                self._links.tell_keeper(link.Stop(instance, ExitCause.REMOVED))

    def route(self, function: StoredFunction) -> None:
        """From now on the function's calls go as its traffic says. Revisions that none goes to any more are drained."""
        now = self._clock.monotonic()
        for revision in function.revisions:
            if all(share.number != revision.number for share in function.traffic):
                continue
            if self._revisions.get(revision.id) is None:
                self._add(revision, now)
                self._orders.carry_out(self._roster.settled(revision.id, now), now)
            else:
                self.rescale(revision)  # its function's scaling may have been changed while it was readied
        for before in self._revisions.route(function.key, function.traffic):
            known = self._revisions.get(before)
            if known is not None and not known.verifications:
                self._hand_over(known.revision, function, now)
                self._leave(before, now)

    def _hand_over(self, before: Revision, function: StoredFunction, now: float) -> None:
        """To the newest that has calls, if it has the same dependencies."""
        serving = {share.number for share in function.traffic if share.percent}
        after = max((each for each in function.revisions if each.number in serving), key=lambda each: each.number)
        if after.layer is not None and after.layer == before.layer:
            self._orders.carry_out(self._roster.succeeded(before.id, after.id, now), now)

    def remove(self, key: FunctionKey) -> None:
        """The function was deleted."""
        self.removed(key)
        for revision in self._revisions.unroute(key):
            self._leave(revision, self._clock.monotonic())
        if self._revisions.are_left(key):
            # It may be deployed anew before its last call has ended.
            self._forget(key)

    def learn(self, revision: Revision) -> None:
        """The same revision with what loading it has shown."""
        self._revisions.learn(revision)

    def rescale(self, revision: Revision) -> None:
        """Its function's scaling has changed: it counts from this moment on."""
        now = self._clock.monotonic()
        scaling = self._scalings.of(revision, initial=0)
        self._orders.carry_out(self._roster.rescaled(revision.id, scaling, now), now)
        self._revisions.rescale(revision.id, scaling)
        self._recall(revision, scaling)

    def knows(self, revision: RevisionId) -> bool:
        return self._revisions.get(revision) is not None

    def has(self, revision: RevisionId) -> bool:
        """Whether calls may go to it, or it may have instances."""
        return self.knows(revision) or self._revisions.is_leaving(revision)

    def known(self, revision: Revision) -> Revision:
        """The same revision with what loading it has shown so far."""
        known = self._revisions.get(revision.id)
        return revision if known is None else known.revision

    def check_left(self, revision: RevisionId) -> None:
        """Forget it if it was given up and has no instance left."""
        if self.knows(revision) or self._running.of(revision):
            return
        if self._revisions.is_leaving(revision):
            self._codes.forget(revision)
            self.emptied(self._revisions.forget(revision))
        if not self._revisions.are_left(key_of(revision)):
            self._forget(key_of(revision))

    def keeper_up(self) -> None:
        for key in self._forgotten:
            self._links.tell_keeper(link.Forget(key))
        self._forgotten.clear()

    def _add(self, revision: Revision, now: float) -> Known:
        scaling = self._scalings.of(revision, initial=0)
        known = self._revisions.add(revision, scaling)
        self._orders.carry_out(self._roster.deployed(revision.id, scaling, now), now)
        self._recall(revision, scaling)
        return known

    def _recall(self, revision: Revision, scaling: Scaling) -> None:
        if recalls(scaling.engine):
            self.recalls(revision.key, scaling.engine)

    def _leave(self, revision: RevisionId, now: float) -> None:
        self._revisions.leave(revision)
        self._orders.carry_out(self._roster.removed(revision, now), now)
        self.check_left(revision)

    def _forget(self, key: FunctionKey) -> None:
        """What was logged and seen of a function that is gone: the next one of its name has nothing to do with it."""
        self._history.forget(key)
        if self._links.keeper is None:
            self._forgotten.add(key)
        else:
            self._links.tell_keeper(link.Forget(key))
