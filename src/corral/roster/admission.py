"""Who may start: what the revisions' instances use of the machine's memory, and whose turn it is when it is full.

Amounts are whole MiB, so that sums are exact: whatever is charged is given back to the last."""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from math import ceil, isinf

from corral.model import RevisionId
from corral.policy.greedy_dual import GreedyDual
from corral.policy.ranking import Ranking
from corral.policy.reserve import Reserve, Spare
from corral.roster.actions import BudgetView, DropZygote, MemoryView
from corral.roster.deployment import Deployment, State
from corral.roster.held import Held
from corral.roster.zygotes import Zygotes, ZygoteTerms

MUCH = 9
"""So one revision alone gets nine tenths of the budget, two get nine nineteenths each. As switches share their buffers
(Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998)."""
AGED_S = 5.0
"""After so long without an instance a revision need not be small any more: others, larger or not, make room for it."""


class Share:
    """What one revision was charged when it was last looked at."""

    __slots__ = ("charged_mib", "coming_mib", "live_mib", "promised_mib", "retiring_mib")

    def __init__(self) -> None:
        self.charged_mib = self.live_mib = self.coming_mib = self.retiring_mib = self.promised_mib = 0


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
        """Without a giver."""


class Idle:
    """The instances that seemed idle at a moment: revisions, the least valuable first, with how many each."""

    def __init__(self, at: float, found: Iterable[tuple[Deployment, int]]) -> None:
        self.at = at
        self.found = list(found)
        self.mib = sum(known.instance_mib * spare for known, spare in self.found)


