"""What may be said of it, and what is refused."""

import random
from typing import Any

import pytest

from corral.policy import SCALERS, Kind, StockTerms, Supply, read_scaling, scaling_problems
from corral.policy.fission import GenericPool


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        pytest.param(
            {"executor": "container"}, "executor = 'container', must be one of poolmgr, newdeploy", id="executor"
        ),
        pytest.param(
            {"requests_per_pod": 0}, "requests_per_pod = 0, must be a whole number between 1 and 1000", id="0"
        ),
        pytest.param(
            {"provisioned": 21}, "provisioned = 21, must be a whole number between 0 and 20", id="over the cap"
        ),
        pytest.param(
            {"once_only": True, "requests_per_pod": 2}, "requests_per_pod = 2, must be 1 with once_only", id="once"
        ),
        pytest.param({"retain_pods": 11}, "retain_pods = 11, must not be above max = 10", id="retains more than max"),
        pytest.param(
            {"provisioned": 11}, "provisioned = 11, must not be above max = 10", id="provisions more than max"
        ),
        pytest.param({"windows": "daily"}, "windows: 'daily', must be CRON for DURATION keep N", id="windows"),
        pytest.param(
            {"windows": "0 8 * * * for 1h keep 11"}, "windows: keep 11, must be between 0 and 10", id="window over max"
        ),
        pytest.param(
            {"executor": "newdeploy", "once_only": True},
            "once_only is for executor = poolmgr, newdeploy has no such thing",
            id="of the other executor",
        ),
        pytest.param(
            {"executor": "newdeploy", "requests_per_pod": 2},
            "requests_per_pod is for executor = poolmgr, newdeploy has no such thing",
            id="new-deploy counts no requests",
        ),
        pytest.param(
            {"target_cpu_percent": 50},
            "target_cpu_percent is for executor = newdeploy, poolmgr has no such thing",
            id="the pool manager does not look at cpu",
        ),
    ],
)
def test_impossible_settings_are_refused_with_what_is_allowed(said: dict[str, Any], problem: str) -> None:
    [found] = scaling_problems({"engine": "fission", **said}, 0, 10)
    assert found.startswith(f"scaling.{problem}")


@pytest.mark.parametrize(
    ("said", "choose", "once", "slots"),
    [
        pytest.param({}, "fewest", False, 1, id="as it comes: one request per pod"),
        pytest.param({"requests_per_pod": 5}, "fewest", False, 5, id="five in each"),
        pytest.param({"once_only": True}, "fewest", True, 1, id="once"),
        pytest.param({"executor": "newdeploy"}, "random", False, None, id="behind a service"),
    ],
)
def test_how_calls_are_handed_out(said: dict[str, Any], choose: str, once: bool, slots: int | None) -> None:
    rule = SCALERS["fission"]
    _, settings = read_scaling({"engine": "fission", **said})
    assert (rule.choose(settings), rule.once(settings), rule.slots(settings)) == (choose, once, slots)


@pytest.mark.parametrize(
    ("said", "alone"),
    [
        pytest.param({}, False, id="poolmgr"),
        pytest.param({"provisioned": 1}, True, id="provisioned"),
        pytest.param({"windows": "0 8 * * * for 1h keep 1"}, True, id="windows"),
        pytest.param({"executor": "newdeploy"}, False, id="newdeploy"),
    ],
)
def test_only_what_is_provisioned_begins_without_a_call(said: dict[str, Any], alone: bool) -> None:
    assert read_scaling({"engine": "fission", **said})[1].acts_alone is alone


# -- the pool of unbound instances -----------------------------------------------------------------------------


def pool_of(**said: Any) -> GenericPool:
    settings = read_scaling({"engine": "fission", **said})[1]
    return GenericPool(StockTerms(rng=random.Random(0), runtimes=("python3", "python3.9"), settings=settings))


PYTHON3, PYTHON39 = Kind("python3", 256), Kind("python3.9", 256)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        pytest.param({}, {PYTHON3: 3, PYTHON39: 3}, id="three of each runtime"),
        pytest.param({"pool_size": 1}, {PYTHON3: 1, PYTHON39: 1}, id="another size"),
        pytest.param({"pool_size": 0}, {}, id="none"),
        pytest.param({"executor": "newdeploy"}, {}, id="newdeploy has no pool"),
    ],
)
def test_pool_is_always_to_be_full(said: dict[str, Any], wanted: dict[Kind, int]) -> None:
    assert pool_of(**said).decide(0.0) == Supply(wanted, None)


def test_functions_of_any_size_take_what_stands_of_their_runtime() -> None:
    pool = pool_of()
    large = Kind("python3", 2048)
    assert pool.take(large, 0.0) is None, "none was made yet"
    pool.made(PYTHON3, 1.0)
    pool.made(PYTHON3, 1.0)
    pool.lost(PYTHON3, 2.0)
    assert pool.take(Kind("python3.9", 256), 3.0) is None
    assert pool.take(large, 3.0) == PYTHON3
    assert pool.take(PYTHON3, 3.0) is None
