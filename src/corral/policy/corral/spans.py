"""The time after an instance was last needed, cut where the chance of a call may change.

A trial is a minute of the clock, or a range of short idle times; a span is one or more trials in a row of which the
same is known. Situations are alike by, from the widest to the narrowest:

1. how long it has been idle;
2. of its latest idle times, how many lasted at least so long, and how many ended about now (within 15 %);
3. and how many ended in exactly this minute.

Of what is longer than all of them, only the first is known."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from corral.policy.corral.habits import OCTAVES_S, SLOT_S, Habit, slot_of
from corral.policy.corral.odds import Context

HORIZON = 1440
"""Minutes: nothing is foreseen for later."""
UNSEEN = 0.2
"""The chance that an idle time ends before it has doubled, as long as nothing else is known."""
ABOUT = 0.15
"""Of an idle time: another one that differs by no more, or by a minute, was about as long."""
AGES = (2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024)
"""Minutes, by the root of two: those in between count as equally long idle."""


class Span(msgspec.Struct, frozen=True, gc=False):
    begins_at: float
    ends_at: float
    trials: int
    contexts: tuple[Context, ...]
    """The widest first."""
    own: tuple[int, int]
    """Of its idle times that lasted so long: those that ended in such a trial, and all."""
    is_own: bool
    """It was needed after such a time before."""
    unseen: float
    """The chance of a call in one trial, where nothing is known: see UNSEEN."""

    @property
    def trial_s(self) -> float:
        return (self.ends_at - self.begins_at) / self.trials


def short_spans(habit: Habit, kind: str) -> list[Span]:
    """Up to the begin of the second minute of the clock after it was needed."""
    assert habit.needed_at is not None
    spans = []
    begin, last = habit.needed_at, long_at(habit)
    left = sum(habit.short)
    for octave, age_s in enumerate(OCTAVES_S):
        end = min(habit.needed_at + age_s, last)
        if end <= begin:
            break
        ended = habit.short[octave]
        wide: Context = (kind, "short", octave)
        spans.append(
            Span(begin, end, 1, (wide, (*wide, _rough(ended), _rough(left))), (ended, left), ended > 0, UNSEEN)
        )
        begin, left = end, left - ended
    return spans


def long_at(habit: Habit) -> float:
    """When minutes begin to count."""
    assert habit.needed_at is not None
    return (slot_of(habit.needed_at) + 2) * SLOT_S


class Stretch(msgspec.Struct, frozen=True, gc=False):
    """A span of minutes, counted from the minute of the clock in which the instance was needed."""

    begin: int
    end: int
    contexts: tuple[Context, ...]
    own: tuple[int, int]
    is_own: bool


def stretches(long: list[int], kind: str) -> list[Stretch]:
    """From the second minute to the horizon, by the latest idle times of minutes."""
    idle = Counter(long)
    edges = {*AGES, HORIZON}
    near = []
    for minutes, count in idle.items():
        around = max(1, int(minutes * ABOUT))
        near.append((minutes - around, minutes + around, count))
        edges.update((minutes - around, minutes, minutes + 1, minutes + around + 1))
    found = []
    for begin, end in pairwise(sorted(each for each in edges if 2 <= each <= HORIZON)):
        about = sum([count for low, high, count in near if low <= begin <= high])
        left = sum([count for minutes, count in idle.items() if minutes >= begin])
        contexts: tuple[Context, ...] = ((kind, bisect_right(AGES, begin)),)
        if about or left:
            known: Context = (kind, _rough(about), _rough(left))
            contexts = (*contexts, known, (*known, _rough(idle[begin])))
        found.append(Stretch(begin, end, contexts, (idle[begin], left), about > 0))
    return found


def long_spans(habit: Habit, found: list[Stretch]) -> Iterator[Span]:
    """Its stretches, on the clock."""
    assert habit.needed_at is not None
    begin_at = slot_of(habit.needed_at) * SLOT_S
    for each in found:
        begin, end = each.begin, each.end
        yield Span(
            begin_at + begin * SLOT_S,
            begin_at + end * SLOT_S,
            end - begin,
            each.contexts,
            each.own,
            each.is_own,
            UNSEEN / begin,
        )


ROUGH = (0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8)


def _rough(count: int) -> int:
    """The more, the less one more matters."""
    return ROUGH[count] if count <= 16 else 9 if count <= 24 else 10 if count <= 48 else 11
