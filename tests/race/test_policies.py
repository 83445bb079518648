"""Policies as a person names them."""

import pytest

from corral.errors import Invalid
from corral.package.scaling import value_of
from corral.policy import SCALERS
from corral.race.conditions import Conditions
from corral.race.policies import defaults, policies_of
from corral.race.race import check


def test_settings_belong_to_the_policy_before_them() -> None:
    assert policies_of("corral:idle_s=60,double_after_s=0.1, knative:target=5 ,fixed-10m,corral", value_of) == {
        "corral:idle_s=60,double_after_s=0.1": {"engine": "corral", "idle_s": 60, "double_after_s": 0.1},
        "knative:target=5": {"engine": "knative", "target": 5},
        "fixed-10m": {"engine": "corral", "idle_s": 600},
        "corral": {"engine": "corral"},
    }


def test_every_engine_is_raced_when_none_is_named() -> None:
    named = policies_of(",".join(defaults()), value_of)
    assert {said["engine"] for said in named.values()} == set(SCALERS)
    assert {"fixed-2m", "fixed-10m"} <= set(named)
    check(named, Conditions())


@pytest.mark.parametrize(
    "text, problem",
    [
        ("kantive", "policy 'kantive' is not known, must be one of corral, knative"),
        ("corral,corral", "policies: corral is named twice, must be once"),
        ("fixed-0m", "policy fixed-0m: must be fixed-1m to fixed-1440m, without settings"),
        ("fixed-10m:min=1", "policy fixed-10m:min=1: must be fixed-1m to fixed-1440m, without settings"),
        ("corral:idle", "policy corral: 'idle', must be KEY=VALUE"),
        (" , ", "policies = ' , ', must name at least one of corral"),
    ],
)
def test_what_is_no_policy_is_told_what_would_be(text: str, problem: str) -> None:
    with pytest.raises(Invalid) as raised:
        policies_of(text, value_of)
    assert str(raised.value).startswith(problem)
    assert len(raised.value.problems) == 1


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        policies_of("one,corral,two", value_of)
    assert len(raised.value.problems) == 2
