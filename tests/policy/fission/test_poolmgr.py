"""Fission's pool manager. Source of the cases: fission, poolcache_test.go (TestPoolCacheRequests), idle_test.go,
provisioner_test.go, and the rules of its executor."""

from datetime import UTC, datetime

import pytest

from corral.model import CallId, InstanceId, RevisionId
from corral.pool import Limits, Outcome, Pool, Want

from .stage import BEGUN, Function


def wall(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("waiting", "executing", "ready", "starting", "concurrency", "desired"),
    [
        pytest.param(1, 0, 0, 0, 1, 1, id="the first call"),
        pytest.param(3, 0, 0, 0, 1, 3, id="three at once: one each"),
        pytest.param(3, 0, 0, 2, 1, 3, id="those that start count"),
        pytest.param(2, 5, 5, 0, 1, 7, id="beside those that are busy"),
        pytest.param(1, 10, 1, 0, 10, 2, id="all room is taken: one more"),
        pytest.param(5, 10, 1, 0, 10, 6, id="one for each call, though one could hold them all"),
        pytest.param(30, 0, 0, 0, 1, 20, id="no more than 20 pending"),
        pytest.param(30, 4, 4, 15, 1, 24, id="pending ones count against the 20"),
        pytest.param(30, 4, 4, 20, 1, 24, id="20 are pending: none"),
    ],
)
def test_waiting_calls_get_an_instance_each(
    waiting: int, executing: int, ready: int, starting: int, concurrency: int, desired: int
) -> None:
    function = Function()
    function.ready, function.starting, function.concurrency = ready, starting, concurrency
    assert function.want(waiting, executing) == desired


def test_those_held_back_start_as_others_become_ready() -> None:
    function = Function()
    assert function.want(23) == 20
    function.starting, function.ready = 18, 2
    assert function.ask(joined=True) == 22
    function.starting, function.ready = 19, 3
    assert function.ask(joined=True) == 23
    function.starting, function.ready = 19, 4
    assert function.ask(joined=True) == 23, "no more are held back"


def test_what_was_held_back_is_forgotten_when_no_call_says_so_any_more() -> None:
    function = Function()
    function.want(30)
    function.starting, function.ready = 0, 20
    function.now += 2.0
    assert function.ask(joined=True) == 20


@pytest.mark.parametrize(
    ("requests", "concurrency", "requests_per_pod", "waits", "retain"),
    [
        pytest.param(1, 1, 1, 0, 0, id="scenario 1"),
        pytest.param(2, 2, 1, 0, 0, id="scenario 2"),
        pytest.param(300, 5, 60, 0, 0, id="scenarios 3 and 6"),
        pytest.param(6, 1, 5, 1, 0, id="scenario 4: one too many"),
        pytest.param(6, 5, 1, 1, 0, id="scenario 5: one too many"),
        pytest.param(310, 5, 60, 10, 0, id="scenario 7: ten too many"),
        pytest.param(2, 2, 1, 0, 1, id="scenario 8: one is retained"),
        pytest.param(10, 5, 2, 0, 2, id="scenario 9: two are retained"),
    ],
)
def test_requests_that_come_together_fill_the_pods_there_may_be(
    requests: int, concurrency: int, requests_per_pod: int, waits: int, retain: int
) -> None:
    """`concurrency` is the cap of pods. What fails there waits here."""
    function = Function(most=concurrency, retain_pods=retain)
    function.concurrency = requests_per_pod
    limits = Limits(concurrency=requests_per_pod, queue=1000, choose="fewest")
    pool = Pool(RevisionId("default/f@1"), limits)
    pods = 0
    for number in range(requests):
        now = BEGUN + number / 50  # so that each that waits is told of
        for action in (*pool.offer(CallId(number), now, now + 30), *pool.tick(now)):
            while isinstance(action, Want) and pods < min(function.want(pool.waiting, pool.executing), concurrency):
                pods += 1
                function.ready = pods
                pool.joined(InstanceId(f"svc-{pods}"), now)
    function.ask(joined=True)
    assert (pods, pool.waiting) == (concurrency, waits)
    for number in range(requests):
        pool.done(CallId(number), Outcome.OK, BEGUN + 1)
    function.pass_time(200)
    assert function.ready == retain


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        pytest.param({}, [(125.0, 0)], id="two minutes, at the reaper's tick"),
        pytest.param({"idle_timeout_s": 7}, [(10.0, 0)], id="seven seconds: at the second tick"),
        pytest.param({"idle_timeout_s": 4}, [(10.0, 0)], id="four seconds: none is idle for so long at the first tick"),
        pytest.param({"idle_timeout_s": 3.5}, [(5.0, 0)], id="three and a half: at the first tick"),
        pytest.param({"retain_pods": 2}, [(125.0, 2)], id="two are retained"),
        pytest.param({"retain_pods": 9}, [], id="more are retained than there are"),
    ],
)
def test_idle_ones_end_at_the_reapers_tick(said: dict[str, float], wanted: list[tuple[float, int]]) -> None:
    function = Function(**said)
    function.ask()
    function.now += 1.2
    function.want(4)
    function.ready = 4
    assert function.pass_time(1000) == wanted
    assert function.last.next_at is None, "nothing is left to be done"


