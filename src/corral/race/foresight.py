"""The engine `corral` in minute bins: the same idle times, odds and stakes."""

import heapq
from collections.abc import Iterator, Sequence

from corral.policy.corral.habits import SLOT_S, Habit
from corral.policy.corral.odds import Odds, kind_of
from corral.policy.corral.outlook import Outlook
from corral.policy.corral.settings import CorralSettings
from corral.policy.corral.spans import Span
from corral.policy.corral.stakes import Stakes
from corral.race.minutes import Subject, Window

MIB_IN_GIB = 1024
START_S = 0.0032
"""Of a cold start, as measured in the middle (coldstart.py)."""
HALF_S = SLOT_S / 2
"""Calls are taken to come in the middle of their minute."""


class Foresight:
    """`second_gib_min` is the engine's setting, for starts that take START_S. Windows are made at a call, by what is
    known then; that they passed in vain is learned when they have, as in the engine."""

    def __init__(self, second_gib_min: float = CorralSettings().second_gib_min) -> None:
        self._second_gib_min = second_gib_min
        self._odds = Odds()
        self._outlooks: dict[int, Outlook] = {}
        self._passing: list[tuple[int, int]] = []
        """(minute after the last one of a function's windows, its number)"""

    def called(self, subject: Subject, minute: int, calls: int) -> Sequence[Window]:
        while self._passing and self._passing[0][0] <= minute:
            ended, number = heapq.heappop(self._passing)
            self._outlooks[number].now(ended * SLOT_S)
        outlook = self._outlooks.get(subject.number)
        if outlook is None:
            outlook = Outlook(Habit(), self._odds, kind_of(subject.trigger, 0))
            self._outlooks[subject.number] = outlook
        outlook.needed(minute * SLOT_S + HALF_S)
        stakes = Stakes(
            gib=subject.memory_mib / MIB_IN_GIB, start_s=START_S, service_s=0.0, second_gib_min=self._second_gib_min
        )
        windows = list(self._windows(outlook, minute, stakes))
        heapq.heappush(self._passing, (minute + windows[-1].end + 1, subject.number))
        return windows

    def _windows(self, outlook: Outlook, minute: int, stakes: Stakes) -> Iterator[Window]:
        """The minute of the call is a window of its own, as it costs nothing; the next one belongs to it."""
        begin, end = 0, 0
        for span in outlook.minutes(minute * SLOT_S + HALF_S):
            if not self._is_worth(span, stakes):
                continue
            first, last = (int(at // SLOT_S) - minute for at in (span.begins_at, span.ends_at))
            if first > max(end + 1, 2):
                yield Window(begin, end)
                begin = first
            end = last - 1
        yield Window(begin, end)

    def _is_worth(self, span: Span, stakes: Stakes) -> bool:
        return stakes.is_worth(self._odds.chance(span.contexts, span.own, span.unseen), span.trial_s, 0)
