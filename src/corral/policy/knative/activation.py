"""From the autoscaler's wish to instances: bounds, the first start, and the slow way to zero.

Source: serving, pkg/reconciler/autoscaling/kpa (scaler.go, kpa.go). A revision is activating until enough instances are
ready, active from then on, and inactive when nothing is wanted of it; only an inactive one goes to zero, after a grace
period in which Knative reroutes calls through its activator. Here every call takes that way: the mode is a variable
that the excess burst capacity drives as there, nothing is routed by it, and the probe of the way always succeeds."""

from enum import StrEnum

import msgspec

PROXIED_AGAIN_S = 3.0
"""Knative looks again after so long at a revision that fell idle while its calls took the activator's way."""
ACTIVATION_GRACE_S = 30.0
"""Added to the activation timeout, as there."""


class State(StrEnum):
    ACTIVATING = "activating"
    ACTIVE = "active"
    INACTIVE = "inactive"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    min: int
    max: int
    """0: any number."""
    initial: int
    scale_to_zero: bool
    window_s: float
    grace_s: float
    retention_s: float
    activation_timeout_s: float
    burst_capacity: float
    is_reachable: bool = True
    """See autoscaler.Spec."""


class Activation:
    """`replicas` is what was applied last."""

    def __init__(self, rules: Rules, replicas: int, now: float) -> None:
        """`replicas` stand already."""
        self.rules = rules
        self.replicas = replicas
        self.state, self.since = (State.ACTIVE if replicas else State.ACTIVATING), now
        self.is_initialized = replicas > 0 and rules.initial == 0
        """So many instances as it begins with have been ready once."""
        self.proxied_since: float | None = now
        """Since when calls would take the activator's way; None: they would go to instances directly."""
        self.is_sure = True
        """The probe of the activator's way says that it is taken."""

    def reconcile(self, wanted: int, excess_burst: float, ready: int, now: float) -> float | None:
        """When to look again though nothing changes; None: not. `wanted` by the autoscaler; -1: it does not know."""
        was_proxied, before = self.proxied_since is not None, self.state
        look_at = self._pass(wanted, excess_burst, ready, now)
        if self.state is before:
            return look_at
        if self.state is State.INACTIVE and was_proxied:
            return now + PROXIED_AGAIN_S
        # As there, a new condition is a reason to look once more.
        return self._pass(wanted, excess_burst, ready, now)

    def _pass(self, wanted: int, excess_burst: float, ready: int, now: float) -> float | None:
        scale, look_at = self.scale(wanted, now)
        self._route(scale, excess_burst, now)
        self.settle(scale, ready, now)
        return look_at

    def scale(self, wanted: int, now: float) -> tuple[int, float | None]:
        """(what is wanted within the bounds, or -1; when to look again). Applies it where it may be applied."""
        if wanted < 0 and self.state is not State.ACTIVATING:
            return wanted, None
        rules = self.rules
        least = rules.min if rules.is_reachable else 0
        if rules.initial > 1 and not self.is_initialized and rules.is_reachable:
            least = max(least, rules.initial)
        scale = max(wanted, least)
        if rules.max and scale > rules.max:
            scale = rules.max
        if scale > 0:
            return self._apply(scale), None
        return self._to_zero(now)

    def _to_zero(self, now: float) -> tuple[int, float | None]:
        rules = self.rules
        if not rules.scale_to_zero:
            return self._apply(1), None
        if self.state is State.ACTIVATING:
            given_up_at = self.since + rules.activation_timeout_s + ACTIVATION_GRACE_S
            return (self._apply(0), None) if now >= given_up_at else (-1, given_up_at)
        if self.state is State.ACTIVE:
            idle_at = self.since + rules.window_s
            return (0, None) if now >= idle_at else (self._apply(1), idle_at)
        return 0, self._end(now)

    def _end(self, now: float) -> float | None:
        """Of an inactive revision: apply 0, or say when."""
        rules = self.rules
        if rules.burst_capacity != -1 and not self.is_sure:
            return now + 1.0
        retention_s = rules.retention_s if rules.is_reachable else 0.0
        if now < self.since + max(rules.grace_s, retention_s):
            if now < self.since + retention_s:
                return self.since + retention_s
            if self.proxied_since is None or now < self.proxied_since + rules.grace_s:
                return (now if self.proxied_since is None else self.proxied_since) + rules.grace_s
        self._apply(0)
        return None

    def _apply(self, scale: int) -> int:
        self.replicas = scale
        return scale

    def _route(self, scale: int, excess_burst: float, now: float) -> None:
        is_proxied = scale == 0 or excess_burst < 0 or (scale < 0 and self.state is State.INACTIVE)
        if not is_proxied:
            self.proxied_since = None
        elif self.proxied_since is None:
            self.proxied_since = now

    def settle(self, scale: int, ready: int, now: float) -> None:
        """The condition after what was wanted and what is ready."""
        rules = self.rules
        least = rules.min if rules.is_reachable else 0
        needed = max(least, 1) if self.is_initialized else max(least, rules.initial)
        if ready >= needed:
            self.is_initialized = True
        if scale == 0 or needed == 0:
            self._enter(State.INACTIVE, now)
        elif scale > 0 or self.state is not State.INACTIVE:
            self._enter(State.ACTIVE if ready >= needed else State.ACTIVATING, now)

    def _enter(self, state: State, now: float) -> None:
        if self.state is not state:
            self.state, self.since = state, now
