"""Moments by the five fields of cron. The rows of crontab(5), and calendars' corners."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import Invalid
from corral.policy.fission.cron import Cron


def wall(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def shown(wall_s: float | None) -> str | None:
    return None if wall_s is None else datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("cron", "after", "next_at"),
    [
        pytest.param("* * * * *", "2025-01-01 10:00", "2025-01-01 10:01", id="every minute: strictly after"),
        pytest.param("* * * * *", "2025-01-01 09:59:30", "2025-01-01 10:00", id="every minute: from within one"),
        pytest.param("0 0 * * *", "2025-01-01 00:00", "2025-01-02 00:00", id="midnight: the next one"),
        pytest.param("30 8 * * *", "2025-01-01 08:29:59", "2025-01-01 08:30", id="the same day"),
        pytest.param("*/15 * * * *", "2025-01-01 10:46", "2025-01-01 11:00", id="a step crosses the hour"),
        pytest.param("5/20 * * * *", "2025-01-01 10:26", "2025-01-01 10:45", id="a step from a number goes on"),
        pytest.param("10-30/10 * * * *", "2025-01-01 10:31", "2025-01-01 11:10", id="a step in a range ends with it"),
        pytest.param("0 9-17 * * *", "2025-01-01 17:30", "2025-01-02 09:00", id="a range of hours"),
        pytest.param("0 9,18 * * *", "2025-01-01 09:00", "2025-01-01 18:00", id="a list"),
        pytest.param("0 8 * * 1-5", "2025-01-03 09:00", "2025-01-06 08:00", id="weekdays: over the weekend"),
        pytest.param("0 8 * * mon-fri", "2025-01-03 09:00", "2025-01-06 08:00", id="weekdays by name"),
        pytest.param("0 0 * * 0", "2025-01-01 00:00", "2025-01-05 00:00", id="Sunday is 0"),
        pytest.param("0 0 * * 7", "2025-01-01 00:00", "2025-01-05 00:00", id="and 7"),
        pytest.param("0 0 1 * *", "2025-01-31 12:00", "2025-02-01 00:00", id="first of the month"),
        pytest.param("0 0 31 * *", "2025-04-01 00:00", "2025-05-31 00:00", id="the 31st, where there is one"),
        pytest.param("0 0 29 2 *", "2025-01-01 00:00", "2028-02-29 00:00", id="29 February"),
        pytest.param("0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00", id="29 February past 2100"),
        pytest.param("0 0 30 2 *", "2025-01-01 00:00", None, id="30 February never comes"),
        pytest.param("0 0 1 jan *", "2025-06-01 00:00", "2026-01-01 00:00", id="a month by name"),
        pytest.param("59 23 31 12 *", "2025-12-31 23:59", "2026-12-31 23:59", id="the last minute of the year"),
        pytest.param("0 0 13 * 5", "2025-06-02 00:00", "2025-06-06 00:00", id="both days restricted: either"),
        pytest.param("0 0 13 * 5", "2025-06-07 00:00", "2025-06-13 00:00", id="both days restricted: both"),
        pytest.param("0 0 */2 * 1", "2025-06-01 00:00", "2025-06-09 00:00", id="a day that begins with *: both needed"),
    ],
)
def test_next_moment(cron: str, after: str, next_at: str | None) -> None:
    assert shown(Cron(cron).after(wall(after))) == next_at


@pytest.mark.parametrize(
    ("cron", "after", "next_at"),
    [
        pytest.param("CRON_TZ=Asia/Tokyo 0 9 * * *", "2025-01-01 00:00", "2025-01-02 00:00", id="always nine ahead"),
        pytest.param(
            "CRON_TZ=Europe/Berlin 0 8 * * *", "2025-01-01 08:00", "2025-01-02 07:00", id="one ahead in winter"
        ),
        pytest.param(
            "CRON_TZ=Europe/Berlin 0 8 * * *", "2025-07-01 08:00", "2025-07-02 06:00", id="two ahead in summer"
        ),
        pytest.param("CRON_TZ=Europe/Berlin 0 8 * * *", "2025-03-29 07:00", "2025-03-30 06:00", id="over the change"),
        pytest.param("CRON_TZ=Europe/Berlin 30 2 * * *", "2025-03-30 00:00", "2025-03-31 00:30", id="passed over"),
        pytest.param("CRON_TZ=Europe/Berlin 30 2 * * *", "2025-10-25 22:00", "2025-10-26 00:30", id="twice: the first"),
        pytest.param("CRON_TZ=Europe/Berlin 30 2 * * *", "2025-10-26 00:30", "2025-10-27 01:30", id="not the second"),
        pytest.param("CRON_TZ=Europe/Berlin * * * * *", "2025-10-26 01:30", "2025-10-26 02:00", id="nor within it"),
        pytest.param("CRON_TZ=Asia/Kolkata 0 0 * * 1", "2025-01-01 00:00", "2025-01-05 18:30", id="its own weekdays"),
    ],
)
def test_next_moment_by_the_clock_of_a_place(cron: str, after: str, next_at: str) -> None:
    assert shown(Cron(cron).after(wall(after))) == next_at


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("incorrect", "'incorrect' has 1 fields, must have five", id="a word"),
        pytest.param("CRON_TZ=Mars/Base 0 0 * * *", "time zone 'Mars/Base' is not known here", id="no place"),
        pytest.param("CRON_TZ=../etc 0 0 * * *", "time zone '../etc' is not known here", id="no name of a place"),
        pytest.param("CRON_TZ=Europe 0 0 * * *", "time zone 'Europe' is not known here", id="a part of the world"),
        pytest.param("CRON_TZ= 0 0 * * *", "time zone '' is not known here", id="no name"),
        pytest.param("CRON_TZ=UTC", "'CRON_TZ=UTC' has 0 fields", id="only a place"),
        pytest.param("01***", "has 1 fields", id="no blanks"),
        pytest.param("0 0 * * * *", "has 6 fields", id="seconds too"),
        pytest.param("60 0 * * *", "minute '60', must be *, or numbers and ranges between 0 and 59", id="minute 60"),
        pytest.param("0 24 * * *", "hour '24'", id="hour 24"),
        pytest.param("0 0 0 * *", "day of the month '0'", id="day 0"),
        pytest.param("0 0 * 13 *", "month '13'", id="month 13"),
        pytest.param("0 0 * * 8", "weekday '8'", id="weekday 8"),
        pytest.param("0 0 * * fry", "weekday 'fry'", id="no such day"),
        pytest.param("*/0 * * * *", "minute '*/0'", id="a step of 0"),
        pytest.param("30-10 * * * *", "minute '30-10'", id="a range backwards"),
        pytest.param("-1 * * * *", "minute '-1'", id="below zero"),
        pytest.param("1,,2 * * * *", "minute '1,,2'", id="an empty part"),
        pytest.param("² * * * *", "minute '²'", id="a digit that is none"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(text: str, problem: str) -> None:
    with pytest.raises(Invalid) as fault:
        Cron(text)
    assert problem in fault.value.message


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(Invalid) as fault:
        Cron("60 24 * * 9")
    assert len(fault.value.problems) == 3


fields = st.tuples(
    st.sampled_from(["*", "0", "*/7", "5,35", "10-20"]),
    st.sampled_from(["*", "0", "*/5", "23", "9-17"]),
    st.sampled_from(["*", "1", "31", "*/10"]),
    st.sampled_from(["*", "2", "6-8"]),
    st.sampled_from(["*", "0", "1-5", "7"]),
)


@given(fields, st.floats(0, 4e9))
def test_moments_fit_the_fields_and_none_between_does(parts: tuple[str, ...], after: float) -> None:
    cron = Cron(" ".join(parts))
    at = cron.after(after)
    if at is None:
        return
    assert at > after
    assert at % 60 == 0
    assert cron.after(at - 60) == at
    assert cron.after(max(after, at - 1)) == at
