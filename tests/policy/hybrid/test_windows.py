"""Serverless in the Wild, section 4: which of the ways is taken, and what it says."""

import pytest

from corral.errors import Invalid
from corral.policy import read_scaling, scaling_problems
from corral.policy.hybrid import HybridSettings, IdleTimes, foresee

DEFAULTS = HybridSettings()
HOUR = HybridSettings(range_s=3600)
LEARNING = HybridSettings(learn_samples=5, learn_s=600)


@pytest.mark.parametrize(
    ("minutes", "settings", "load_min", "keep_min"),
    [
        pytest.param([], DEFAULTS, 0, 240, id="nothing known: the whole range"),
        pytest.param([9], DEFAULTS, 8.1, 11, id="one is enough to be representative: CV 15.5"),
        pytest.param([9] * 50, DEFAULTS, 8.1, 11, id="every ten minutes: 9 x 0.9 to 10 x 1.1"),
        pytest.param([0] * 50, DEFAULTS, 0, 1.1, id="head in the first bin: never unloaded before the tail"),
        pytest.param([3] * 10 + [30] * 10, DEFAULTS, 2.7, 34.1, id="from the head to the tail"),
        pytest.param(list(range(60)), DEFAULTS, 0, 240, id="60 of 240 bins even: CV 1.7, not representative"),
        pytest.param(list(range(40)), DEFAULTS, 0.9, 44, id="40 of 240 bins even: CV 2.2, representative"),
        pytest.param(list(range(40)), HybridSettings(cv_threshold=2.3), 0, 240, id="threshold above it"),
        pytest.param([300], DEFAULTS, 255, 345, id="beyond the range: 300 x 0.85 to 300 x 1.15"),
        pytest.param([300, 9], DEFAULTS, 154.5 * 0.85, 154.5 * 1.15, id="half beyond: the mean of the last"),
        pytest.param([300, 9, 9], DEFAULTS, 8.1, 11, id="a third beyond: the histogram"),
        pytest.param([1000] + [300] * 8, DEFAULTS, 255, 345, id="only the last eight are forecast from"),
        pytest.param([90], HOUR, 76.5, 103.5, id="one hour: 90 minutes are beyond"),
        pytest.param([], HOUR, 0, 60, id="one hour: kept for it"),
        pytest.param([9] * 4, LEARNING, 0, 10, id="four of five samples: fixed"),
        pytest.param([9] * 5, LEARNING, 8.1, 11, id="five samples: the histogram"),
        pytest.param([300] * 4, LEARNING, 0, 10, id="four of five, all beyond: fixed"),
    ],
)
def test_windows(minutes: list[int], settings: HybridSettings, load_min: float, keep_min: float) -> None:
    idle = IdleTimes()
    idle.fit(settings.bin_s, settings.bins)
    for each in minutes:
        idle.add(60.0 * each)
    windows = foresee(idle, settings)
    assert (windows.load_s / 60, windows.keep_s / 60) == pytest.approx((load_min, keep_min))
    assert windows.why


def test_long_idle_times_of_which_only_the_number_is_known_are_not_forecast_from() -> None:
    idle = IdleTimes()
    idle.recall({240: 7})
    assert foresee(idle, DEFAULTS).keep_s == DEFAULTS.range_s


def test_ranges_are_named() -> None:
    with pytest.raises(Invalid) as refused:
        read_scaling({"engine": "hybrid", "range_s": 1, "margin_percent": 200, "arima": True})
    assert refused.value.problems == (
        "scaling.range_s = 1, must be a number between 60 and 604800 (engine hybrid)",
        "scaling.margin_percent = 200, must be a number between 0 and 90 (engine hybrid)",
        f"scaling.arima is no setting of it, must be one of {', '.join(HybridSettings.__struct_fields__)} "
        "(engine hybrid)",
    )


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"range_s": 604800}, "scaling.bin_s = 60, must be between 420 and 604800 with range_s = 604800"),
        ({"bin_s": 3600, "range_s": 600}, "scaling.bin_s = 3600, must be between 1 and 600 with range_s = 600"),
        (
            {"head_percentile": 99, "tail_percentile": 5},
            "scaling.head_percentile = 99, must not be above tail_percentile = 5",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_refused(said: dict[str, float], problem: str) -> None:
    assert list(scaling_problems({"engine": "hybrid", **said})) == [problem]
