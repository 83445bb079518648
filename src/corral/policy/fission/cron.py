"""Moments of the wall clock by the five fields of cron: minute, hour, day of the month, month, weekday.

1. A field is `*`, a number, a range `1-5`, each with `/step`, or several of them with commas between. Months and
   weekdays may be named by their first three letters; Sunday is 0 and 7.
2. Where both kinds of day are restricted, either is enough; a field that begins with `*` restricts nothing.
3. Before them may stand whose clock is meant, `CRON_TZ=Europe/Berlin`; otherwise UTC. What that clock passes over when
   it is put forward never comes, and of an hour that comes twice the first one counts.
Source: crontab(5); the zone as in Fission, which reads its windows so."""

import calendar
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from corral.errors import Invalid

NAMES = ("minute", "hour", "day of the month", "month", "weekday")
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
WORDS: tuple[dict[str, int], ...] = ({}, {}, {}, MONTHS, DAYS)
ZONE = "CRON_TZ="
HORIZON = timedelta(days=366 * 8 + 1)
"""29 February is at most eight years away; what is farther never comes."""


class Cron:
    def __init__(self, text: str) -> None:
        """Raises Invalid with one sentence for each field that is wrong."""
        parts = text.split()
        self._zone = _zone(parts.pop(0).removeprefix(ZONE)) if parts and parts[0].startswith(ZONE) else UTC
        if len(parts) != len(NAMES):
            raise Invalid(f"{text[:80]!r} has {len(parts)} fields, must have five: {', '.join(NAMES)}")
        problems: list[str] = []
        fields: list[frozenset[int]] = []
        for part, name, limits, words in zip(parts, NAMES, LIMITS, WORDS, strict=True):
            try:
                fields.append(_field(part, limits, words))
            except ValueError:
                low, high = limits
                problems.append(f"{name} {part[:80]!r}, must be *, or numbers and ranges between {low} and {high}")
        if problems:
            raise Invalid(*problems)
        self._minutes, self._hours, self._days, self._months, days = (sorted(field) for field in fields)
        self._weekdays = frozenset(day % 7 for day in days)
        self._both_days = not parts[2].startswith("*") and not parts[4].startswith("*")

    def after(self, wall_s: float) -> float | None:
        """The first moment after `wall_s`, both in seconds since 1970; None: it never comes."""
        # As that clock shows it: what lies a day apart need not lie 24 hours apart.
        at = datetime.fromtimestamp(wall_s, self._zone).replace(second=0, microsecond=0, tzinfo=None)
        at += timedelta(minutes=1)
        end = at + HORIZON
        while at < end:
            if at.month not in self._months:
                at = _first_of_next_month(at)
            elif not self._has_day(at) or (minute := self._minute_from(at)) is None:
                at = at.replace(hour=0, minute=0) + timedelta(days=1)
            elif (moment_s := self._moment(minute)) is not None and moment_s > wall_s:
                return moment_s
            else:
                at = minute + timedelta(minutes=1)
        return None

    def _moment(self, minute: datetime) -> float | None:
        """When the clock shows it, for the first time; None: it passes over it."""
        moment_s = minute.replace(tzinfo=self._zone, fold=0).timestamp()
        return moment_s if datetime.fromtimestamp(moment_s, self._zone).replace(tzinfo=None) == minute else None

    def _has_day(self, at: datetime) -> bool:
        is_day, is_weekday = at.day in self._days, at.isoweekday() % 7 in self._weekdays
        return is_day or is_weekday if self._both_days else is_day and is_weekday

    def _minute_from(self, at: datetime) -> datetime | None:
        """The first one of the same day that is not before; None: it has none."""
        if at.hour in self._hours and (minute := _at_least(self._minutes, at.minute)) is not None:
            return at.replace(minute=minute)
        hour = _at_least(self._hours, at.hour + 1)
        return None if hour is None else at.replace(hour=hour, minute=self._minutes[0])


def _zone(name: str) -> tzinfo:
    """Raises Invalid."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # none of that name; a path; a folder of zones
        raise Invalid(f"time zone {name[:80]!r} is not known here, must be one as in {ZONE}Europe/Berlin") from None


def _field(text: str, limits: tuple[int, int], words: dict[str, int]) -> frozenset[int]:
    """Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        low, high = _span(span, limits, words)
        if slash and "-" not in span and span != "*":
            high = limits[1]  # `3/10` begins at 3, and goes on
        if not limits[0] <= low <= high <= limits[1] or (slash and int(step) < 1):
            raise ValueError(part)
        found.update(range(low, high + 1, int(step) if slash else 1))
    return frozenset(found)


def _span(text: str, limits: tuple[int, int], words: dict[str, int]) -> tuple[int, int]:
    """Raises ValueError."""
    if text == "*":
        return limits
    low, dash, high = text.partition("-")
    first = _number(low, words)
    return first, _number(high, words) if dash else first


def _number(text: str, words: dict[str, int]) -> int:
    """Raises ValueError."""
    if text.isascii() and text.isdigit():
        return int(text)
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _at_least(numbers: Sequence[int], least: int) -> int | None:
    return next((number for number in numbers if number >= least), None)


def _first_of_next_month(at: datetime) -> datetime:
    first = at.replace(day=1, hour=0, minute=0)
    return (first + timedelta(days=32)).replace(day=1)
