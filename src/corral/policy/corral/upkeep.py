"""How many of the instances that stand stay, and when one is started before its call comes.

An idle instance costs its memory; without it the next call waits for a start. It is worth keeping for a while when

    chance of a call in it x seconds the call would wait x what a second is worth  >=  GiB x minutes it would be idle

and it is started again at the begin of a while that is worth it, if it was needed after such a time before. Each
instance is judged by itself: the second one is needed less often than the first, and without it a call waits only until
the first is free."""

from math import inf

from corral.policy.corral.habits import Habits
from corral.policy.corral.odds import Odds, kind_of
from corral.policy.corral.outlook import IN_USE_S, Outlook
from corral.policy.corral.stakes import Stakes

ELSEWHERE_S = 15.0
"""Where another revision of the function was called since, its idle times say nothing of this one: it stays so long."""
FRESH_S = 2.0
"""So long an instance that became ready, or was found, stays to be used."""


class _Kept:
    """What was last found of one instance, and until when that holds."""

    __slots__ = ("needed_at", "outlook", "stays", "until")

    def __init__(self, outlook: Outlook, at: float) -> None:
        self.outlook = outlook
        self.needed_at = at
        """By this revision; the habit's is of all revisions of the function."""
        self.stays = True
        self.until = at + IN_USE_S
        """When it has to be looked at again; inf: not before it is needed again."""


class Upkeep:
    judged = 1
    """Any load at all seems to need one instance; whether it is worth its memory between two calls is found here."""

    def __init__(self, habits: Habits, odds: Odds, trigger: str) -> None:
        self._habits, self._odds, self._trigger = habits, odds, trigger
        self._kept: list[_Kept] = []
        """By number."""
        self._fresh_until = -inf
        self.next_at: float | None = None
        """When `count` may be another though nothing happens; None: never."""
        self._chance, self._trial_s = 0.0, 0.0
        """Of a call for the instance that was looked at last, and in which time."""
        self._have, self._count = 0, 0

    def saw(self, instances: int, have: int, now: float, ago_s: float = 0.0) -> None:
        """It is heard now that so many could have been in use at once, about `ago_s` ago."""
        at = now - ago_s
        # Those that were not there were not started for it either: some calls waited a little for the others.
        in_use = min(instances, max(have, 1))
        for number in range(len(self._kept), in_use):
            habit = self._habits.of(number)
            self._kept.append(_Kept(Outlook(habit, self._odds, kind_of(self._trigger, number)), at))
        for kept in self._kept[:in_use]:
            kept.needed_at = kept.outlook.needed(at)
            kept.stays, kept.until = True, at + IN_USE_S

    def joined(self, have: int, now: float) -> None:
        self._fresh_until = now + FRESH_S

    def count(self, have: int, stakes: Stakes, now: float) -> int:
        """How many of those there are stay, and more when some are worth being started before they are needed."""
        if now < self._fresh_until:
            self.next_at = self._fresh_until
            return have
        self._have = have
        self._count = number = self._top(have, stakes, now)
        until = self._kept[number - 1].until if number else inf
        again = self._kept[number].until if number < len(self._kept) else inf
        earliest = min(until, again)
        self.next_at = None if earliest == inf else earliest
        return number

    def look_again(self) -> None:
        """The stakes are others: everything is looked at anew, but for what is in use."""
        for kept in self._kept:
            if kept.until > kept.needed_at + IN_USE_S:
                kept.until = -inf

    @property
    def why(self) -> str:
        if self._fresh_until > -inf and self.next_at == self._fresh_until:
            return f"ready for less than {FRESH_S:g} s"
        if self._trial_s == 0.0:
            return "in use" if self._count else "not called yet"
        worth = "worth its memory" if self._count else "not worth the memory of an instance"
        return f"a call within {self._trial_s:.0f} s has a chance of {self._chance:.1%}: {worth}"

    @property
    def inputs(self) -> dict[str, float]:
        return {"chance": round(self._chance, 4), "within_s": round(self._trial_s, 1), "kept": self._count}

    def _top(self, have: int, stakes: Stakes, now: float) -> int:
        number = have
        while number and not self._stays(number - 1, stakes, now):
            number -= 1
        while number < len(self._kept) and self._stays(number, stakes, now):
            number += 1
        return number

    def _stays(self, number: int, stakes: Stakes, now: float) -> bool:
        if number >= len(self._kept):
            return False
        kept = self._kept[number]
        if now >= kept.until:
            self._look(kept, number, stakes, now)
        return kept.stays

    def _look(self, kept: _Kept, number: int, stakes: Stakes, now: float) -> None:
        outlook = kept.outlook
        if outlook.habit.needed_at != kept.needed_at:
            ends_at = kept.needed_at + ELSEWHERE_S
            kept.stays = now < ends_at
            kept.until = ends_at if kept.stays else inf
            return
        span = outlook.now(now)
        if span is None:
            kept.stays, kept.until = False, inf
            return
        self._chance, self._trial_s = self._odds.chance(span.contexts, span.own, span.unseen), span.trial_s
        kept.stays = stakes.is_worth(self._chance, span.trial_s, number)
        if kept.stays:
            kept.until = span.ends_at
            return
        again = outlook.next(
            now,
            lambda later: stakes.is_worth(
                self._odds.chance(later.contexts, later.own, later.unseen), later.trial_s, number
            ),
        )
        kept.until = inf if again is None else again.begins_at
        kept.stays = again is not None and number < self._have and stakes.spares_start(again.begins_at - now)
