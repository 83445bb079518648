"""Starts that have had their turn and found no room: some have a claim to what is being given up for them, for others
nothing can be given up. Both are looked at anew after a while; none keeps the next one from its turn."""

from collections.abc import Iterator
from math import ceil

from corral.model import RevisionId
from corral.policy.ranking import Ranking


class Claim:
    """To `mib` of memory, of which `coming_mib` are on their way: the rest has to be free already."""

    __slots__ = ("coming_mib", "mib")

    def __init__(self, mib: int, coming_mib: int) -> None:
        self.mib, self.coming_mib = mib, coming_mib

    @property
    def free_mib(self) -> int:
        return self.mib - self.coming_mib


class Held:
    """The first claim is met first. So nobody behind it takes what came for it, however often others ask."""

    def __init__(self) -> None:
        self._claims: dict[RevisionId, Claim] = {}
        self._stuck: Ranking[RevisionId] = Ranking()
        """By what each needs: whichever needs least fits first."""

    def __len__(self) -> int:
        return len(self._claims) + len(self._stuck)

    def __contains__(self, revision: RevisionId) -> bool:
        return revision in self._claims or revision in self._stuck

    def claim(self, revision: RevisionId, mib: int, open_mib: float, on_its_way_mib: int) -> None:
        """Room is being made for it: what is free and nobody claims, the rest from what is on its way to anybody. That
        may turn out not to come, so the free comes first."""
        lacks = max(0, ceil(mib - open_mib))
        unclaimed = max(0, on_its_way_mib - sum(each.coming_mib for each in self._claims.values()))
        self._claims[revision] = Claim(mib, min(mib, lacks, unclaimed))

    def arrived(self, mib: int) -> None:
        """So much less is on its way: it is free, or will not come."""
        for claim in self._claims.values():
            arrived = min(mib, claim.coming_mib)
            claim.coming_mib -= arrived
            mib -= arrived

    def set_aside(self, revision: RevisionId, mib: int) -> None:
        """There is nothing that could be given up for it."""
        self._stuck.put(revision, mib)

    def note(self, revision: RevisionId, mib: int) -> None:
        """It needs another amount than before."""
        if revision in self._stuck:
            self._stuck.put(revision, mib)

    def drop(self, revision: RevisionId) -> None:
        self._claims.pop(revision, None)
        self._stuck.drop(revision)

    def drop_all(self) -> list[RevisionId]:
        """Those that were held."""
        dropped = [*self._claims, *self._stuck.lowest()]
        for revision in dropped:
            self.drop(revision)
        return dropped

    @property
    def claimed_mib(self) -> int:
        return sum(each.mib for each in self._claims.values())

    def taken_mib(self, revision: RevisionId | None) -> int:
        """What is not for it, of all that is free: those before it have a claim to that. None: and it is the last."""
        taken = 0
        for each, claim in self._claims.items():
            if each == revision:
                break
            taken += claim.free_mib
        return taken

    def claims(self) -> Iterator[RevisionId]:
        """Those that have one, in order."""
        return iter(self._claims)

    def least(self) -> RevisionId | None:
        """Of those without a claim, the one that needs least."""
        return self._stuck.first()
