"""The pool as events in, exact actions out."""

import pytest

from corral.errors import LoadFailed, QueueFull, StartTimeout
from corral.model import CallId, InstanceId, Observation, RevisionId
from corral.pool import Action, Dispatch, Limits, Orphan, Outcome, Pool, Refuse, Released, Want

A, B, C = InstanceId("a"), InstanceId("b"), InstanceId("c")


def pool_of(*instances: InstanceId, concurrency: int = 1, queue: int = 1000) -> Pool:
    pool = Pool(RevisionId("default/f@1"), Limits(concurrency=concurrency, queue=queue))
    for instance in instances:
        pool.joined(instance, 0.0)
    return pool


def offer(pool: Pool, call: int, now: float, hold_until: float = 1e9, front: bool = False) -> list[Action]:
    return list(pool.offer(CallId(call), now, hold_until, front))


def done(pool: Pool, call: int, now: float, outcome: Outcome = Outcome.OK) -> list[Action]:
    return list(pool.done(CallId(call), outcome, now))


def test_call_goes_to_the_instance_used_last() -> None:
    pool = pool_of(A, B)
    assert offer(pool, 1, 1.0) == [Dispatch(CallId(1), B)]
    assert offer(pool, 2, 1.0) == [Dispatch(CallId(2), A)]
    done(pool, 1, 2.0)
    done(pool, 2, 3.0)
    assert offer(pool, 3, 4.0) == [Dispatch(CallId(3), A)]


def test_instance_with_calls_is_filled_before_an_idle_one_is_woken() -> None:
    pool = pool_of(A, B, concurrency=2)
    calls = [offer(pool, call, 1.0)[0] for call in (1, 2, 3)]
    assert calls == [Dispatch(CallId(1), B), Dispatch(CallId(2), B), Dispatch(CallId(3), A)]
    done(pool, 2, 2.0)
    assert offer(pool, 4, 3.0) == [Dispatch(CallId(4), B)]


def test_waiting_calls_are_served_in_the_order_they_came() -> None:
    pool = pool_of()
    for call in (1, 2, 3):
        offer(pool, call, 0.0)
    assert pool.joined(A, 0.1) == [Dispatch(CallId(1), A)]
    assert done(pool, 1, 0.2) == [Dispatch(CallId(2), A)]
    assert done(pool, 2, 0.3) == [Dispatch(CallId(3), A)]


def test_call_dispatched_in_vain_waits_before_the_others() -> None:
    pool = pool_of(A, queue=1)
    offer(pool, 1, 0.0)
    offer(pool, 2, 0.1)
    assert pool.lost(A, 0.2) == [Orphan(CallId(1))]
    assert not any(isinstance(action, Refuse) for action in offer(pool, 1, 0.2, front=True))
    assert pool.joined(B, 0.3) == [Dispatch(CallId(1), B)]


def test_orphans_offered_again_keep_their_order() -> None:
    pool = pool_of(A, concurrency=3)
    for call in (1, 2, 3):
        offer(pool, call, 0.0)
    for orphan in pool.lost(A, 0.1):
        assert isinstance(orphan, Orphan)
        offer(pool, orphan.call, 0.1, front=True)
    assert pool.joined(B, 0.2) == [Dispatch(CallId(call), B) for call in (1, 2, 3)]


def test_cancelled_call_keeps_its_slot_until_its_instance_is_through() -> None:
    pool = pool_of(A)
    offer(pool, 1, 0.0)
    offer(pool, 2, 0.0)
    assert list(pool.cancel(CallId(1), 0.1)) == []
    assert pool.executing == 1
    assert done(pool, 1, 0.2, Outcome.CANCELLED) == [Dispatch(CallId(2), A)]


def test_cancelled_held_call_is_forgotten() -> None:
    pool = pool_of()
    offer(pool, 1, 0.0)
    pool.cancel(CallId(1), 0.1)
    assert list(pool.joined(A, 0.2)) == []
    assert pool.next_at is None


def test_slot_is_given_back_once_however_often_it_is_said() -> None:
    pool = pool_of(A)
    offer(pool, 1, 0.0)
    done(pool, 1, 0.1)
    done(pool, 1, 0.1)
    assert offer(pool, 2, 0.2) == [Dispatch(CallId(2), A)]
    assert isinstance(offer(pool, 3, 0.2)[0], Want)


def test_release_gives_up_the_longest_idle_and_no_busy_one() -> None:
    pool = pool_of(A, B, C)
    offer(pool, 1, 1.0)
    assert list(pool.release(1, 2.0)) == [Released(A)]
    assert list(pool.release(5, 2.0)) == [Released(B)]
    assert pool.instances == [C]


