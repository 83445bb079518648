"""Scaling as text."""

import pytest

from corral.errors import Invalid
from corral.package.scaling import scaling_of_pairs, scaling_of_text


def test_values_are_what_they_look_like() -> None:
    said = "engine=knative, target=50,target_burst_capacity=-1,panic_window_percent=12.5,scale_to_zero=false,"
    assert scaling_of_text(said) == {
        "engine": "knative",
        "target": 50,
        "target_burst_capacity": -1,
        "panic_window_percent": 12.5,
        "scale_to_zero": False,
    }
    assert scaling_of_text("") == {}


def test_every_word_that_is_no_pair_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        scaling_of_pairs(["knative", "target=5", "fast"])
    assert [problem.split(",")[0] for problem in caught.value.problems] == ["'knative'", "'fast'"]


def test_hours_of_a_crontab_may_have_commas() -> None:
    hours = "0 8,12 * * 1,3 for 2h keep 5; CRON_TZ=Asia/Tokyo 0 9 * * sat,sun for 1h keep 1"
    assert scaling_of_text(f"engine=fission,windows={hours}, provisioned=1") == {
        "engine": "fission",
        "windows": hours,
        "provisioned": 1,
    }
    with pytest.raises(Invalid, match="'once_only', must be KEY=VALUE"):
        scaling_of_text("engine=fission,once_only")
