"""The hybrid histogram as a scaler: events in, numbers of instances out."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from corral.model import Observation
from corral.policy import Decision, Settings, Situation, Terms
from corral.policy.hybrid import Hybrid, HybridSettings, IdleTimes

from ..stage import Stage

MINUTE = 60.0
PERIOD = 10 * MINUTE


def terms(settings: Settings, memory: IdleTimes) -> Terms:
    return Terms(settings=settings, idle_s=5.0, cores=2, rng=Random(1), memory=memory)


def called(stage: Stage) -> None:
    """One call of 0.1 s to a revision, cold or warm, and the second that tells of it."""
    if not stage.ready:
        stage.ask(waiting=1)
        stage.pass_time(0.5)
        stage.join(0)
        stage.pass_time(0.5)
    else:
        stage.pass_time(1.0)
    stage.ask(second=Observation(arrived=1, completed=1, peak=1, service_s=0.1, concurrency_s=0.1, from_idle=1))


def timed(calls: int, **said: Any) -> tuple[Stage, float]:
    """After so many calls, each PERIOD; and when the last one was told of."""
    stage = Stage({"engine": "hybrid", **said})
    stage.scaler.retune(terms(stage.settings, IdleTimes()))
    for _ in range(calls - 1):
        called(stage)
        stage.pass_time(PERIOD - 1.0)
    called(stage)
    return stage, stage.now


def changes_since(stage: Stage, moment: float) -> Iterator[tuple[float, int]]:
    for at, desired in stage.changes:
        if at > moment:
            yield round((at - moment) / MINUTE, 2), desired


def test_function_called_every_ten_minutes_is_away_in_between_and_back_before_the_call() -> None:
    stage, last = timed(4)
    stage.pass_time(60 * MINUTE)
    # Silences of 598 to 599 s lie in the bin from 9 to 10 minutes.
    assert list(changes_since(stage, last)) == [(0.02, 0), (8.1, 1), (11.0, 0)]
    assert stage.next_at is None


def test_function_called_once_stays_for_the_range() -> None:
    stage, last = timed(1)
    stage.pass_time(300 * MINUTE)
    assert list(changes_since(stage, last)) == [(240.0, 0)]


def test_until_enough_is_known_it_stays_for_a_fixed_time() -> None:
    stage, last = timed(2, learn_samples=5, learn_s=120)
    stage.pass_time(300 * MINUTE)
    assert list(changes_since(stage, last)) == [(2.0, 0)]


def one_call(scaler: Hybrid, now: float) -> Decision:
    seen = Observation(arrived=1, completed=1, peak=1, from_idle=1)
    return scaler.decide(Situation(ready=1, starting=0, concurrency=1, second=seen), now)


def test_what_was_learnt_outlives_the_scaler() -> None:
    memory = IdleTimes()
    scaler = Hybrid(terms(HybridSettings(), memory))
    for number in range(4):
        one_call(scaler, number * PERIOD)
    successor = Hybrid(terms(HybridSettings(), memory))
    assert one_call(successor, 4 * PERIOD).desired == 1
    silent = successor.decide(Situation(ready=1, starting=0, concurrency=1), 4 * PERIOD + 2)
    assert (silent.desired, silent.next_at) == (0, 4 * PERIOD + 8.1 * MINUTE)


def test_other_range_counts_from_the_next_silence_and_forgets_nothing() -> None:
    memory = IdleTimes()
    scaler = Hybrid(terms(HybridSettings(), memory))
    for number in range(4):
        one_call(scaler, number * PERIOD)
    scaler.retune(terms(HybridSettings(range_s=300), memory))
    silent = scaler.decide(Situation(ready=1, starting=0, concurrency=1), 3 * PERIOD + 2)
    assert silent.next_at == pytest.approx(3 * PERIOD + 0.85 * (PERIOD - 1))
    assert memory.outside == 3


def test_each_waiting_call_gets_a_start_less_those_under_way() -> None:
    stage = Stage({"engine": "hybrid"})  # ten calls at once in an instance
    stage.ask(waiting=45)
    assert stage.desired == 5
    stage.ask(waiting=45)
    assert stage.desired == 5
    stage.ask(waiting=51)
    assert stage.desired == 6


def burst(stage: Stage) -> None:
    stage.ask(waiting=45, executing=10)
    for _ in range(6):
        stage.join(0)
    assert stage.desired == 6


def test_burst_of_a_function_that_is_kept_keeps_as_many() -> None:
    stage, last = timed(1)
    burst(stage)
    stage.pass_time(300 * MINUTE)
    assert list(changes_since(stage, last)) == [(240.0, 0)]


def test_burst_of_a_function_that_is_unloaded_stays_for_its_idle_time() -> None:
    stage, last = timed(4)
    burst(stage)
    stage.pass_time(300 * MINUTE)
    assert list(changes_since(stage, last)) == [(round(5 / 60, 2), 0), (8.1, 1), (11.0, 0)]


def test_instance_that_only_had_to_load_goes_after_its_idle_time() -> None:
    stage = Stage({"engine": "hybrid"}, ready=2)
    assert stage.desired == 2
    stage.pass_time(6.0)
    assert stage.desired == 0
    assert stage.next_at is None


def test_call_that_lasts_longer_than_the_tail_keeps_its_instance() -> None:
    stage, last = timed(4)
    for _ in range(30):
        stage.pass_time(1.0)
        stage.ask(second=Observation(peak=1, executing_s=1.0, concurrency_s=1.0))
    assert list(changes_since(stage, last)) == []
