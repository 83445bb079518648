"""Provisioned concurrency: how many instances are kept at a moment of the wall clock.

1. Without an open window: the base. While any is open: the most that an open one says, also if that is less.
2. A window opens at each moment of its cron and is open for its duration.
Source: Fission, pkg/executor/executortype/poolmgr (provisioner_schedule.go)."""

import re
from collections.abc import Sequence

import msgspec

from corral.errors import Invalid
from corral.policy.fission.cron import Cron

WINDOW = re.compile(r"(?P<cron>.+?) for (?P<duration>[0-9a-z.]+) keep (?P<keep>[0-9]+)")
DURATION = re.compile(r"(?:(?P<h>[0-9]+)h)?(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+)s)?")
LONGEST_S = 31 * 86_400.0
OVERLAPPING = 10
"""Openings in a row that are followed to the window's end: each takes some microseconds."""


class Window:
    """`text` is `CRON for DURATION keep N`, as in `0 8 * * 1-5 for 10h keep 5`. Raises Invalid."""

    def __init__(self, text: str) -> None:
        found = WINDOW.fullmatch(" ".join(text.split()))
        if found is None:
            raise Invalid(f"{text.strip()[:80]!r}, must be CRON for DURATION keep N, as in 0 8 * * 1-5 for 10h keep 5")
        self.cron = Cron(found["cron"])
        self.span_s = _seconds(found["duration"])
        self.keep = int(found["keep"])

    def is_open(self, wall_s: float) -> bool:
        opened = self.cron.after(wall_s - self.span_s)
        return opened is not None and opened <= wall_s

    def changes_after(self, wall_s: float) -> float | None:
        """When it opens, or closes, next; None: never. Of one that opens again and again before it closes, a moment
        until which it is open: ask again then."""
        opened = self.cron.after(wall_s - self.span_s)
        if opened is None or opened > wall_s:
            return opened
        for _ in range(OVERLAPPING):
            following = self.cron.after(opened)
            if following is None or following > opened + self.span_s:
                break
            opened = following
        return opened + self.span_s


class Provision(msgspec.Struct, frozen=True):
    base: int
    windows: Sequence[Window]

    def at(self, wall_s: float) -> int:
        open_ones = [window.keep for window in self.windows if window.is_open(wall_s)]
        return max(open_ones, default=self.base)

    def changes_after(self, wall_s: float) -> float | None:
        """When to look next; None: it never changes."""
        moments = (window.changes_after(wall_s) for window in self.windows)
        return min((at for at in moments if at is not None), default=None)


def read_windows(text: str | None) -> Sequence[Window]:
    """Of windows with `;` between. Raises Invalid with every mistake."""
    windows: list[Window] = []
    problems: list[str] = []
    for part in (text or "").split(";"):
        try:
            if part.strip():
                windows.append(Window(part))
        except Invalid as fault:
            problems += fault.problems
    if problems:
        raise Invalid(*problems)
    return windows


def _seconds(text: str) -> float:
    """Of `1h30m`. Raises Invalid."""
    found = DURATION.fullmatch(text)
    parts = (0, 0, 0) if found is None else (int(found["h"] or 0), int(found["m"] or 0), int(found["s"] or 0))
    seconds = parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
    if not 0 < seconds <= LONGEST_S:
        raise Invalid(f"duration {text[:80]!r}, must be hours, minutes and seconds as in 1h30m, at most 744h")
    return seconds