def test_retired_instance_finishes_its_call_and_takes_no_other() -> None:
    pool = pool_of(A)
    offer(pool, 1, 0.0)
    assert list(pool.retire(A, 0.1)) == []
    assert isinstance(offer(pool, 2, 0.2)[0], Want)
    assert done(pool, 1, 0.3) == [Released(A)]


def test_idle_retired_instance_is_released_at_once() -> None:
    assert list(pool_of(A).retire(A, 0.1)) == [Released(A)]


def test_adopted_instance_counts_calls_of_the_earlier_gateway() -> None:
    pool = pool_of()
    pool.joined(A, 0.0, in_flight=1)
    assert isinstance(offer(pool, 1, 0.1)[0], Want)
    assert list(pool.freed(A, 0.2)) == [Dispatch(CallId(1), A)]
    assert list(pool.freed(A, 0.3)) == []


def test_concurrency_learnt_later_lets_waiting_calls_in() -> None:
    pool = pool_of(A)
    for call in (1, 2, 3):
        offer(pool, call, 0.0)
    actions = pool.configure(Limits(concurrency=3, queue=1000), 0.1)
    assert actions == [Dispatch(CallId(2), A), Dispatch(CallId(3), A)]


def test_call_beyond_the_queue_is_refused_with_both_numbers() -> None:
    pool = pool_of(A, queue=1)
    offer(pool, 1, 0.0)
    offer(pool, 2, 0.0)
    (refuse,) = offer(pool, 3, 0.0)
    assert isinstance(refuse, Refuse) and isinstance(refuse.fault, QueueFull)
    assert refuse.fault.message == "1 calls wait for default/f@1, its queue allows 1: try again later"


def test_queue_of_zero_still_lets_the_first_call_ask_for_an_instance() -> None:
    pool = pool_of(queue=0)
    assert isinstance(offer(pool, 1, 0.0)[0], Want)
    assert isinstance(offer(pool, 2, 0.0)[0], Refuse)


def test_held_calls_end_at_their_own_limit_in_any_order() -> None:
    pool = pool_of()
    offer(pool, 1, 0.0, hold_until=30.0)
    offer(pool, 2, 0.0, hold_until=0.02)
    refused: list[tuple[float, int]] = []
    while pool.next_at is not None:
        now = pool.next_at
        for action in pool.tick(now):
            if isinstance(action, Refuse):
                assert isinstance(action.fault, StartTimeout)
                refused.append((now, action.call))
    assert refused == [(0.02, 2), (30.0, 1)]


# -- Want -----------------------------------------------------------------------------------------------------


def wants_of(pool: Pool, until: float) -> list[tuple[float, int]]:
    told = []
    while pool.next_at is not None and pool.next_at <= until:
        now = pool.next_at
        told += [(round(now, 3), action.waiting) for action in pool.tick(now) if isinstance(action, Want)]
    return told


def test_first_waiting_call_wants_at_once() -> None:
    assert offer(pool_of(), 1, 5.0) == [Want(1, 0, 0.0)]


def test_growing_shortfall_is_told_at_most_every_10_ms() -> None:
    pool = pool_of()
    told = []
    for call in range(40):
        told += [(call, action.waiting) for action in offer(pool, call, call / 1000) if isinstance(action, Want)]
    assert told == [(0, 1), (10, 11), (20, 21), (30, 31)]


def test_growth_within_10_ms_is_told_by_the_timer() -> None:
    pool = pool_of()
    offer(pool, 1, 0.0)
    assert offer(pool, 2, 0.001) == []
    assert pool.next_at == pytest.approx(0.010)
    assert wants_of(pool, 0.02) == [(0.010, 2)]


def test_shortfall_that_shrank_is_told_when_it_grows_again() -> None:
    pool = pool_of()
    for call in (1, 2, 3):
        offer(pool, call, 0.0)
    wants_of(pool, 0.02)
    pool.joined(A, 0.02)
    done(pool, 1, 0.03)
    assert offer(pool, 4, 0.03) == [Want(2, 1, pytest.approx(0.03))]


def test_unchanged_need_is_told_from_50_ms_on_ever_more_slowly_for_ever() -> None:
    pool = pool_of()
    offer(pool, 1, 0.0)
    told = [at for at, _ in wants_of(pool, 4.0)]
    assert told == [0.05, 0.07, 0.11, 0.19, 0.35, 0.67, 1.31, 2.31, 3.31]


