"""From wish to instances. Source of the cases: Knative serving, pkg/reconciler/autoscaling/kpa/scaler_test.go
(TestScaler, TestDisableScaleToZero) and kpa_test.go (computeActiveCondition). There the stable window is 5 min and the
grace period 60 s; a "look" is a requeue there, a "patch" that instances were applied."""

from typing import Any

import pytest

from corral.policy.knative.activation import Activation, Rules, State

NOW = 100_000.0
GRACE_S, WINDOW_S = 60.0, 300.0
A, N, W = State.ACTIVE, State.INACTIVE, State.ACTIVATING


def rules(**changes: Any) -> Rules:
    fields: dict[str, Any] = {
        "min": 0, "max": 0, "initial": 1, "scale_to_zero": True, "window_s": WINDOW_S, "grace_s": GRACE_S,
        "retention_s": 0.0, "activation_timeout_s": 600.0, "burst_capacity": 211.0,
    } | changes  # fmt: skip
    return Rules(**fields)


def activation(state: State, age_s: float, replicas: int, proxied_s: float | None = None, **changes: Any) -> Activation:
    """In this state since `age_s`, with its calls on the activator's way since `proxied_s`."""
    found = Activation(rules(**changes), replicas, NOW)
    found.state, found.since = state, NOW - age_s
    found.is_initialized = found.rules.initial <= 1
    found.proxied_since = None if proxied_s is None else NOW - proxied_s
    return found


ROWS: list[tuple[str, Activation, int, int, int, bool]] = [
    # name, before, wanted -> scale, replicas, whether it looks again
    ("waits just before the idle period", activation(A, WINDOW_S - 1, 1), 0, 1, 1, True),
    ("waits, own window", activation(A, 44, 1, window_s=45), 0, 1, 1, True),
    ("own window is over before the standard one", activation(A, 46, 1, window_s=45), 0, 0, 1, False),
    ("to 1 while the idle period lasts", activation(A, WINDOW_S - 1, 10), 0, 1, 1, True),
    ("after the idle period", activation(A, WINDOW_S, 1), 0, 0, 1, False),
    ("after the idle period, proxied", activation(A, WINDOW_S, 1, 10), 0, 0, 1, False),
    ("after grace", activation(N, GRACE_S, 1, GRACE_S), 0, 0, 0, False),
    ("after grace, before retention", activation(N, GRACE_S, 1, GRACE_S, retention_s=2 * GRACE_S), 0, 0, 1, True),
    ("after grace and retention", activation(N, GRACE_S, 1, GRACE_S, retention_s=GRACE_S), 0, 0, 0, False),
    ("just before grace", activation(N, GRACE_S - 1, 1, GRACE_S - 1), 0, 0, 1, True),
    ("just before grace, short in proxy", activation(N, GRACE_S - 1, 1, 10), 0, 0, 1, True),
    ("just before grace, long in proxy", activation(N, GRACE_S - 1, 1, GRACE_S), 0, 0, 0, False),
    ("long in proxy, after retention", activation(N, GRACE_S - 1, 1, GRACE_S, retention_s=42), 0, 0, 0, False),
    ("any burst, after grace", activation(N, GRACE_S, 1, GRACE_S, burst_capacity=-1), 0, 0, 0, False),
    ("activating, half of the deadline", activation(W, 300, 1), 0, -1, 1, True),
    ("activating, after the deadline", activation(W, 631, 1), 0, 0, 0, False),
    ("activating, own deadline", activation(W, 36, 1, activation_timeout_s=5), 0, 0, 0, False),
    ("min, before grace", activation(N, GRACE_S - 1, 10, min=2), 0, 2, 2, False),
    ("min, after grace", activation(N, GRACE_S, 10, min=2), 0, 2, 2, False),
    ("unreachable ignores retention", activation(N, GRACE_S, 1, GRACE_S, is_reachable=False, retention_s=600), 0, 0, 0,
     False),
    ("unreachable, before grace", activation(N, GRACE_S - 1, 1, 10, is_reachable=False), 0, 0, 1, True),
    ("unreachable ignores min", activation(N, GRACE_S, 10, GRACE_S, min=2, is_reachable=False), 0, 0, 0, False),
    ("up", activation(A, 10, 1), 10, 10, 10, False),
    ("up to max", activation(A, 10, 1, max=8), 10, 8, 8, False),
    ("up, inactive", activation(N, 10, 1), 10, 10, 10, False),
    ("no metrics at zero", activation(N, 10, 0), -1, -1, 0, False),
    ("no metrics", activation(A, 10, 12), -1, -1, 12, False),
    ("from zero to 1", activation(N, 10, 0), 1, 1, 1, False),
    ("from zero to 10", activation(N, 10, 0), 10, 10, 10, False),
    ("initial scale not reached yet", activation(W, 10, 0, initial=2), 1, 2, 2, False),
    ("initial scale reached first", activation(W, 10, 5, initial=5), 1, 5, 5, False),
    ("initial scale zero", activation(N, 10, 0, initial=0, proxied_s=10), 0, 0, 0, True),
    ("never to zero", activation(A, 1000, 10, scale_to_zero=False), 0, 1, 1, False),
    ("never to zero, min", activation(A, 1000, 10, scale_to_zero=False, min=2), 2, 2, 2, False),
    ("never to zero, no metrics", activation(A, 1000, 10, scale_to_zero=False), -1, -1, 10, False),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_scale(row: tuple[str, Activation, int, int, int, bool]) -> None:
    _, before, wanted, scale, replicas, looks_again = row
    found, look_at = before.scale(wanted, NOW)
    assert (found, before.replicas, look_at is not None) == (scale, replicas, looks_again)


def test_initial_scale_that_was_reached_no_longer_holds() -> None:
    before = activation(A, 120, 2, initial=2)
    before.is_initialized = True
    assert before.scale(0, NOW) == (1, NOW - 120 + WINDOW_S)
    assert before.replicas == 1


def test_last_instance_stays_until_the_probe_says_that_calls_come_another_way() -> None:
    before = activation(N, GRACE_S, 1, GRACE_S)
    before.is_sure = False
    assert before.scale(0, NOW) == (0, NOW + 1)
    assert before.replicas == 1
    assert activation(N, GRACE_S, 1, GRACE_S, burst_capacity=-1).scale(0, NOW)[1] is None


CONDITIONS = [
    # wanted, ready, needed, before, after
    (0, 0, 1, W, N), (0, 1, 1, W, N), (0, 0, 1, A, N), (0, 0, 0, W, N), (5, 3, 0, A, N),
    (1, 0, 1, N, W), (1, 0, 1, W, W), (1, 0, 1, A, W), (3, 1, 2, A, W),
    (1, 1, 1, N, A), (1, 1, 1, W, A), (1, 2, 1, A, A),
    (-1, 0, 1, N, N), (-1, 0, 1, W, W), (-1, 0, 1, A, W),
    (-1, 1, 1, N, N), (-1, 1, 1, W, A), (-1, 1, 1, A, A),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "ready", "needed", "before", "after"), CONDITIONS)
