"""What may be said of OpenFaaS' rule, and what is refused."""

from typing import Any

import pytest

from corral.errors import Invalid
from corral.policy import SCALERS, read_scaling, scaling_problems
from corral.policy.openfaas import OpenFaasSettings


def test_defaults_are_those_of_the_labels() -> None:
    engine, said = read_scaling({"engine": "openfaas"})
    assert engine == "openfaas" and isinstance(said, OpenFaasSettings)
    assert (said.mode, said.target, said.proportion, said.min_awake) == ("rps", 50, 0.9, 1)
    assert (said.zero, said.zero_duration_s, said.down_window_s, said.factor) == (False, 900, 0, 10)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"mode": "memory"}, "scaling.mode = 'memory', must be one of rps, capacity, cpu, queue, custom, alert"),
        ({"factor": 0}, "scaling.factor = 0, must be a whole number between 1 and 100"),
        ({"factor": 101}, "scaling.factor = 101, must be a whole number between 1 and 100"),
        ({"min_awake": 0}, "scaling.min_awake = 0, must be a whole number between 1 and 1000"),
        ({"down_window_s": 301}, "scaling.down_window_s = 301, must be a number between 0 and 300"),
        ({"zero_duration_s": 30}, "scaling.zero_duration_s = 30, must be a number between 60 and 86400"),
        ({"target": 0}, "scaling.target = 0, must be a number above 0, at most 1000000"),
        ({"proportion": 1.1}, "scaling.proportion = 1.1, must be a number above 0, at most 1"),
    ],
    ids=str,
)
def test_impossible_values_are_refused_with_what_is_allowed(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_scaling({"engine": "openfaas", **said})
    assert refused.value.problems == (f"{problem} (engine openfaas)",)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"mode": "custom"}, "scaling.metric is not set, mode = custom needs one"),
        ({"metric": "failed"}, "scaling.metric = failed, must not be set for mode = rps, only for custom"),
        ({"min_awake": 11}, "scaling.min_awake = 11, must not be above max = 10"),
        (
            {"zero": True},
            "scaling.zero = true, must be false with min = 3, which stay: say min_awake = 3 and min = 0",
        ),
    ],
    ids=str,
)
def test_values_that_do_not_fit_together_are_refused(said: dict[str, Any], problem: str) -> None:
    assert list(scaling_problems({"engine": "openfaas", **said}, 3, 10)) == [problem]


def test_usage_is_asked_for_by_the_modes_that_go_by_it() -> None:
    needs = [
        read_scaling({"engine": "openfaas", **said})[1].needs_usage
        for said in ({"mode": "cpu"}, {"mode": "custom", "metric": "memory_mib"}, {"mode": "rps"})
    ]
    assert needs == [True, True, False]


def test_instances_are_kept_unless_it_may_go_to_zero() -> None:
    assert OpenFaasSettings(min_awake=2).keeps == 2
    assert OpenFaasSettings(min_awake=2, zero=True).keeps == 0


def test_calls_go_to_any_instance_with_room_whatever_the_mode() -> None:
    rule = SCALERS["openfaas"]
    for mode in ("rps", "capacity", "alert"):
        _, said = read_scaling({"engine": "openfaas", "mode": mode})
        assert (rule.choose(said), rule.once(said), rule.slots(said)) == ("random", False, None)