def test_nothing_is_due_while_nobody_waits() -> None:
    pool = pool_of(A)
    offer(pool, 1, 0.0)
    assert pool.next_at is None


def test_need_is_told_again_to_an_engine_that_came_back() -> None:
    pool = pool_of(A)
    offer(pool, 1, 0.0)
    assert pool.wanted(0.1) is None
    offer(pool, 2, 0.0)
    assert pool.wanted(0.1) == Want(1, 1, 0.1)


# -- block ----------------------------------------------------------------------------------------------------

FAULT = LoadFailed("no module named panda")


def test_block_refuses_held_and_new_calls_until_its_end() -> None:
    pool = pool_of()
    offer(pool, 1, 0.0)
    assert list(pool.block(FAULT, 1.0, 0.1)) == [Refuse(CallId(1), FAULT)]
    assert offer(pool, 2, 0.9) == [Refuse(CallId(2), FAULT)]
    assert offer(pool, 3, 1.0) == [Want(1, 0, 0.0)]


def test_block_does_not_touch_calls_while_an_instance_lives() -> None:
    pool = pool_of(A)
    offer(pool, 1, 0.0)
    offer(pool, 2, 0.0)
    assert not any(isinstance(action, Refuse) for action in pool.block(FAULT, 9.0, 0.1))
    assert done(pool, 1, 0.2) == [Dispatch(CallId(2), A)]


def test_losing_the_last_instance_of_a_blocked_pool_refuses_who_waits() -> None:
    pool = pool_of(A)
    offer(pool, 1, 0.0)
    offer(pool, 2, 0.0)
    pool.block(FAULT, 9.0, 0.1)
    assert list(pool.lost(A, 0.2)) == [Orphan(CallId(1)), Refuse(CallId(2), FAULT)]
    assert offer(pool, 1, 0.2, front=True) == [Refuse(CallId(1), FAULT)]


def test_lifted_block_holds_calls_again() -> None:
    pool = pool_of()
    pool.block(FAULT, 60.0, 0.0)
    pool.block(None, 0.0, 1.0)
    assert offer(pool, 1, 1.0) == [Want(1, 0, 0.0)]


def test_pool_that_was_told_why_starts_wait_is_not_blank_until_they_wait_no_longer() -> None:
    pool = pool_of()
    pool.explain("all memory is in use")
    assert not pool.is_blank, "a new one could not tell its callers"
    pool.explain("")
    assert pool.is_blank


# -- observations ---------------------------------------------------------------------------------------------


def test_second_without_calls_is_not_observed() -> None:
    pool = pool_of(A)
    assert pool.observe(1.0) is None
    offer(pool, 1, 1.5)
    done(pool, 1, 1.6)
    assert pool.observe(2.0) is not None
    assert pool.observe(3.0) is None


def test_calls_that_find_nothing_in_flight_are_counted() -> None:
    pool = pool_of(A)
    offer(pool, 1, 0.1)
    offer(pool, 2, 0.2)  # waits
    done(pool, 1, 0.3)
    offer(pool, 3, 0.4)  # the second one executes
    done(pool, 2, 0.5)
    done(pool, 3, 0.6)
    offer(pool, 4, 0.7)
    seen = pool.observe(1.0)
    assert seen is not None
    assert (seen.arrived, seen.from_idle) == (4, 2)
    offer(pool, 5, 1.1)  # the fourth one executes still
    done(pool, 4, 1.2)
    done(pool, 5, 1.3)
    again = pool.observe(2.0)
    assert again is not None
    assert (again.arrived, again.from_idle) == (1, 0)


def test_observation_sums_what_happened_in_its_second() -> None:
    pool = pool_of(A)
    offer(pool, 1, 0.2)
    offer(pool, 2, 0.4)
    done(pool, 1, 0.7)
    seen = pool.observe(1.0)
    assert seen is not None
    assert (seen.arrived, seen.completed, seen.completed_200, seen.failed, seen.peak) == (2, 1, 1, 0, 2)
    assert seen.executing_s == pytest.approx(0.8)
    assert seen.concurrency_s == pytest.approx(1.1)
    assert seen.oldest_wait_s == pytest.approx(0.3)
    assert seen.service_s == pytest.approx(0.5)
    done(pool, 2, 1.5, Outcome.FAILED)
    again = pool.observe(2.0)
    assert again == Observation(
        completed=1, failed=1, concurrency_s=0.5, executing_s=0.5, peak=1, service_s=pytest.approx(0.8)
    )
