"""Which revisions have a zygote of their own: those whose code is slow to load, as far as a part of the memory goes."""

from collections.abc import Container, Iterator, Mapping
from math import ceil

import msgspec

from corral.model import RevisionId
from corral.policy.backoff import Backoff
from corral.policy.greedy_dual import GreedyDual
from corral.policy.reserve import Reserve, Spare
from corral.roster.actions import DropZygote, KeepZygote

FAILED_FIRST_S, FAILED_MOST_S = 1.0, 600.0
"""After a zygote that ended by itself, doubling from the first to the most, until one was of use."""


LIVE = ("raising", "kept", "ending")
"""States in which it holds memory."""


class ZygoteTerms(msgspec.Struct, frozen=True, kw_only=True):
    share: float = 0.25
    """Most of the budget that all of them together may hold, 0 to 1."""
    saves_s: float = 0.005
    """The least saving worth one."""
    raised_at_once: int = 2
    """Loading takes a core each, which calls need too."""


class ZygoteView(msgspec.Struct, frozen=True, kw_only=True):
    """For `describe`."""

    state: str
    """due, raising, kept, ending, none"""
    memory_mib: int
    saves_s: float
    value: float
    """By which it is compared with others; the least is ended first."""


class Zygote:
    """What is known of a revision's own zygote, whether there is one or not."""

    __slots__ = ("failures", "is_unsafe", "load_s", "memory_mib", "state")

    def __init__(self) -> None:
        self.state = "none"
        self.memory_mib = 0
        """While it is being raised, what it is expected to take."""
        self.load_s = 0.0
        """What a start without it spends on loading."""
        self.is_unsafe = False
        self.failures = Backoff(FAILED_FIRST_S, FAILED_MOST_S)


