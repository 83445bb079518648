"""Knative's decision, every two seconds: how many instances the metric asks for, and when that is a panic.

Source: serving, pkg/autoscaler/scaling/autoscaler.go. Arithmetic over two averages; the windows stand beside it."""

from math import ceil, floor

import msgspec

from corral.policy.windows import PeakWindow

TICK_S = 2


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    target: float
    """Of the metric, for one instance; what is aimed at."""
    total: float
    """Of the metric, for one instance; what it can take."""
    burst_capacity: float
    panic_threshold: float
    """Times the ready instances."""
    max_up_rate: float
    max_down_rate: float
    window_s: float
    activation_scale: int | None = None
    delay_s: int = 0
    is_reachable: bool = True
    """Calls may come to the revision. Here always: one that no share and no tag leads to is drained."""


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    desired: int
    excess_burst: float
    """Calls that more would find room than must; below 0: too few instances for a burst. -1: any number must."""


class Autoscaler:
    def __init__(self, spec: Spec, ready: int, now: float) -> None:
        """`ready` instances stand already: then it begins with a panic, so that a restart never scales down before the
        windows are full."""
        self.panicking_since: float | None = now if ready > 1 else None
        """When the panic began or was last renewed; None: there is none."""
        self.panic_most = ready if ready > 1 else 0
        """Most instances desired in this panic."""
        self._delayed: PeakWindow | None = None
        self.respec(spec)

    def respec(self, spec: Spec) -> None:
        self.spec = spec
        slots = ceil(spec.delay_s / TICK_S)
        if not slots:
            self._delayed = None
        elif self._delayed is None:
            self._delayed = PeakWindow(slots)
        else:
            self._delayed.span = slots

    def scale(self, ready: int, stable: float, panic: float, now: float) -> Scale:
        """For the averages of the stable and the panic window."""
        spec, counted = self.spec, max(1, ready)
        # 1. What both windows ask for, within the rates.
        most = ceil(spec.max_up_rate * counted)
        least = floor(counted / spec.max_down_rate) if spec.is_reachable else 0
        wanted_stable, wanted_panic = ceil(stable / spec.target), ceil(panic / spec.target)
        by_stable = self._activated(wanted_stable, min(max(wanted_stable, least), most))
        by_panic = self._activated(wanted_panic, min(max(wanted_panic, least), most))
        # 2. A panic begins, or is renewed, by what the rates do not bound.
        if wanted_panic / counted >= spec.panic_threshold:
            self.panicking_since = now
        elif self.panicking_since is not None and self.panicking_since + spec.window_s < now:
            self.panicking_since, self.panic_most = None, 0
        # 3. Never down in a panic.
        desired = by_stable
        if self.panicking_since is not None:
            self.panic_most = desired = max(self.panic_most, by_stable, by_panic)
        # 4. The highest of the delay holds.
        if spec.is_reachable and self._delayed is not None:
            desired = self._delay(self._delayed, desired, now)
        return Scale(desired=desired, excess_burst=self._excess_burst(ready, panic))

    @property
    def is_settled(self) -> bool:
        """The same averages would give the same again at every later moment."""
        return self.panicking_since is None and (self._delayed is None or self._delayed.is_flat)

    def hold(self, now: float) -> None:
        """It would have decided the same as last, up to this moment."""
        if self._delayed is not None:
            self._delayed.add(self._delayed.highest, int(now) // TICK_S)

    def _activated(self, wanted: int, bounded: int) -> int:
        return max(bounded, self.spec.activation_scale or 0) if wanted > 0 else bounded

    def _delay(self, delayed: PeakWindow, desired: int, now: float) -> int:
        slot = int(now) // TICK_S
        delayed.add(desired, slot)
        delayed.expire(slot)
        return delayed.highest

    def _excess_burst(self, ready: int, panic: float) -> float:
        if self.spec.burst_capacity <= 0:
            return self.spec.burst_capacity
        return floor(ready * self.spec.total - self.spec.burst_capacity - panic)