def test_condition(wanted: int, ready: int, needed: int, before: State, after: State) -> None:
    found = activation(before, 10, 1, initial=needed)
    found.is_initialized = False
    found.settle(wanted, ready, NOW)
    assert found.state is after
    assert found.since == (NOW if after is not before else NOW - 10)
    assert found.is_initialized == (ready >= needed)


def test_calls_take_the_activators_way_at_zero_and_without_room_for_a_burst() -> None:
    found = activation(A, 10, 5)
    found.reconcile(5, 12.0, 5, NOW)
    assert found.proxied_since is None
    found.reconcile(5, -3.0, 5, NOW + 1)
    assert found.proxied_since == NOW + 1
    found.reconcile(5, 0.0, 5, NOW + 2)
    assert found.proxied_since is None


def test_idle_revision_goes_to_zero_after_window_and_grace() -> None:
    found = activation(A, 0, 1)
    moments, now = [], NOW
    while found.replicas:
        look_at = found.reconcile(0, 5.0, 1, now)
        moments.append((now - NOW, found.state, found.replicas))
        now = look_at if look_at is not None else now
    assert moments == [(0, A, 1), (WINDOW_S, N, 1), (WINDOW_S + GRACE_S, N, 0)]


def test_calls_that_took_the_other_way_already_need_no_grace() -> None:
    found = activation(A, 0, 1, 10)
    moments, now = [], NOW
    while found.replicas:
        look_at = found.reconcile(0, -100.0, 1, now)
        moments.append((now - NOW, found.state, found.replicas))
        now = look_at if look_at is not None else now
    assert moments == [(0, A, 1), (WINDOW_S, N, 1), (WINDOW_S + 3, N, 0)]
