"""One number as Prometheus scrapes and reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.policy.openfaas.series import Series


def scraped(values: list[float], now: float = 0.0) -> Series:
    """A series whose scrapes at 5 s, 10 s, … find these."""
    series = Series(0.0)
    for number, value in enumerate(values, 1):
        series.value = value
        series.scrape(True, 5.0 * number)
    series.scrape(True, now)
    return series


@pytest.mark.parametrize(
    ("values", "now", "rate"),
    [
        pytest.param([], 30.0, 0.0, id="nothing was ever counted"),
        pytest.param([7], 5.0, 0.0, id="one sample is no rate"),
        pytest.param([50, 100, 150, 200, 250, 300, 350, 400], 40.0, 10.0, id="steady"),
        pytest.param([50, 100, 150, 200, 250, 300, 350, 400], 43.0, 10.0, id="steady, read between two scrapes"),
        pytest.param([100, 100, 100, 100, 100, 100], 30.0, 0.0, id="nothing more was counted"),
        pytest.param([2500, 5000, 7500], 15.0, 5000 * 12.5 / 10 / 30, id="it began in the span: half a gap before it"),
        pytest.param([1, 101, 201], 15.0, 200 * 10.05 / 10 / 30, id="it began in the span: not below zero"),
        pytest.param([0, 0, 0, 0, 0, 60], 30.0, 0.0, id="the first count of all is only one sample"),
        pytest.param([90, 90, 90, 90, 90, 90, 90, 90, 90, 150], 50.0, 60 * 30 / 25 / 30, id="a burst in the last gap"),
    ],
)
def test_rate_over_30_s(values: list[float], now: float, rate: float) -> None:
    assert scraped(values, now).rate(30.0, now) == pytest.approx(rate)


def test_last_rate_is_between_the_last_two_samples() -> None:
    assert scraped([1, 2, 2.5]).last_rate(60.0, 15.0) == pytest.approx(0.1)
    assert scraped([1]).last_rate(60.0, 5.0) == 0.0


def test_levels_are_read_as_highest_and_newest_of_their_span() -> None:
    series = scraped([3, 9, 4])
    assert (series.highest(45.0, 15.0), series.newest(45.0, 15.0)) == (9, 4)
    assert (series.highest(5.0, 15.0), series.highest(45.0, 60.0), series.newest(45.0, 60.0)) == (4, 0, 0)


def test_level_is_gone_when_nobody_says_it_again() -> None:
    series = Series(0.0)
    series.value, series.until = 8.0, 7.0
    series.scrape(True, 20.0)
    assert (series.highest(45.0, 20.0), series.newest(45.0, 20.0)) == (8.0, 0.0)


def test_nothing_is_found_while_nobody_answers() -> None:
    series = scraped([50, 100])
    series.value = 900.0
    assert series.scrape(False, 15.0)
    assert series.highest(60.0, 15.0) == 100


def test_series_is_steady_once_no_sample_differs() -> None:
    series = scraped([10, 20])
    assert not series.is_steady
    series.scrape(True, 64.0)
    assert not series.is_steady, "the sample at 5 s may still be reached"
    series.scrape(True, 66.0)
    assert series.is_steady
    series.value += 1
    assert not series.is_steady


@given(st.lists(st.tuples(st.floats(0.1, 200.0), st.integers(0, 9)), min_size=1, max_size=20))
def test_scrapes_made_late_find_the_same(gaps: list[tuple[float, int]]) -> None:
    late, often = Series(0.0), Series(0.0)
    now = 0.0
    for gap_s, count in gaps:
        before, now = now, now + gap_s
        for number in range(1, 50):
            often.scrape(True, before + gap_s * number / 50)
        for series in (late, often):
            series.scrape(True, now)
            series.value += count
        assert [late.rate(span, now) for span in (10, 30, 60)] == [often.rate(span, now) for span in (10, 30, 60)]
        assert late.scrape_at == often.scrape_at
