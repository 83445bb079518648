"""How many are provisioned when. Source of the cases: fission, provisioner_schedule_test.go (TestEffectiveTargetAt,
TestWindowActiveAt)."""

from datetime import UTC, datetime

import pytest

from corral.errors import Invalid
from corral.policy.fission.windows import Provision, Window, read_windows


def wall(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


MIDNIGHT = "0 0 * * * for 30m keep 5"


@pytest.mark.parametrize(
    ("base", "windows", "at", "target"),
    [
        pytest.param(4, "", "2025-01-01 01:00", 4, id="no windows"),
        pytest.param(4, MIDNIGHT, "2025-01-01 01:00", 4, id="inactive window"),
        pytest.param(4, "0 0 * * * for 30m keep 3", "2025-01-01 00:00", 3, id="active window below the base"),
        pytest.param(4, MIDNIGHT, "2025-01-01 00:00", 5, id="active window"),
        pytest.param(
            4,
            "0 1 * * * for 30m keep 5; 0 0 * * * for 30m keep 6; 0 2 * * * for 30m keep 7",
            "2025-01-01 00:00",
            6,
            id="the open one of three",
        ),
        pytest.param(0, "0 1 * * * for 30m keep 5", "2025-01-01 01:00", 5, id="base 0"),
        pytest.param(
            2,
            "0 1 * * * for 60m keep 5; 15 1 * * * for 30m keep 6",
            "2025-01-01 01:30",
            6,
            id="the largest of several",
        ),
        pytest.param(2, "* * * * * for 28h keep 5", "2025-01-01 01:30", 5, id="dense cron"),
        pytest.param(2, "0 0 * * * for 10m keep 0", "2025-01-01 00:00", 0, id="a window may keep none"),
        pytest.param(
            2,
            "0 0 * * * for 10m keep 0; 0 0 * * * for 5m keep 1",
            "2025-01-01 00:00",
            1,
            id="one of several keeps none",
        ),
    ],
)
def test_target_at_a_moment(base: int, windows: str, at: str, target: int) -> None:
    assert Provision(base, read_windows(windows)).at(wall(at)) == target


@pytest.mark.parametrize(
    ("window", "at", "is_open"),
    [
        pytest.param("0 0 * * * for 10m keep 1", "2025-01-01 00:00", True, id="at its start"),
        pytest.param("0 0 * * * for 10m keep 1", "2025-01-01 00:05", True, id="in the middle"),
        pytest.param("0 0 * * * for 10m keep 1", "2025-01-01 00:10", False, id="at its end"),
        pytest.param("0 0 * * * for 10m keep 1", "2025-01-01 00:09:59.999", True, id="just before its end"),
        pytest.param("0 1 * * * for 10m keep 1", "2025-01-01 00:59:59.999", False, id="just before its start"),
        pytest.param("0 1 * * * for 10m keep 1", "2025-01-01 13:00", False, id="at another time"),
        pytest.param("* * * * * for 28h keep 1", "2025-01-04 00:00", True, id="dense cron"),
        pytest.param("0 0 * * 6 for 48h keep 1", "2025-01-04 13:00", True, id="on the weekend"),
        pytest.param("0 0 * * 6 for 48h keep 1", "2025-01-06 00:00", False, id="Monday at midnight"),
        pytest.param("0 0 * * 6 for 48h keep 1", "2025-01-08 00:00", False, id="on a Wednesday"),
        pytest.param("0 9 * * 0,6 for 8h keep 1", "2025-01-04 10:00", True, id="hours of two days: Saturday"),
        pytest.param("0 9 * * 0,6 for 8h keep 1", "2025-01-05 18:00", False, id="hours of two days: Sunday evening"),
        pytest.param("0 9 * * 0,6 for 8h keep 1", "2025-01-04 18:00", False, id="hours of two days: Saturday evening"),
    ],
)
def test_window_is_open(window: str, at: str, is_open: bool) -> None:
    assert Window(window).is_open(wall(at)) is is_open


@pytest.mark.parametrize(
    ("window", "at", "changes"),
    [
        pytest.param("0 8 * * * for 2h keep 1", "2025-01-01 07:00", "2025-01-01 08:00", id="it opens"),
        pytest.param("0 8 * * * for 2h keep 1", "2025-01-01 08:00", "2025-01-01 10:00", id="it closes"),
        pytest.param("0 8,9 * * * for 2h keep 1", "2025-01-01 08:30", "2025-01-01 11:00", id="opened anew before"),
        pytest.param("0 8,10 * * * for 2h keep 1", "2025-01-01 08:30", "2025-01-01 12:00", id="anew as it closes"),
        pytest.param("* * * * * for 2m keep 1", "2025-01-01 08:30", "2025-01-01 08:41", id="it never closes: so far"),
        pytest.param("0 0 30 2 * for 2m keep 1", "2025-01-01 08:30", None, id="it never opens"),
    ],
)
def test_next_change(window: str, at: str, changes: str | None) -> None:
    assert Window(window).changes_after(wall(at)) == (None if changes is None else wall(changes))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("0 9 * * * keep 3", "must be CRON for DURATION keep N, as in", id="no duration"),
        pytest.param(
            "0 9 * * 0,6 for incorrect keep 3", "duration 'incorrect', must be hours", id="no duration at all"
        ),
        pytest.param("0 9 * * 0,6 for 0s keep 3", "duration '0s'", id="zero duration"),
        pytest.param("0 9 * * 0,6 for -1s keep 3", "must be CRON for DURATION", id="negative duration"),
        pytest.param("0 9 * * 0,6 for 745h keep 3", "at most 744h", id="longer than a month"),
        pytest.param("incorrect for 8h keep 3", "'incorrect' has 1 fields", id="no cron"),
        pytest.param("0 9 * * * for 8h keep many", "must be CRON for DURATION", id="no number"),
    ],
)
def test_windows_that_are_none_are_refused(text: str, problem: str) -> None:
    with pytest.raises(Invalid) as fault:
        read_windows(f"{MIDNIGHT}; {text}")
    assert len(fault.value.problems) == 1
    assert problem in fault.value.message


def test_duration_may_have_several_parts() -> None:
    assert Window("0 9 * * * for 1h30m15s keep 3").span_s == 5415
