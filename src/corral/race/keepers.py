"""The ways of keeping instances that are raced in minute bins, by name."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor

from corral.errors import Invalid
from corral.policy.hybrid import HybridSettings, IdleTimes, foresee
from corral.race.foresight import Foresight
from corral.race.minutes import Keeper, Subject, Window

MINUTE_S = 60.0
FIXED = re.compile(r"fixed-(\d{1,5})m\Z")
FORESIGHT = re.compile(r"corral-(\d{1,6})\Z")
ROUNDED = 6
"""Digits after the point that count: a margin of a tenth makes eleven minutes of ten, not 11.000000000000002."""


class Fixed:
    """So many minutes after each call."""

    def __init__(self, minutes: int) -> None:
        self._windows = (Window(0, minutes),)

    def called(self, subject: Subject, minute: int, calls: int) -> Sequence[Window]:
        return self._windows


class HybridMinutes:
    """The engine `hybrid`: the same histogram and the same rules. A gap of g minutes is an idle time of g - 1, the
    minutes without a call; what is foreseen is rounded outwards to whole minutes."""

    def __init__(self, settings: HybridSettings) -> None:
        self._settings = settings
        self._idle: dict[int, IdleTimes] = {}
        self._last: dict[int, int] = {}

    def called(self, subject: Subject, minute: int, calls: int) -> Sequence[Window]:
        idle, last = self._idle.get(subject.number), self._last.get(subject.number)
        if idle is None or last is None:
            idle = self._idle[subject.number] = IdleTimes()
            idle.fit(self._settings.bin_s, self._settings.bins)
        else:
            idle.add(MINUTE_S * (minute - last - 1))
        self._last[subject.number] = minute
        foreseen = foresee(idle, self._settings)
        begin = floor(round(foreseen.load_s / MINUTE_S, ROUNDED))
        return (Window(begin, ceil(round(foreseen.keep_s / MINUTE_S, ROUNDED))),)


KEEPERS: Mapping[str, Callable[[], Keeper]] = {
    "corral": Foresight,
    "hybrid": lambda: HybridMinutes(HybridSettings()),
    "hybrid-1h": lambda: HybridMinutes(HybridSettings(range_s=3600)),
    "hybrid-learn5": lambda: HybridMinutes(HybridSettings(learn_samples=5)),
}
"""Besides `fixed-Nm` and `corral-N` of any N."""


def keeper_of(name: str) -> Keeper:
    """A new one, which has seen nothing. Raises Invalid."""
    fixed = FIXED.match(name)
    if fixed is not None:
        return Fixed(int(fixed[1]))
    foresight = FORESIGHT.match(name)
    if foresight is not None:
        return Foresight(float(foresight[1]))
    if name in KEEPERS:
        return KEEPERS[name]()
    known = f"fixed-Nm (N minutes), corral-N (second_gib_min = N), {', '.join(KEEPERS)}"
    raise Invalid(f"policy {name[:40]!r}, must be one of {known} in minute bins")