class Zygotes:
    """A slow start makes its revision a candidate. It gets a zygote if there is room for one, or if those in its way
    are worth less. Memory counts from the order to raise it until the keeper says that it is gone."""

    def __init__(self, terms: ZygoteTerms) -> None:
        self.terms = terms
        self.can_keep = False
        self.memory_mib = self.kept_mib = self.ending_mib = 0
        """Of all; of those that could be given up; of those that were told to end."""
        self.evictions = 0
        self.reserve: Reserve = GreedyDual()
        self._known: dict[RevisionId, Zygote] = {}
        self._due: dict[RevisionId, int] = {}
        """Worth raising, in order -> MiB each is expected to take."""
        self._raising = self._live = 0

    # -- what starts show -----------------------------------------------------------------------------------

    def started(self, revision: RevisionId, load_s: float, expected_mib: int) -> None:
        """An instance became ready, `load_s` of which went into its code."""
        known = self._known.get(revision)
        if known is None:
            if load_s < self.terms.saves_s:
                return
            known = self._known[revision] = Zygote()
        if known.state == "kept":
            known.failures.reset()
        elif known.state not in LIVE:
            # The latest: a first load compiles the code and reads it from disk.
            known.load_s = load_s
        mib = known.memory_mib or expected_mib
        self.reserve.used(Spare(revision, mib, known.load_s))

    def succeeded(self, before: RevisionId, after: RevisionId) -> None:
        """Calls go to `after` now, which has the same dependencies. Its own starts do not show what these cost: they
        found them imported by the zygote of `before`, and will no longer when that is gone."""
        known = self._known.get(before)
        if known is None or known.state not in LIVE:
            return
        successor = self._known.setdefault(after, Zygote())
        successor.load_s = max(successor.load_s, known.load_s)
        self.reserve.used(Spare(after, known.memory_mib, successor.load_s), 0)

    def consider(self, revision: RevisionId, expected_mib: int, limit_mib: float, now: float) -> list[DropZygote]:
        """Whether the revision should have one: then it is due, and what is worth less makes room."""
        known = self._known.get(revision)
        if known is None or not self._may_raise(known, now):
            return []
        # Now that it was measured; when the start was told of, it may not have been.
        self.reserve.used(Spare(revision, expected_mib, known.load_s), 0)
        victims, room = [], self._room(limit_mib) - sum(self._due.values())
        for victim in self._worth_less(revision):
            if expected_mib <= room:
                break
            victims.append(victim)
            room += self._known[victim].memory_mib
        if expected_mib > room:
            return []
        self._due[revision] = expected_mib
        known.state = "due"
        return [self._end(victim) for victim in victims]

    def _may_raise(self, known: Zygote, now: float) -> bool:
        is_wanted = known.state == "none" and known.load_s >= self.terms.saves_s
        return self.can_keep and is_wanted and not known.is_unsafe and not known.failures.is_waiting(now)

    def _room(self, limit_mib: float) -> float:
        return self.terms.share * limit_mib - self.memory_mib + self.ending_mib

    def _worth_less(self, revision: RevisionId) -> Iterator[RevisionId]:
        value = self.reserve.value(revision)
        for other in self.reserve.lowest():
            if self.reserve.value(other) >= value:
                return
            yield RevisionId(other)

    # -- raising and ending ---------------------------------------------------------------------------------

    def raised(self, free_mib: float, limit_mib: float) -> list[KeepZygote]:
        """Those that are due and find room now. `free_mib`: not used by anything, of `limit_mib`."""
        orders = []
        while self._due and self._raising < self.terms.raised_at_once:
            revision, mib = next(iter(self._due.items()))
            is_in_share = mib <= self.terms.share * limit_mib - self.memory_mib
            if mib > free_mib or (not is_in_share and self.ending_mib):
                break
            del self._due[revision]
            known = self._known[revision]
            known.state = "none"
            if is_in_share:
                self._set(known, "raising", mib)
                free_mib -= mib
                orders.append(KeepZygote(revision))
            # Else somebody grew meanwhile: its next slow start asks again.
        return orders

    @property
    def due_mib(self) -> int:
        """What the next to be raised needs; 0: none is due, or it is not its turn."""
        return next(iter(self._due.values()), 0) if self._raising < self.terms.raised_at_once else 0

    @property
    def due_value(self) -> float:
        """Of the next to be raised."""
        revision = next(iter(self._due), None)
        return 0.0 if revision is None else self.reserve.value(revision)

    def give_up(self, need_mib: float) -> list[DropZygote]:
        """End the least valuable until so much is on its way, or none is left."""
        orders: list[DropZygote] = []
        for victim in self.reserve.lowest():
            if need_mib <= 0:
                break
            need_mib -= self._known[RevisionId(victim)].memory_mib
            orders.append(self._end(RevisionId(victim)))
        return orders

    def shrink(self, limit_mib: float) -> list[DropZygote]:
        """To their part of the budget: they may turn out larger than expected, and grow."""
        return self.give_up(-self._room(limit_mib))

    def _end(self, revision: RevisionId) -> DropZygote:
        self.evictions += 1
        self.reserve.evicted(revision)
        return self._drop(revision)

    def _drop(self, revision: RevisionId) -> DropZygote:
        known = self._known[revision]
        self._set(known, "ending", known.memory_mib)
        self.reserve.leave(revision)
        return DropZygote(revision)

    def _set(self, known: Zygote, state: str, memory_mib: int) -> None:
        self._count(known, -1)
        known.state, known.memory_mib = state, memory_mib
        self._count(known, 1)

    def _count(self, known: Zygote, sign: int) -> None:
        if known.state in LIVE:
            self.memory_mib += sign * known.memory_mib
            self._live += sign
        if known.state == "kept":
            self.kept_mib += sign * known.memory_mib
        if known.state == "ending":
            self.ending_mib += sign * known.memory_mib
        if known.state == "raising":
            self._raising += sign

    # -- what the keeper says -------------------------------------------------------------------------------

    def keeper_up(self, kept: Mapping[RevisionId, float], can_keep: bool, deployed: Container[RevisionId]) -> None:
        """What it has is all there is. What is not deployed has to be dropped with `removed`."""
        self.can_keep = can_keep
        self._due.clear()
        for revision, known in list(self._known.items()):
            self._set(known, "none", 0)
            self.reserve.leave(revision)
            if revision not in deployed:
                self._forget(revision)
        for revision, memory_mib in kept.items():
            self.kept(revision, memory_mib, 0.0)

    def kept(self, revision: RevisionId, memory_mib: float, load_s: float) -> None:
        known = self._known.get(revision)
        if known is None:
            known = self._known[revision] = Zygote()
        if known.state == "ending":
            # The order to end it is on its way; until it is gone it counts as what it is.
            self._set(known, "ending", ceil(memory_mib))
            return
        self._due.pop(revision, None)
        # What a plain start spent was seen from outside; what the zygote says of itself counts where nothing was seen.
        known.load_s = known.load_s or max(load_s, self.terms.saves_s)
        self._set(known, "kept", ceil(memory_mib))
        self.reserve.used(Spare(revision, known.memory_mib, known.load_s), 0)
        self.reserve.keep(revision)

    def gone(self, revision: RevisionId, is_unsafe: bool, now: float) -> None:
        known = self._known.get(revision)
        if known is None:
            return
        if known.state in ("raising", "kept"):
            known.failures.failed(now)
        known.is_unsafe = known.is_unsafe or is_unsafe
        if is_unsafe:
            self._due.pop(revision, None)
        self._set(known, "due" if revision in self._due else "none", 0)
        self.reserve.leave(revision)

    def measured(self, revision: RevisionId, memory_mib: float) -> None:
        known = self._known.get(revision)
        if known is not None and known.state in ("kept", "ending"):
            self._set(known, known.state, ceil(memory_mib))

    def removed(self, revision: RevisionId) -> list[DropZygote]:
        """The revision was given up. Its memory counts until `gone` and is forgotten with `forget`."""
        self._due.pop(revision, None)
        known = self._known.get(revision)
        if known is None or known.state == "ending":
            return []
        if known.state in LIVE:
            return [self._drop(revision)]
        self._forget(revision)
        return []

    def forget(self, revision: RevisionId) -> None:
        """It is gone and its revision too."""
        if revision in self._known:
            self._forget(revision)

    def _forget(self, revision: RevisionId) -> None:
        self._set(self._known.pop(revision), "none", 0)
        self.reserve.forget(revision)

    def is_kept(self, revision: RevisionId) -> bool:
        known = self._known.get(revision)
        return known is not None and known.state == "kept"

    # -- for people -----------------------------------------------------------------------------------------

    def view(self, revision: RevisionId) -> ZygoteView | None:
        """None: its starts were never slow."""
        known = self._known.get(revision)
        if known is None:
            return None
        value = self.reserve.value(revision)
        return ZygoteView(state=known.state, memory_mib=known.memory_mib, saves_s=known.load_s, value=value)

    @property
    def count(self) -> int:
        """Those that hold memory."""
        return self._live
