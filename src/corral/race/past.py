"""What was seen of one function's calls, as an engine keeps it: how many in each minute. Moments are drawn from it."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

MINUTE_S = 60.0
MOMENTS_MINUTE_MAX = 12
"""Of one minute: more calls leave no silence that would be worth a start."""
MOMENTS_MAX = 4_000
"""Of one function, 1 s of reckoning: of one that is called all the time its last five hours tell as much as a
fortnight, and of one that is called each five minutes this is a fortnight."""


class Past(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    minutes: Sequence[tuple[int, int]]
    """(minute since 1970, calls), rising, of those with calls."""
    until: int
    """The minute in which what was seen ends, this one included."""
    idle_minutes: Mapping[int, int] = {}
    """Whole minutes -> how often it was idle for so long between two calls."""
    memory_mib: float
    start_s: float
    """How long a call waits for a new instance."""
    service_s: float = 0.0
    """How long a call takes."""
    trigger: str = "http"

    @property
    def calls(self) -> int:
        return sum(calls for _, calls in self.minutes)

    @property
    def silences(self) -> int:
        """Idle times between calls."""
        return sum(self.idle_minutes.values())

    def newest(self) -> "Past":
        """Without the oldest minutes of one with more than MOMENTS_MAX moments."""
        room, first = MOMENTS_MAX, len(self.minutes)
        while first and room >= (needed := min(self.minutes[first - 1][1], MOMENTS_MINUTE_MAX)):
            room -= needed
            first -= 1
        return msgspec.structs.replace(self, minutes=self.minutes[first:]) if first else self

    def moments(self) -> Iterator[float]:
        """When it was called, seconds since 1970. Where in a minute is not known: spread evenly, so that one call each
        ten minutes comes each ten minutes."""
        for minute, calls in self.minutes:
            count = min(calls, MOMENTS_MINUTE_MAX)
            for number in range(1, count + 1):
                yield MINUTE_S * (minute + number / (count + 1))

    def quantile_min(self, part: float) -> int:
        """The least length of a silence, in whole minutes, that this part of them does not exceed. There is one."""
        left = part * self.silences
        for minutes in sorted(self.idle_minutes):
            left -= self.idle_minutes[minutes]
            if left <= 0:
                return minutes
        return max(self.idle_minutes)
