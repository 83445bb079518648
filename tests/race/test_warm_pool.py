"""Unbound instances in a race: who takes them, what they hold, and that they change no call's wait."""

import random
from typing import Any

import pytest

from corral.policy import Kind, StockTerms
from corral.policy.openwhisk.stem_cells import CHECK_S, Reactive, StemCell, StemCells
from corral.race.lane import MIB_S_PER_GB_MIN
from corral.race.trace import Function
from corral.race.warm_pool import UNBOUND_MIB, WarmPool, kind_of

from .test_simulate import called, raced, trace_of

KIND = Kind("python3", 256)


def pool_of(*cells: StemCell, window_s: float = 3600.0) -> WarmPool:
    return WarmPool(StemCells(StockTerms(rng=random.Random(1)), cells), window_s)


def test_memory_is_that_of_those_standing_and_being_made() -> None:
    warm = pool_of(StemCell(kind=KIND, initial=2, reactive=None), window_s=100.0)
    assert list(warm.restock(10.0)) == [KIND, KIND]
    warm.made(KIND, 11.0)
    assert warm.take(KIND, 20.0)
    assert list(warm.restock(20.0)) == [KIND]
    warm.close()
    assert warm.gb_min == pytest.approx(2 * 90 * UNBOUND_MIB / MIB_S_PER_GB_MIN)
    assert warm.unused == 2


def test_one_that_is_being_made_cannot_be_taken() -> None:
    warm = pool_of(StemCell(kind=KIND, initial=1, reactive=None))
    warm.restock(0.0)
    assert not warm.take(KIND, 0.1)
    warm.made(KIND, 1.0)
    assert warm.take(KIND, 1.1)


def test_those_wanted_no_more_are_ended() -> None:
    warm = pool_of(StemCell(kind=KIND, initial=4, reactive=Reactive(least=1)))
    for kind in warm.restock(0.0):
        warm.made(kind, 1.0)
    assert (warm.size, warm.next_at) == (4, CHECK_S)
    assert list(warm.restock(CHECK_S)) == []
    assert warm.size == 1


@pytest.mark.parametrize(("memory_mib", "limit_mib"), [(1.0, 256), (256.0, 256), (256.5, 512), (1500.0, 2048)])
def test_function_has_the_usual_limit_or_the_next_that_is_enough(memory_mib: float, limit_mib: int) -> None:
    function = called((0.0, 1.0))
    sized = Function(
        name="f",
        app="a",
        owner="o",
        trigger="http",
        memory_mib=memory_mib,
        counts=function.counts,
        durations=function.durations,
    )
    assert kind_of(sized, "python3") == Kind("python3", limit_mib)


ENGINES: list[tuple[str, dict[str, Any], int]] = [("openwhisk", {}, 2), ("fission", {"pool_size": 3}, 3)]


@pytest.mark.parametrize(("engine", "said", "unbound"), ENGINES)
def test_pool_of_a_policy_is_charged_and_shortens_no_start(engine: str, said: dict[str, Any], unbound: int) -> None:
    score = raced(trace_of(called((10.0, 1.0), minutes=5)), {"engine": engine, **said})
    assert score.pool_gb_min == pytest.approx(unbound * 5 * UNBOUND_MIB / 1024, rel=0.02)
    assert score.idle_gb_min == pytest.approx(score.functions[0].idle_gb_min + score.pool_gb_min)
    assert score.added_s == pytest.approx(0.1)
    assert score.instances[1] == pytest.approx(1 + unbound)


def test_policy_without_a_pool_is_charged_for_none() -> None:
    score = raced(trace_of(called((10.0, 1.0), minutes=5)))
    assert (score.pool_gb_min, score.starts) == (0.0, 1)
