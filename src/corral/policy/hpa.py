"""The arithmetic of Kubernetes' Horizontal Pod Autoscaler, for engines that lean on it.

1. Every 15 s: wanted = ceil(instances x usage / target), unless usage is within a tenth of the target.
2. Instances of which nothing is known yet count against whichever way it would go, and stop it where they turn it.
3. Going down, the highest wish of the last 300 s counts; going up, the newest.
4. In 15 s at most four more or twice as many, whichever is more.
Source: kubernetes, pkg/controller/podautoscaler (replica_calculator.go, horizontal.go), defaults of autoscaling/v2.

Usage is what the keeper measures each second; cpu is its mean since the last decision, as the metrics server's is over
15 s, and memory the newest. A request is what one instance may take: here the limit is both."""

from math import ceil, floor
from typing import Literal

import msgspec

from corral.policy.rhythm import next_moment
from corral.policy.scaler import Usage
from corral.policy.windows import PeakWindow

SYNC_S = 15.0
TOLERANCE = 0.1
DOWN_WINDOW_S = 300.0
PERIOD_S = 15.0
"""What was changed within it counts against the limit of the way up."""
UP_INSTANCES, UP_FACTOR = 4, 2
ROUNDING = 1e-9

Resource = Literal["cpu", "memory"]


class Target(msgspec.Struct, frozen=True):
    resource: Resource
    value: float
    """Of one instance: percent of `cpu` in whole, or MiB."""
    cpu: float = 1.0
    """Cores that one instance may take."""

    @property
    def assumed(self) -> float:
        """Of an instance that was not measured, on the way down: all it may take, or the target if that is more."""
        return max(100.0, self.value) if self.resource == "cpu" else self.value

    def ratio(self, used: float, instances: int) -> float:
        """The mean, through the target. Percent are cut to whole ones."""
        mean = used / instances
        return (floor(mean + ROUNDING) if self.resource == "cpu" else mean) / self.value


class Load(msgspec.Struct, frozen=True):
    used: float
    """By all that were measured together, in the target's unit."""
    measured: int
    missing: int = 0
    """Ready, but not measured."""
    unready: int = 0


def replicas(current: int, load: Load, target: Target, tolerance: float = TOLERANCE) -> int | None:
    """How many there should be instead of `current`. None: nothing was measured, change nothing."""
    if load.measured == 0:
        return None
    first = target.ratio(load.used, load.measured)
    if not load.missing and not (load.unready and first > 1):
        return current if abs(1 - first) <= tolerance else ceil(first * load.measured)
    used, count = load.used, load.measured + load.missing
    if first < 1:
        used += load.missing * target.assumed
    if first > 1:
        count += load.unready
    again = target.ratio(used, count)
    if abs(1 - again) <= tolerance or (again - 1) * (first - 1) <= 0:
        return current
    wanted = ceil(again * count)
    return max(wanted, current) if again > 1 else min(wanted, current)


class Hpa:
    """The autoscaler of one revision. `current` stand when it begins, which is its first wish."""

    def __init__(
        self, current: int, now: float, *, up_window_s: float = 0.0, down_window_s: float = DOWN_WINDOW_S
    ) -> None:
        self._begun, self.sync_at = now, now + SYNC_S
        self.load: Load | None = None
        """What the last sync went by; None: there was none, or nothing was known."""
        self._highest, self._lowest = PeakWindow(down_window_s), PeakWindow(up_window_s)
        """Of the wishes; the lowest is kept as the highest of their negatives."""
        self._note_wish(current, now)
        self._changes: list[tuple[float, int]] = []
        """Those of the last period: moment, instances more or (below zero) fewer."""
        self._cores, self._counted = 0.0, 0
        self._last: Usage | None = None

    def measure(self, usage: Usage) -> None:
        """What came in since the last sync."""
        self._cores += usage.cpu_cores
        self._counted += usage.instances
        self._last = usage

    def sync(self, current: int, ready: int, target: Target, least: int, most: int, now: float) -> int:
        """How many there should be from now on, `ready` of `current` being ready. At 0 it is switched off. `sync_at`
        moves to the next moment after `now`."""
        self.sync_at = next_moment(self._begun, SYNC_S, now)
        self.load = self._read(current, ready, target)
        if current == 0:
            return 0
        desired = min(max(current, least), most)
        if desired == current:
            wanted = None if self.load is None else replicas(current, self.load, target)
            if wanted is None:
                return current
            desired = self._paced(current, wanted, least, most, now)
        if desired != current:
            self._changes = [each for each in self._changes if each[0] > now - PERIOD_S]
            self._changes.append((now, desired - current))
        return desired

    def rewindow(self, up_window_s: float, down_window_s: float) -> None:
        self._lowest.span, self._highest.span = up_window_s, down_window_s

    @property
    def is_measured(self) -> bool:
        """Something was, since the last sync; otherwise the next one would change nothing."""
        return self._last is not None

    def _read(self, current: int, ready: int, target: Target) -> Load | None:
        last, cores, counted = self._last, self._cores, self._counted
        self._last, self._cores, self._counted = None, 0.0, 0
        if last is None or last.instances == 0:
            return None
        used = last.memory_mib
        if target.resource == "cpu":
            used = cores / counted * last.instances / target.cpu * 100
        return Load(used, last.instances, max(0, ready - last.instances), max(0, current - ready))

    def _note_wish(self, wanted: int, now: float) -> None:
        # Before it is added: the newest counts also where the window is 0 s.
        self._highest.expire(now)
        self._lowest.expire(now)
        self._highest.add(wanted, now)
        self._lowest.add(-wanted, now)

    def _paced(self, current: int, wanted: int, least: int, most: int, now: float) -> int:
        self._note_wish(wanted, now)
        steady = min(max(current, -self._lowest.highest), self._highest.highest)
        if steady > current:
            most = min(most, self._up_limit(current, now))
        return min(max(steady, least), most)

    def _up_limit(self, current: int, now: float) -> int:
        begun = current - sum(change for at, change in self._changes if at > now - PERIOD_S)
        return max(current, begun + UP_INSTANCES, begun * UP_FACTOR)
