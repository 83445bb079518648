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