class Admission:
    """All instances count from their start until they are gone. Sums: `used_mib` of all, of which `coming_mib` is about
    to be free (asked back from a gateway as idle, or ending), `retiring_mib` will be when calls have ended, and
    `promised_mib` is never given up; "live" is what is neither being given up nor ending, and what fairness goes by.

    Fair is: of those that wait, the namespace that would use least with its start goes first, and in it the revision
    that would; equals in the order they came. So one that asks for much waits behind those that ask for little, and one
    that has much behind those that have little. Whoever finds no room at his turn is held, and the others go on without
    what is being given up for him. One that has waited AGED_S without any instance goes first."""

    def __init__(self, terms: ZygoteTerms) -> None:
        self.limit_mib = float("inf")
        self.zygotes = Zygotes(terms)
        self.used_mib = self.coming_mib = self.retiring_mib = self.promised_mib = 0
        self.retired = 0
        self.evictions = 0
        """Idle instances asked back for want of memory."""
        self.idle: Reserve = GreedyDual()
        """Revisions that have an instance more than they are promised, ready and not asked back."""
        self._known: dict[RevisionId, Deployment] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._waiting: Ranking[str] = Ranking()
        self._held = Held()
        self._on_its_way_mib = 0
        """Asked back, ending or retiring, when last seen."""
        self._short: dict[RevisionId, float] = {}
        """Since when those wait that have no instance, or fewer than promised; the longest first."""
        self._oldest: RevisionId | None = None
        """Whose turn it is before all others."""
        self._givers: Ranking[str] = Ranking()
        self._seen = Idle(float("-inf"), ())

    # -- the books ------------------------------------------------------------------------------------------

    def note(self, known: Deployment) -> None:
        """Something changed about the revision: its instances, what one uses, or what is promised to it."""
        known.has_zygote = self.zygotes.is_kept(known.id)
        place = self._place(known)
        if not known.instances and not self.is_waiting(known):
            self.forget(known)
            return
        self._known[known.id] = known
        share = self._share(known)
        number = known.count[State.READY] + known.count[State.STARTING]
        serving, retiring, ending = known.charges
        # Which of them the gateway gives up it alone knows: as much as so many use on average.
        asked = serving * (number - known.have) // max(1, number)
        charged, live = serving + retiring + ending, serving - asked
        coming = asked + ending
        promised = serving * min(known.have, known.floor) // max(1, number)
        self.used_mib += charged - share.charged_mib
        self.coming_mib += coming - share.coming_mib
        self.retiring_mib += retiring - share.retiring_mib
        self.promised_mib += promised - share.promised_mib
        place.live_mib += live - share.live_mib
        share.charged_mib, share.live_mib, share.coming_mib = charged, live, coming
        share.retiring_mib, share.promised_mib = retiring, promised
        self._rank(known, place, share)

    def forget(self, known: Deployment) -> None:
        """It has no instance and wants none."""
        place = self._place(known)
        place.waiting.drop(known.id)
        self._held.drop(known.id)
        self._short.pop(known.id, None)
        share = place.shares.pop(known.id, Share())
        self.used_mib -= share.charged_mib
        self.coming_mib -= share.coming_mib
        self.retiring_mib -= share.retiring_mib
        self.promised_mib -= share.promised_mib
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
        if known.id in self._held:
            self._held.note(known.id, self.needs_mib(known))
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
        return self._place(known).shares.setdefault(known.id, Share())

    def _place(self, known: Deployment) -> Namespace:
        name = known.namespace
        place = self._namespaces.get(name)
        if place is None:
            place = self._namespaces[name] = Namespace(name)
        return place

    # -- the queue ------------------------------------------------------------------------------------------

    def wait(self, known: Deployment, now: float) -> None:
        """It wants to start an instance more than it has."""
        self._known[known.id] = known
        if known.is_short:
            self._short.setdefault(known.id, now)
        if known.id not in self._held:
            self._line_up(known)

    def _line_up(self, known: Deployment) -> None:
        place = self._place(known)
        share = self._share(known)
        place.waiting.put(known.id, share.live_mib + known.next_mib)
        self._rank_namespace(place)

    def done(self, known: Deployment) -> None:
        """It wants none, now."""
        if self.is_waiting(known):
            self._place(known).waiting.drop(known.id)
            self._held.drop(known.id)
            self._short.pop(known.id, None)
            known.is_held = False
            self.note(known)

    def started(self, known: Deployment, now: float) -> None:
        """It has one more, and has to wait its turn for another."""
        self._held.drop(known.id)
        self._short.pop(known.id, None)
        known.is_held = False
        self.note(known)
        self.wait(known, now)

    def is_waiting(self, known: Deployment) -> bool:
        if not self.is_awaited:
            return False
        place = self._namespaces.get(known.namespace)
        return known.id in self._held or (place is not None and known.id in place.waiting)

    @property
    def is_awaited(self) -> bool:
        """Somebody waits, for his turn or for room."""
        return bool(len(self._held) or len(self._waiting))

    def next(self) -> Deployment | None:
        """Whose turn it is: first those with a claim that there is room for now. None: nobody waits but for room."""
        self._take_in()
        oldest, self._oldest = self._oldest, None
        if oldest is not None and oldest in self._place(self._known[oldest]).waiting:
            return self._known[oldest]
        if len(self._held):
            claimant = self._next_held()
            if claimant is not None:
                return claimant
        name = self._waiting.first()
        revision = None if name is None else self._namespaces[name].waiting.first()
        return None if revision is None else self._known[revision]

    def _next_held(self) -> Deployment | None:
        """The first claim that there is room for. Those without one line up again if what nobody claims would do."""
        for revision in self._held.claims():
            if self.fits(self._known[revision]):
                return self._known[revision]
        unclaimed = self.free_mib + self._on_its_way_mib - self._held.claimed_mib
        while (least := self._held.least()) is not None and self.needs_mib(self._known[least]) <= unclaimed:
            self._held.drop(least)
            self._line_up(self._known[least])
        return None

    def hold(self, known: Deployment, has_claim: bool) -> None:
        """It had its turn. `has_claim`: to what is being given up since."""
        place = self._place(known)
        place.waiting.drop(known.id)
        self._rank_namespace(place)
        if has_claim:
            self._on_its_way_mib = self._coming_in_all_mib
            self._held.claim(known.id, self.needs_mib(known), self.open_mib, self._on_its_way_mib)
        else:
            self._held.set_aside(known.id, self.needs_mib(known))

    def look_again(self, now: float) -> None:
        """All that are held get another turn, first the one that has waited longest, if that is too long."""
        for revision in self._held.drop_all():
            self.wait(self._known[revision], now)
        aged = (each for each, since in self._short.items() if now - since >= AGED_S)
        self._oldest = next((each for each in aged if self.is_possible(self._known[each])), None)

    @property
    def free_mib(self) -> float:
        """Below 0 when instances turned out to use more than they were admitted for."""
        return self.limit_mib - self.used_mib - self.zygotes.memory_mib

    def needs_mib(self, known: Deployment) -> int:
        """What has to be free for its next start. A revision may not have more than MUCH times what it leaves: its own
        calls may go on for long, and others' first starts should not wait for their end. Its first instance, and those
        promised to it, may take the last."""
        more = known.mib_with_next - sum(known.charges)
        if known.is_short:
            return more
        return more + ceil((self._share(known).live_mib + more) / MUCH)

    @property
    def open_mib(self) -> float:
        """Free, and claimed by nobody."""
        return self.free_mib - self._held.taken_mib(None)

    def fits(self, known: Deployment) -> bool:
        return self.needs_mib(known) <= self.free_mib - self._held.taken_mib(known.id)

    @property
    def _coming_in_all_mib(self) -> int:
        return self.coming_mib + self.zygotes.ending_mib + self.retiring_mib

    def _take_in(self) -> None:
        """What was on its way when last seen, and is not any more, counts for the claims."""
        before, self._on_its_way_mib = self._on_its_way_mib, self._coming_in_all_mib
        if before > self._on_its_way_mib:
            self._held.arrived(before - self._on_its_way_mib)

    def is_possible(self, known: Deployment) -> bool:
        """Whether its next start would fit if others had only what is promised to them."""
        others = self.promised_mib - self._share(known).promised_mib
        return known.mib_with_next + others <= self.limit_mib

    def shortage(self, known: Deployment) -> str:
        """Why its start waits, for the owner and for callers."""
        if known.next_mib > self.limit_mib:
            return f"it needs {known.next_mib} MiB, and all functions of this machine may use {self.limit_mib:.0f}"
        if not self.is_possible(known):
            return (
                f"it needs {known.next_mib} MiB, and {self.promised_mib} of {self.limit_mib:.0f} that functions of "
                "this machine may use are promised to instances by `min`"
            )
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
            waiting=len(self._held) + sum(len(each.waiting) for each in self._namespaces.values()),
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

    def memory_of_sleeper(self, revision: RevisionId, learned_mib: int) -> MemoryView:
        return MemoryView(charged_mib=learned_mib, is_measured=True, value=self.idle.value(revision), shortage=None)

    # -- who could give -------------------------------------------------------------------------------------

    def used(self, known: Deployment, calls: int) -> None:
        """The revision had calls: its idle instances are worth the more."""
        self.idle.used(Spare(known.id, known.instance_mib, known.start_s), max(1, calls))

    def room_for(self, taker: Deployment, now: float) -> Room | None:
        """What has to be given up so that `taker` may start one: idle instances by rank, zygotes by rank, and when both
        are not enough one busy instance, as fairness asks for. None: all that would not be enough, so nothing is."""
        # What retires for those who have a claim is theirs; idle instances are there at once and go before it.
        claimed = max(0, self._held.claimed_mib - self.retiring_mib)
        need = self._missing_mib(self.needs_mib(taker) + claimed)
        retiring = max(0, self.retiring_mib - self._held.claimed_mib)
        idle = self._idle(now)
        room = Room()
        room.is_enough = need <= idle.mib + self.zygotes.kept_mib
        if need > idle.mib + self.zygotes.kept_mib + retiring:
            room.giver = self._giver(taker, now)
            if room.giver is None:
                return None
        if need > 0:
            need = self._give_idle(room, idle.found, need)
            room.zygotes = self.zygotes.give_up(need)
        return room

    def room_for_zygote(self, now: float) -> Room | None:
        """Idle instances that are worth less than the next zygote to be raised. None: they would not be enough."""
        value = self.zygotes.due_value
        need = self._missing_mib(self.zygotes.due_mib + self._held.claimed_mib)
        cheaper = Idle(now, takewhile(lambda each: self.idle.value(each[0].id) < value, self._idle(now).found))
        if not 0 < need <= cheaper.mib:
            return None
        room = Room()
        self._give_idle(room, cheaper.found, need)
        return room

    def _missing_mib(self, mib: float) -> float:
        """How much of it is neither free nor about to be."""
        return mib - self.free_mib - self.coming_mib - self.zygotes.ending_mib

    def _give_idle(self, room: Room, idle: Iterable[tuple[Deployment, int]], need: float) -> float:
        """What is needed still."""
        for known, spare in idle:
            if need <= 0:
                break
            count = min(spare, ceil(need / max(1, known.instance_mib)))
            room.idle.append((known, count))
            self.idle.evicted(known.id)
            self.evictions += count
            need -= count * known.instance_mib
        self._seen = Idle(float("-inf"), ())
        return need

    def _idle(self, now: float) -> Idle:
        """Looked for once for all who ask at the same moment."""
        if self._seen.at != now:
            self._seen = Idle(now, self._idlest(now))
        return self._seen

    def _idlest(self, now: float) -> Iterator[tuple[Deployment, int]]:
        """Revisions with instances that seem idle and are not promised, the least valuable first, and how many."""
        for revision in self.idle.lowest():
            known = self._known[RevisionId(revision)]
            busy = known.busy if now < known.busy_until else 0
            spare = min(known.ready - busy, known.have - known.floor)
            if spare > 0:
                yield known, spare

    def _giver(self, taker: Deployment, now: float) -> Deployment | None:
        """Who has to let an instance go, when its calls have ended, so that `taker` may start one: the largest revision
        of the largest namespace, unless it would then have less than the taker. None: it is fair as it is."""
        name = self._givers.first()
        if name is None:
            return None
        place, own = self._namespaces[name], self._place(taker)
        revision = place.givers.first()
        assert revision is not None, "a namespace is among the givers while one of its revisions is"
        giver = self._known[revision]
        if self._is_aged(taker, now):
            return giver
        if place is own:
            has, wants = place.shares[revision].live_mib, own.shares[taker.id].live_mib
        else:
            has, wants = place.live_mib, own.live_mib
        return giver if has - giver.instance_mib >= wants + taker.next_mib else None

    def _is_aged(self, known: Deployment, now: float) -> bool:
        """It has waited for too long, and nothing is being given up for another."""
        since = self._short.get(known.id, now)
        return now - since >= AGED_S and not self._held.claimed_mib and self.is_possible(known)
