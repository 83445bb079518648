"""OpenWhisk's rules behind the seam, over time: activations without a container, containers without activations."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.model import Observation
from corral.policy import Situation, scaling_problems
from corral.policy.openwhisk import OpenWhiskSettings
from corral.policy.openwhisk.fpc import Fpc

from ..stage import Stage, Step

IDLE_S = 610.0
"""Pause grace and idle time."""


def openwhisk(least: int = 0, most: int = 50, **options: Any) -> Stage:
    stage = {name: options.pop(name) for name in ("ready", "concurrency", "every_s") if name in options}
    return Stage({"engine": "openwhisk", **options}, least, most, **{"concurrency": 1, **stage})


def fpc(least: int = 0, most: int = 50, **options: Any) -> Stage:
    return openwhisk(least, most, scheduler="fpc", **options)


def starts(stage: Stage) -> None:
    """Whatever is on its way has come."""
    while stage.starting:
        stage.join(0)


def runs(stage: Stage, completed: int, service_s: float, peak: int = 1) -> None:
    stage.ask(second=Observation(arrived=completed, completed=completed, service_s=completed * service_s, peak=peak))


CLASSIC = [
    # (concurrency, ready, starting, waiting, executing, wanted)
    pytest.param(1, 0, 0, 1, 0, 1, id="first activation"),
    pytest.param(1, 0, 0, 7, 0, 7, id="a container for each activation"),
    pytest.param(1, 2, 0, 1, 2, 3, id="all containers are busy"),
    pytest.param(1, 2, 3, 4, 5, 9, id="those that start have their activations"),
    pytest.param(1, 0, 3, 3, 0, 3, id="told again before the gateway knew of the starts"),
    pytest.param(1, 0, 0, 1, 4, 1, id="others are in containers that end"),
    pytest.param(4, 0, 0, 9, 0, 3, id="four at once in a container"),
    pytest.param(4, 1, 0, 1, 4, 2, id="a full container of four"),
]


@pytest.mark.parametrize(("concurrency", "ready", "starting", "waiting", "executing", "wanted"), CLASSIC)
def test_activation_that_finds_no_container_gets_one_at_once(
    concurrency: int, ready: int, starting: int, waiting: int, executing: int, wanted: int
) -> None:
    stage = openwhisk(concurrency=concurrency)
    stage.ready, stage.starting = ready, starting
    decision = stage.ask(waiting=waiting, executing=executing)
    assert decision.desired == wanted


def test_container_stays_for_pause_grace_and_idle_time() -> None:
    stage = openwhisk()
    stage.ask(waiting=1)
    starts(stage)
    runs(stage, 1, 0.01)
    stage.pass_time(IDLE_S - 0.1)
    assert stage.ready == 1
    stage.pass_time(0.2)
    assert (stage.ready, stage.next_at) == (0, None)
    assert stage.decisions[-1][1].why == "idle for 610 s"


def test_containers_above_the_most_needed_at_once_are_removed_when_their_time_is_over() -> None:
    stage = openwhisk()
    stage.ask(waiting=5)
    starts(stage)
    runs(stage, 5, 0.01, peak=5)
    stage.pass_time(300.0)
    runs(stage, 20, 0.01, peak=2)
    stage.pass_time(IDLE_S - 299.9)
    assert stage.ready == 2
    stage.pass_time(300.0)
    assert stage.ready == 0


def test_nothing_is_asked_between_activations_but_at_the_end_of_idle_time() -> None:
    for stage in (openwhisk(), fpc()):
        stage.ask(waiting=1)
        starts(stage)
        runs(stage, 9, 0.01)
        before = len(stage.decisions)
        stage.pass_time(1000.0)
        assert len(stage.decisions) - before <= 3
        assert stage.next_at is None


# -- the limit of the namespace -----------------------------------------------------------------------------


def test_limit_of_the_namespace_counts_the_containers_of_all_its_actions() -> None:
    stage = openwhisk(namespace_limit=5)
    stage.others = 4
    assert stage.ask(waiting=4).desired == 1
    assert stage.ask(waiting=4).desired == 1
    stage.others = 1
    assert stage.ask(waiting=3, executing=1).desired == 4
    assert stage.decisions[-1][1].inputs["in_namespace"] == 2


# -- the newer scheduler ------------------------------------------------------------------------------------


def test_queue_is_checked_every_100_ms_from_its_first_message() -> None:
    stage = fpc()
    begun = stage.now
    assert stage.ask(waiting=1).desired == 1, "one at once"
    assert stage.next_at == pytest.approx(begun + 0.1)
    stage.pass_time(0.05)
    assert stage.ask(waiting=40, executing=1, oldest_wait_s=0.04).desired == 1, "not before the check"
    stage.pass_time(0.051)
    assert stage.desired == 1, "at 100 ms no message is stale"
    stage.pass_time(0.09)
    stage.ask(waiting=80, executing=1, oldest_wait_s=0.1915)
    stage.pass_time(0.01)
    # Half of the 80 came more than 100 ms ago, and the one in the container that starts; one is on its way.
    assert stage.desired == 1 + 40
    assert "no duration known" in stage.decisions[-1][1].why
    assert {"messages": 81, "stale": 41, "starting": 1}.items() <= stage.decisions[-1][1].inputs.items()


def test_known_duration_asks_for_few_containers() -> None:
    stage = fpc()
    stage.ask(waiting=1)
    starts(stage)
    runs(stage, 50, 0.01)
    stage.pass_time(0.06)
    stage.ask(waiting=40, executing=1, oldest_wait_s=0.02)
    stage.pass_time(0.05)
    # All 40 came within the time after which they are stale; a container works off ten of them.
    assert stage.desired == 4


def test_average_is_of_the_last_ten_activations() -> None:
    stage = fpc()
    stage.ask(waiting=1)
    starts(stage)
    runs(stage, 4, 9.0)
    runs(stage, 6, 0.2)
    runs(stage, 4, 0.1)
    stage.ask(waiting=1, executing=1)
    stage.pass_time(0.1)
    assert stage.decisions[-1][1].inputs["duration_s"] == pytest.approx((6 * 0.2 + 4 * 0.1) / 10)


def test_queue_without_messages_is_removed_and_forgets_the_duration() -> None:
    stage = fpc()
    stage.ask(waiting=1)
    starts(stage)
    runs(stage, 10, 0.2)
    stage.pass_time(41.0)
    stage.ask(waiting=1, executing=1)
    stage.pass_time(0.1)
    assert stage.decisions[-1][1].inputs["duration_s"] == 0


def test_throttled_namespace_gets_containers_again_when_it_has_room() -> None:
    stage = fpc(namespace_limit=4)
    stage.ask(waiting=1)
    starts(stage)
    stage.others = 3
    stage.ask(waiting=8, executing=1, oldest_wait_s=0.5)
    stage.pass_time(0.1)
    assert (stage.desired, stage.decisions[-1][1].inputs["throttled"]) == (1, 1)
    stage.others = 0
    stage.pass_time(0.1)
    assert (stage.desired, stage.decisions[-1][1].inputs["throttled"]) == (1, 0), "it was looked at without being told"
    stage.ask(waiting=8, executing=1, oldest_wait_s=0.9)
    stage.pass_time(0.1)
    assert stage.desired == 4


def test_start_that_was_decided_is_not_taken_back_before_it_was_of_use() -> None:
    stage = fpc()
    stage.ask(waiting=1)
    starts(stage)
    stage.pass_time(0.15)
    stage.ask(waiting=9, executing=1, oldest_wait_s=0.14)
    stage.pass_time(0.06)
    had = stage.desired
    assert had > 1
    runs(stage, 1, 0.1)
    stage.pass_time(IDLE_S - 1)
    assert stage.desired == had


def test_kept_containers_stay_longer() -> None:
    stage = fpc(keeping=2, keeping_s=300)
    stage.ask(waiting=1)
    stage.pass_time(0.2)
    stage.ask(waiting=5, executing=1, oldest_wait_s=0.15)
    stage.pass_time(0.1)
    starts(stage)
    assert stage.ready > 2
    stage.pass_time(IDLE_S + 1)
    assert stage.ready == 2
    stage.pass_time(300)
    assert stage.ready == 0


def test_keeping_that_is_set_later_counts_for_those_that_stand() -> None:
    stage = fpc()
    stage.ask(waiting=1)
    starts(stage)
    stage.pass_time(IDLE_S - 10)
    stage.settings = OpenWhiskSettings(scheduler="fpc", keeping=2, keeping_s=300)
    stage.scaler.retune(stage.terms())
    stage.ask()
    stage.pass_time(11)
    assert stage.ready == 1
    stage.pass_time(300)
    assert stage.ready == 0


def test_scheduler_may_be_changed_while_it_serves() -> None:
    stage = openwhisk()
    stage.ask(waiting=3)
    starts(stage)
    stage.settings = OpenWhiskSettings(scheduler="fpc")
    stage.scaler.retune(stage.terms())
    assert stage.ask(waiting=9, executing=3).desired == 3, "the queue is checked in 100 ms"
    stage.pass_time(IDLE_S - 1)
    assert stage.ready == 3, "what was needed stays known"
    stage.pass_time(2)
    assert stage.ready == 0


def full(**options: Any) -> Stage:
    """Five containers run and two start, three calls in each, and one call waits."""
    stage = fpc(concurrency=3, ready=5, **options)
    runs(stage, 0, 0.0)
    stage.pass_time(0.05)
    stage.starting = 2
    stage.ask(waiting=1, executing=21)
    return stage


def test_calls_in_containers_that_start_become_stale_without_being_told_again() -> None:
    stage = full()
    runs(stage, 10, 1.0)
    stage.pass_time(0.06)
    assert stage.desired == 7, "seven fresh messages, and seven containers"
    stage.pass_time(0.1)
    # Six stale ones, a container does 0.3 of one in time: six, less the two on their way.
    assert stage.desired == 7 + 4


def test_duration_that_becomes_known_counts_for_calls_in_containers_that_start() -> None:
    stage = full()
    stage.pass_time(0.5)
    assert (stage.desired, stage.decisions[-1][1].inputs["stale"]) == (7, 6)
    runs(stage, 10, 1.0)
    stage.pass_time(0.1)
    assert stage.desired == 7 + 4


class Ticking(Fpc):
    """Looks at its queue at each check, as long as there is one."""

    def starts(self, seen: Situation, now: float) -> int:
        added = super().starts(seen, now)
        if self.check_at is None and self._messages is not None and not self._messages.is_over(now):
            self.check_at = self._next_check(self._messages, now)
        return added


class Full(Stage):
    """When calls wait, all containers are full, those that start too."""

    def want(self, number: int) -> None:
        full = (self.ready + self.starting) * self.concurrency
        self.ask(waiting=number + 1, executing=full, oldest_wait_s=number / 50)

    def second(self, number: int) -> None:
        runs(self, number, 0.02 * number * number, peak=number + 1)


happenings = st.lists(
    st.tuples(
        st.sampled_from(("want", "want", "join", "second")),
        st.integers(0, 12),
        st.sampled_from([0.003, 0.04, 0.12, 0.4, 2.0]),
    ),
    min_size=5,
    max_size=40,
)
VARIANTS: list[dict[str, Any]] = [{}, {"concurrency": 3}, {"namespace_limit": 6}]


@pytest.mark.parametrize("said", VARIANTS, ids=str)
@given(events=happenings)
@settings(max_examples=60, deadline=None)
def test_skipped_checks_would_have_changed_nothing(said: dict[str, Any], events: list[Step]) -> None:
    skipping, ticking = (
        Full({"engine": "openwhisk", "scheduler": "fpc", **said}, concurrency=said.get("concurrency", 1))
        for _ in range(2)
    )
    ticking.scaler._fpc = Ticking(ticking.settings, ticking.most)  # type: ignore[attr-defined, arg-type]
    for stage in (skipping, ticking):
        stage.play([*events, ("want", 0, 0.0), ("second", 0, 60.0)])
    assert skipping.changes == ticking.changes
    assert len(skipping.decisions) <= len(ticking.decisions)


# -- settings -----------------------------------------------------------------------------------------------

REFUSED = [
    ({"scheduler": "new"}, "scaling.scheduler = 'new', must be one of classic, fpc"),
    ({"concurrency": 0}, "scaling.concurrency = 0, must be a whole number between 1 and 1000"),
    ({"pause_grace_s": -1}, "scaling.pause_grace_s = -1, must be a number between 0 and 3600"),
    ({"idle_container_s": 0}, "scaling.idle_container_s = 0, must be a number between 0.1 and 86400"),
    ({"namespace_limit": 0}, "scaling.namespace_limit = 0, must be a whole number between 1 and 100000"),
    ({"namespace_limit": 2}, "scaling.namespace_limit = 2, must not be below min = 3"),
    ({"keeping": 2}, "scaling.keeping = 2, only counts with scheduler = fpc, which must be said too"),
    ({"over_provision": True}, "scaling.over_provision = true, only counts with scheduler = fpc"),
    ({"scheduler": "fpc", "over_provision_ratio": 0.5}, "must be a number between 1 and 100"),
    ({"user_memory": 1024}, "scaling.user_memory is no setting of it, must be one of scheduler, concurrency, "),
]


@pytest.mark.parametrize(("said", "sentence"), REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_impossible_value_is_refused_with_what_is_allowed(said: dict[str, Any], sentence: str) -> None:
    (problem,) = scaling_problems({"engine": "openwhisk", **said}, 3, 10)
    assert sentence in problem
