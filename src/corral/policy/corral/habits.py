"""What is remembered of a function: how long each of its instances was idle before it was needed again."""

from bisect import bisect_right

import msgspec

SLOT_S = 60.0
"""Idle times of more than a minute or two are told apart by minutes of the clock, shorter ones by powers of two."""
LATEST = 16
"""Idle times of minutes that are remembered one by one. 64 of them cost 1 % less, and four times the memory."""
OCTAVES_S = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Where each range of short idle times ends."""
SHORT_MOST = 64
"""Beyond so many all short idle times are halved: the newer ones count."""


class Habit(msgspec.Struct):
    """Of the first, second … instance of a function: whether it or another one was that instance does not matter."""

    needed_at: float | None = None
    """When it was last known to be in use; None: never."""
    learned_until: float = float("-inf")
    """What passed before is counted among the host's odds."""
    short: list[int] = msgspec.field(default_factory=lambda: [0] * (len(OCTAVES_S) + 1))
    """How often it was idle for so long; the last: for minutes."""
    long: list[int] = []
    """Its latest idle times of minutes, the newest at the end."""

    def remember(self, at: float) -> None:
        """It was idle, and is needed at this moment."""
        assert self.needed_at is not None
        minutes = slot_of(at) - slot_of(self.needed_at)
        octave = len(OCTAVES_S)
        if minutes >= 2:
            self.long = [*self.long[1 - LATEST :], minutes]
        else:
            octave = bisect_right(OCTAVES_S, at - self.needed_at)
        self.short[octave] += 1
        if sum(self.short) > SHORT_MOST:
            self.short = [count // 2 for count in self.short]


class Habits(msgspec.Struct):
    """Of one function; at most 1 KB while it needs one instance."""

    instances: list[Habit] = []

    def of(self, number: int) -> Habit:
        """Of its instance `number`, counted from 0."""
        while len(self.instances) <= number:
            self.instances.append(Habit())
        return self.instances[number]


def slot_of(moment: float) -> int:
    return int(moment // SLOT_S)
