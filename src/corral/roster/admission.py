"""Who may start: what the revisions' instances use of the machine's memory, and whose turn it is when it is full.

Amounts are whole MiB, so that sums are exact: whatever is charged is given back to the last."""

from collections.abc import Iterator
from math import ceil, isinf

from corral.model import RevisionId, key_of
from corral.policy.greedy_dual import GreedyDual
from corral.policy.ranking import Ranking
from corral.policy.reserve import Reserve, Spare
from corral.roster.actions import BudgetView, DropZygote, MemoryView
from corral.roster.deployment import SERVING, Deployment, State
from corral.roster.zygotes import Zygotes, ZygoteTerms

MUCH = 9
"""So one revision alone gets nine tenths of the budget, two get nine nineteenths each. As switches share their buffers
(Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998)."""


class Share:
    """What one revision was charged when it was last looked at."""

    __slots__ = ("charged_mib", "coming_mib", "live_mib")

    def __init__(self) -> None:
        self.charged_mib = self.live_mib = self.coming_mib = 0


class Namespace:
    """What the revisions of one namespace use, and which of them wait or could give."""

    __slots__ = ("givers", "live_mib", "name", "shares", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.live_mib = 0
        self.shares: dict[RevisionId, Share] = {}
        self.waiting: Ranking[RevisionId] = Ranking()
        """By what they would use with one more."""
        self.givers: Ranking[RevisionId] = Ranking()
        """Those with more instances than they are promised, the largest first."""


class Room:
    """What is to be given up."""

    def __init__(self) -> None:
        self.idle: list[tuple[Deployment, int]] = []
        """So many instances of each are to be asked back."""
        self.zygotes: list[DropZygote] = []
        self.giver: Deployment | None = None
        """One of its instances is to end when its calls have."""
        self.is_enough = False


class Admission:
    """All instances count from their start until they are gone. Three sums: `used_mib` of all, of which `coming_mib` is
    about to be free (asked back from a gateway as idle, or ending); "live" is what is neither being given up nor
    ending, and what fairness goes by.

    Fair is: of those that wait, the namespace that would use least with its start goes first, and in it the revision
    that would; equals in the order they came. So one that asks for much waits behind those that ask for little, and one
    that has much behind those that have little."""

    def __init__(self, terms: ZygoteTerms) -> None:
        self.limit_mib = float("inf")
        self.zygotes = Zygotes(terms)
        self.used_mib = self.coming_mib = 0
        self.retired = 0
        self.evictions = 0
        """Idle instances asked back for want of memory."""
        self.idle: Reserve = GreedyDual()
        """Revisions that have an instance more than they are promised, ready and not asked back."""
        self._known: dict[RevisionId, Deployment] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._waiting: Ranking[str] = Ranking()
        self._givers: Ranking[str] = Ranking()

    # -- the books ------------------------------------------------------------------------------------------

    def note(self, known: Deployment) -> None:
        """Something changed about the revision: its instances, what one uses, or what is promised to it."""
        known.has_zygote = self.zygotes.is_kept(known.id)
        place = self._place(known.id)
        if not known.instances and known.id not in place.waiting:
            self.forget(known)
            return
        self._known[known.id] = known
        share = self._share(known)
        number, serving = known.count[State.READY] + known.count[State.STARTING], known.mib(SERVING)
        # Which of them the gateway gives up it alone knows: as much as so many use on average.
        asked = serving * (number - known.have) // max(1, number)
        charged, live = known.mib(), serving - asked
        coming = asked + known.mib((State.STOPPING,))
        self.used_mib += charged - share.charged_mib
        self.coming_mib += coming - share.coming_mib
        place.live_mib += live - share.live_mib
        share.charged_mib, share.live_mib, share.coming_mib = charged, live, coming
        self._rank(known, place, share)

    def forget(self, known: Deployment) -> None:
        """It has no instance and wants none."""
        place = self._place(known.id)
        place.waiting.drop(known.id)
        share = place.shares.pop(known.id, Share())
        self.used_mib -= share.charged_mib
        self.coming_mib -= share.coming_mib
        place.live_mib -= share.live_mib
        place.givers.drop(known.id)
        self.idle.forget(known.id)
        self._known.pop(known.id, None)
        if place.shares:
            self._rank_namespace(place)
        else:
            self._givers.drop(place.name)
            self._waiting.drop(place.name)
            del self._namespaces[place.name]

    def _rank(self, known: Deployment, place: Namespace, share: Share) -> None:
        can_give = known.have > known.floor and not known.is_removed
        if can_give:
            place.givers.put(known.id, -share.live_mib)
        else:
            place.givers.drop(known.id)
        if can_give and known.ready:
            self.idle.keep(known.id)
        else:
            self.idle.leave(known.id)
        if known.id in place.waiting:
            place.waiting.put(known.id, share.live_mib + known.next_mib)
        self._rank_namespace(place)

    def _rank_namespace(self, place: Namespace) -> None:
        first = place.waiting.first()
        if first is None:
            self._waiting.drop(place.name)
        else:
            self._waiting.put(place.name, place.live_mib + self._known[first].next_mib)
        if len(place.givers):
            self._givers.put(place.name, -place.live_mib)
        else:
            self._givers.drop(place.name)

    def _share(self, known: Deployment) -> Share:
        return self._place(known.id).shares.setdefault(known.id, Share())

    def _place(self, revision: RevisionId) -> Namespace:
        name = _namespace(revision)
        place = self._namespaces.get(name)
        if place is None:
            place = self._namespaces[name] = Namespace(name)
        return place

    # -- the queue ------------------------------------------------------------------------------------------

    def wait(self, known: Deployment) -> None:
        """It wants to start an instance more than it has."""
        self._known[known.id] = known
        place = self._place(known.id)
        share = self._share(known)
        place.waiting.put(known.id, share.live_mib + known.next_mib)
        self._rank_namespace(place)

    def done(self, known: Deployment) -> None:
        """It wants none, now."""
        if self.is_waiting(known):
            self._place(known.id).waiting.drop(known.id)
            self.note(known)

    def is_waiting(self, known: Deployment) -> bool:
        place = self._namespaces.get(_namespace(known.id))
        return place is not None and known.id in place.waiting

    def next(self) -> Deployment | None:
        """Whose turn it is; None: nobody waits."""
        name = self._waiting.first()
        revision = None if name is None else self._namespaces[name].waiting.first()
        return None if revision is None else self._known[revision]

    @property
    def free_mib(self) -> float:
        """Below 0 when instances turned out to use more than they were admitted for."""
        return self.limit_mib - self.used_mib - self.zygotes.memory_mib

    def needs_mib(self, known: Deployment) -> int:
        """What has to be free for its next start. A revision may not have more than MUCH times what it leaves: its own
        calls may go on for long, and others' first starts should not wait for their end. Its first instance, and those
        promised to it, may take the last."""
        more = known.mib(starts=1) - known.mib()
        if known.have == 0 or known.have < known.floor:
            return more
        return more + ceil((self._share(known).live_mib + more) / MUCH)

    def fits(self, known: Deployment) -> bool:
        return self.needs_mib(known) <= self.free_mib

    def shortage(self, known: Deployment) -> str:
        """Why its start waits, for the owner and for callers."""
        if known.next_mib > self.limit_mib:
            return f"it needs {known.next_mib} MiB, and all functions of this machine may use {self.limit_mib:.0f}"
        if known.have:
            return f"it has {known.have} instances, and what they leave of {self.limit_mib:.0f} MiB is for others"
        return (
            f"all {self.limit_mib:.0f} MiB that functions of this machine may use are in use, and it needs "
            f"{known.next_mib}: it is started as soon as others make room"
        )

    # -- for people -----------------------------------------------------------------------------------------

    @property
    def budget(self) -> BudgetView:
        return BudgetView(
            limit_mib=None if isinf(self.limit_mib) else self.limit_mib,
            instances_mib=self.used_mib,
            zygotes_mib=self.zygotes.memory_mib,
            zygotes=self.zygotes.count,
            waiting=sum(len(each.waiting) for each in self._namespaces.values()),
            evicted_instances=self.evictions,
            evicted_zygotes=self.zygotes.evictions,
            retired=self.retired,
        )

    def memory(self, known: Deployment) -> MemoryView:
        return MemoryView(
            charged_mib=known.instance_mib,
            is_measured=known.used.mib is not None,
            value=self.idle.value(known.id),
            shortage=self.shortage(known) if known.is_queued else None,
        )

    # -- who could give -------------------------------------------------------------------------------------

    def used(self, known: Deployment, calls: int) -> None:
        """The revision had calls: its idle instances are worth the more."""
        self.idle.used(Spare(known.id, known.instance_mib, known.start_s), max(1, calls))

    def room_for(self, mib: float, now: float, taker: Deployment | None = None) -> "Room":
        """What has to be given up so that `mib` more are free: idle instances by rank; for an instance, a `taker`, also
        zygotes by rank, and when both are not enough what fairness asks for."""
        found, need = Room(), mib - self.free_mib - self.coming_mib - self.zygotes.ending_mib
        if need <= 0:
            found.is_enough = True
            return found
        for known, spare in self._idlest(now):
            count = min(spare, ceil(need / max(1, known.instance_mib)))
            found.idle.append((known, count))
            self.idle.evicted(known.id)
            self.evictions += count
            need -= count * known.instance_mib
            if need <= 0:
                break
        if need > 0 and taker is not None:
            before = self.zygotes.ending_mib
            found.zygotes = self.zygotes.give_up(need)
            need -= self.zygotes.ending_mib - before
        found.is_enough = need <= 0
        if not found.is_enough and taker is not None:
            found.giver = self._giver(taker)
        return found

    def _idlest(self, now: float) -> Iterator[tuple[Deployment, int]]:
        """Revisions with instances that seem idle and are not promised, the least valuable first, and how many."""
        for revision in self.idle.lowest():
            known = self._known[RevisionId(revision)]
            busy = known.busy if now < known.busy_until else 0
            spare = min(known.ready - busy, known.have - known.floor)
            if spare > 0:
                yield known, spare

    def _giver(self, taker: Deployment) -> Deployment | None:
        """Who has to let an instance go, when its calls have ended, so that `taker` may start one: the largest revision
        of the largest namespace, unless it would then have less than the taker. None: it is fair as it is."""
        name = self._givers.first()
        if name is None:
            return None
        place, own = self._namespaces[name], self._place(taker.id)
        revision = place.givers.first()
        assert revision is not None, "a namespace is among the givers while one of its revisions is"
        giver = self._known[revision]
        if place is own:
            has, wants = place.shares[revision].live_mib, own.shares[taker.id].live_mib
        else:
            has, wants = place.live_mib, own.live_mib
        return giver if has - giver.instance_mib >= wants + taker.next_mib else None


def _namespace(revision: RevisionId) -> str:
    return key_of(revision).partition("/")[0]
