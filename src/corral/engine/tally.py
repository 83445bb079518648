"""What functions were asked for in the minutes that are not written down yet. Pure: the clocks' times are given."""

from collections import Counter
from collections.abc import Mapping, Sequence

from corral.model import FunctionKey, Observation
from corral.ports import IDLE_MINUTES_MAX, MinuteSeen

MINUTE_S = 60.0


class _Minute:
    __slots__ = ("calls", "idle_times")

    def __init__(self) -> None:
        self.calls = 0
        self.idle_times: Counter[int] = Counter()


class Tally:
    """An idle time is the time from the end of a function's last call to the next one's arrival, when no other is in
    flight. It is measured from second to second, as gateways observe: by the monotonic clock, so it is never negative
    and no change of the wall clock makes one up. Times within a second are those of each revision by itself."""

    def __init__(self) -> None:
        self._minutes: dict[FunctionKey, dict[int, _Minute]] = {}
        self._last: dict[FunctionKey, float] = {}
        """When a call was last in flight, monotonic; of all functions that ever had one."""

    def restore(self, last_minutes: Mapping[FunctionKey, int], wall: float, now: float) -> None:
        """At start: the last minute with a call, as it was written. What was seen since is newer."""
        for key, minute in last_minutes.items():
            self._last.setdefault(key, now - max(0.0, wall - (minute + 1) * MINUTE_S))

    def seen(self, key: FunctionKey, second: Observation, now: float, wall: float) -> None:
        """A second in which the function had calls."""
        minute = self._minutes.setdefault(key, {}).setdefault(int(wall // MINUTE_S), _Minute())
        minute.calls += second.arrived
        last, self._last[key] = self._last.get(key), now
        if not second.from_idle:
            return
        # The first began before this second, the others within it. Before the first call of all there is none.
        if last is not None:
            minute.idle_times[min(int((now - last) // MINUTE_S), IDLE_MINUTES_MAX)] += 1
        if second.from_idle > 1:
            minute.idle_times[0] += second.from_idle - 1

    def forget(self, key: FunctionKey) -> None:
        """The function was deleted."""
        self._last.pop(key, None)
        self._minutes.pop(key, None)

    def of(self, key: FunctionKey) -> Sequence[MinuteSeen]:
        """What `take` would give of this function."""
        return _rows(key, self._minutes.get(key, {}))

    def take(self) -> Sequence[MinuteSeen]:
        """All since the last `take`."""
        taken, self._minutes = self._minutes, {}
        return [row for key, minutes in taken.items() for row in _rows(key, minutes)]


def _rows(key: FunctionKey, minutes: Mapping[int, _Minute]) -> Sequence[MinuteSeen]:
    return [
        MinuteSeen(key=key, minute=minute, calls=seen.calls, idle_times=dict(seen.idle_times))
        for minute, seen in minutes.items()
    ]