def test_as_many_stay_as_had_calls_together_lately() -> None:
    function = Function()
    function.want(6)
    function.ready = 6
    for peak in (3, 1):
        function.pass_time(50)
        assert function.second(peak) == 6
    assert function.pass_time(200) == [(120.0, 3), (170.0, 1), (220.0, 0)]


def test_busy_one_is_never_too_many() -> None:
    function = Function(idle_timeout_s=5)
    function.want(1)
    function.ready = 1
    for _ in range(60):
        function.pass_time(1.0)
        function.second(1)
        assert function.ready == 1


def test_nothing_is_asked_of_a_function_at_zero() -> None:
    function = Function()
    function.ask()
    assert function.last.next_at is None
    function.want(2)
    function.ready = 2
    function.pass_time(500)
    assert (function.ready, function.last.next_at) == (0, None)


# -- provisioned concurrency -----------------------------------------------------------------------------------


def test_provisioned_ones_are_begun_four_at_a_time_every_30_s() -> None:
    function = Function(provisioned=10)
    function.ready = function.ask()
    assert function.ready == 4
    assert function.last.why == "4 of 10 provisioned, 4 start at once at most"
    assert function.pass_time(100) == [(30.0, 8), (60.0, 10)]
    assert function.last.next_at is None, "there is nothing to bring up, and nothing that may be ended"


def test_those_that_start_count_against_the_four() -> None:
    function = Function(provisioned=10)
    function.ready, function.starting = 2, 3
    assert function.ask() == 6


def test_provisioned_ones_are_not_reaped_and_those_above_are() -> None:
    function = Function(provisioned=2)
    function.ready = 2
    function.want(3, 2)
    function.ready = 5
    function.pass_time(1000)
    assert function.ready == 2


def test_window_brings_instances_and_its_end_lets_the_reaper_have_them() -> None:
    function = Function(provisioned=1, windows="0 8 * * 1-5 for 2h keep 4")
    function.wall_offset_s = wall("2025-01-01 07:50") - BEGUN
    function.starting = function.ask()
    assert function.starting == 1
    assert function.pass_time(4 * 3600) == [(600.0, 4), (600.0 + 7200.0, 1)]


def test_window_that_ends_takes_only_what_is_idle() -> None:
    function = Function(windows="0 8 * * * for 2h keep 4")
    function.wall_offset_s = wall("2025-01-01 08:00") - BEGUN
    function.ready = function.ask()
    assert function.ready == 4
    function.pass_time(7190)
    function.second(3)
    assert function.pass_time(110) == [(7200.0, 3)]
    assert function.pass_time(60) == [(7310.0, 0)]


@pytest.mark.parametrize("part_s", [0.1, 1 / 3, 0.7391265, 0.9999999])
def test_window_opens_to_the_moment_whatever_parts_of_a_second_the_clocks_differ_by(part_s: float) -> None:
    function = Function(windows="0 8 * * * for 2h keep 4")
    function.wall_offset_s = wall("2025-01-01 07:59:30") - BEGUN - part_s
    function.ask()
    [(opened, target)] = function.pass_time(31)
    assert target == 4
    assert opened == pytest.approx(30 + part_s, abs=1e-6)


def test_clock_that_is_set_is_noticed_within_a_minute() -> None:
    function = Function(windows="0 8 * * * for 2h keep 4")
    function.wall_offset_s = wall("2025-01-01 03:00") - BEGUN
    assert function.ask() == 0
    function.wall_offset_s += 5.5 * 3600
    assert function.pass_time(60) == [(60.0, 4)]
    function.wall_offset_s -= 5.5 * 3600
    function.pass_time(300)
    assert function.ready == 0


def test_settings_that_change_count_at_the_next_question() -> None:
    function = Function()
    function.want(3)
    function.ready = 3
    function.pass_time(60)
    function.retune(idle_timeout_s=30, retain_pods=1)
    assert function.ask() == 1
    function.retune(provisioned=3)
    assert function.ask() == 3
    assert function.last.why == "3 provisioned"


def test_reasons_name_the_numbers() -> None:
    function = Function(pending_max=2)
    function.want(1)
    assert function.last.why == "1 call waits, each for an instance of its own"
    function.want(3)
    assert function.last.why == "3 calls wait, each for an instance of its own; 2 start at once at most"
    function.ready = 2
    function.now += 2
    function.second(2)
    assert function.last.why == "3 used at once in the last 120 s"
    function.pass_time(300)
    assert function.last.why == "idle for 120 s"
