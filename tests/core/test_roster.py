"""The roster as events in, exact actions out."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from corral.model import ExitCause, GatewayId, InstanceId, Observation, RevisionId
from corral.policy import SCALERS, Rule, Terms
from corral.policy.corral import Corral, CorralSettings
from corral.roster import Action, Assign, Block, Decided, Release, Retire, Roster, Scaling, Start, Stop, read_scaling
from corral.roster.convergence import Convergence

F, G = RevisionId("default/f@1"), RevisionId("default/g@1")
GATE, OTHER = GatewayId("gate"), GatewayId("other")


def scaling(**changes: object) -> Scaling:
    settings = {"min": 0, "max": 100, "initial": 0, "idle_s": 15.0, "concurrency": 1} | changes
    return Scaling(**settings)  # type: ignore[arg-type]


def connected(cores: int = 2) -> Roster:
    roster = Roster("b", cores, random.Random(0))
    roster.keeper_up({}, 0.0)
    roster.gateway_up(GATE, {}, 0.0)
    return roster


def serving(ready: int = 0, **changes: Any) -> Roster:
    """A deployed revision F with `ready` instances, which came up one after the other."""
    roster = connected()
    roster.deployed(F, scaling(**changes), 0.0)
    roster.settled(F, 0.0)
    for _ in range(ready):
        roster.want(GATE, F, 1, 0, 0.0, 0.0)
        roster.ready(starting(roster)[0], int(changes.get("concurrency", 1)), 0.0)
    return roster


def i(number: int) -> InstanceId:
    return InstanceId(f"b-{number}")


def started(number: int, revision: RevisionId = F, gateway: GatewayId = GATE) -> list[Action]:
    return [Start(i(number), revision), Assign(i(number), revision, gateway, True)]


def deeds(actions: Sequence[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Decided)]


def in_state(roster: Roster, state: str, revision: RevisionId = F) -> list[InstanceId]:
    return [view.instance for view in roster.instances(revision) if view.state == state]


def starting(roster: Roster) -> list[InstanceId]:
    return in_state(roster, "starting")


def run(roster: Roster, until: float) -> list[tuple[float, Action]]:
    """Ticks up to `until`; what was done, with its moment."""
    done: list[tuple[float, Action]] = []
    while roster.next_at is not None and roster.next_at <= until:
        now = roster.next_at
        done += [(now, action) for action in deeds(roster.tick(now))]
    return done


# -- demand ---------------------------------------------------------------------------------------------------


def test_first_waiting_call_starts_one_instance_at_once_and_gives_it_to_the_gateway() -> None:
    roster = serving()
    decided, *rest = roster.want(GATE, F, 5, 0, 0.0, 1.0)
    assert rest == started(1)
    assert isinstance(decided, Decided)
    assert (decided.desired, decided.have) == (1, 0)
    assert decided.why == "5 calls waiting, oldest 0 ms; first start"
    assert decided.inputs["waiting"] == 5
    assert roster.why(F) == decided


def test_second_start_waits_until_the_oldest_call_is_older_than_50_ms() -> None:
    roster = serving()
    roster.want(GATE, F, 5, 0, 0.0, 1.0)
    assert list(roster.want(GATE, F, 9, 1, 0.05, 1.05)) == []
    assert deeds(roster.want(GATE, F, 9, 1, 0.051, 1.06)) == started(2)


def test_starts_double_up_to_twice_the_cores() -> None:
    roster = serving()
    starts = [len(deeds(roster.want(GATE, F, 50, 0, 0.06, 1.0 + n / 100))) // 2 for n in range(5)]
    assert starts == [1, 1, 2, 0, 0]
    last = roster.why(F)
    assert last is not None and last.why == "50 calls waiting, oldest 60 ms; doubling 2 → 4 starts"


def test_starts_in_progress_never_exceed_the_waiting_calls() -> None:
    roster = serving()
    roster.want(GATE, F, 4, 0, 0.06, 1.0)
    roster.want(GATE, F, 4, 1, 0.06, 1.01)
    assert deeds(roster.want(GATE, F, 3, 2, 0.06, 1.02)) == started(3)


def test_one_waiting_call_gets_one_start_however_long_that_takes() -> None:
    roster = serving()
    assert deeds(roster.want(GATE, F, 1, 0, 0.0, 1.0)) == started(1)
    assert [deeds(roster.want(GATE, F, 1, 0, n / 10, 1.0 + n / 10)) for n in range(1, 20)] == [[]] * 19


def test_waiting_calls_are_counted_in_instances() -> None:
    roster = serving(concurrency=10)
    roster.want(GATE, F, 10, 0, 0.06, 1.0)
    assert deeds(roster.want(GATE, F, 10, 0, 0.06, 1.01)) == []
    assert deeds(roster.want(GATE, F, 11, 0, 0.06, 1.02)) == started(2)


def test_busy_instances_and_no_start_in_progress_start_one_more() -> None:
    roster = serving(ready=3)
    assert deeds(roster.want(GATE, F, 1, 3, 0.0, 1.0)) == started(4)


def test_max_holds_whatever_waits() -> None:
    roster = serving(ready=2, max=2)
    decided = roster.want(GATE, F, 9, 2, 1.0, 1.0)
    assert deeds(decided) == []
    last = roster.why(F)
    assert last is not None and last.desired == 2


def test_instance_that_is_ending_counts_until_it_is_gone() -> None:
    roster = serving(ready=1, max=1)
    assert deeds(roster.overrun(i(1), 1.0)) == [Stop(i(1), ExitCause.TIMEOUT)]
    assert deeds(roster.want(GATE, F, 1, 0, 0.0, 1.1)) == []
    assert deeds(roster.lost(i(1), 1.2)) == started(2)


def test_growing_load_is_met_ahead_of_waiting_calls() -> None:
    roster = serving(ready=1)
    busy = Observation(arrived=1000, completed=1000, service_s=10.0, peak=1)
    assert deeds(roster.observed(GATE, F, busy, 1.0)) == started(2)  # 100 calls/s over 10 s x 10 ms / 0.7
    last = roster.why(F)
    assert last is not None and last.why == "100 calls/s of 10 ms need 2 at 70% of 1 at once"


# -- scaling down ---------------------------------------------------------------------------------------------


def test_idle_revision_goes_to_zero_in_two_phases() -> None:
    roster = serving(ready=2)
    assert run(roster, 14.9) == []
    assert run(roster, 15.0) == [(15.0, Release(GATE, F, 2))]
    assert list(roster.released(i(2), 15.01)) == [Stop(i(2), ExitCause.STOPPED)]
    assert list(roster.released(i(1), 15.01)) == [Stop(i(1), ExitCause.STOPPED)]
    roster.lost(i(1), 15.02)
    roster.lost(i(2), 15.02)
    assert roster.instances(F) == []
    run(roster, 60.0)
    assert roster.next_at is None


def test_busy_instances_are_not_asked_back_and_idle_ones_are() -> None:
    roster = serving(ready=3)
    for second in range(1, 31):
        actions = roster.observed(GATE, F, Observation(peak=2, executing_s=2.0), float(second))
        asked = [(at, action) for at, action in run(roster, second + 0.5)]
        if deeds(actions) or asked:
            break
    assert (asked or deeds(actions)) == [Release(GATE, F, 1)]
    assert second == 15


def test_min_is_kept_without_any_call() -> None:
    roster = serving(min=2)
    assert starting(roster) == [i(1), i(2)]
    roster.ready(i(1), 1, 0.1)
    roster.ready(i(2), 1, 0.1)
    assert run(roster, 1000.0) == []


def test_lost_instance_below_min_is_replaced() -> None:
    roster = serving(min=1)
    roster.ready(i(1), 1, 0.1)
    assert deeds(roster.lost(i(1), 100.0)) == started(2)


def test_lost_instance_that_its_rule_keeps_is_replaced_without_a_call() -> None:
    engine, settings = read_scaling(
        {"engine": "knative", "scale_to_zero": False, "window_s": 6, "target_utilization_percent": 100}
    )
    roster = serving(engine=engine, settings=settings)
    roster.want(GATE, F, 1, 0, 0.0, 0.0)
    roster.ready(i(1), 1, 0.0)
    run(roster, 100.0)
    assert roster.next_at is None, "its rule is asleep"
    assert deeds(roster.lost(i(1), 100.0)) == started(2)


def test_instance_that_keeps_crashing_early_is_replaced_ever_more_slowly() -> None:
    roster = serving(min=1)
    now, gaps = 0.0, []
    for number in range(1, 6):
        roster.ready(i(number), 1, now)
        assert deeds(roster.lost(i(number), now)) == []
        ((at, _), _) = run(roster, now + 60)
        gaps.append(round(at - now, 3))
        now = at
    assert gaps == [0.01, 0.02, 0.04, 0.08, 0.16]


def test_unanswered_release_is_asked_again() -> None:
    roster = serving(ready=1)
    asked = run(roster, 17.5)
    assert asked == [(at, Release(GATE, F, 1)) for at in (15.0, 16.0, 17.0)]


# -- deployments ----------------------------------------------------------------------------------------------


def test_deployment_starts_initial_and_keeps_it_only_until_it_counts() -> None:
    roster = connected()
    assert deeds(roster.deployed(F, scaling(initial=2), 0.0)) == started(1) + started(2)
    roster.ready(i(1), 1, 0.1)
    roster.ready(i(2), 1, 0.1)
    assert run(roster, 100.0) == []
    roster.settled(F, 100.0)
    assert run(roster, 115.0) == [(115.0, Release(GATE, F, 2))]


def test_scaler_is_told_how_many_instances_a_deployment_begins_with(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    class Told(Corral):
        def retune(self, terms: Terms) -> None:
            told.append(terms.initial)
            super().retune(terms)

    monkeypatch.setitem(SCALERS, "corral", Rule(CorralSettings, Told))
    roster = connected()
    roster.deployed(F, scaling(min=1), 0.0)
    roster.required(F, 3, 0.0)
    roster.rescaled(F, scaling(max=50), 0.1)
    roster.settled(F, 0.2)
    assert told == [0, 3, 3, 0]


def test_removed_revision_retires_its_instances_and_stops_them_when_idle() -> None:
    roster = serving(ready=1)
    roster.want(GATE, F, 1, 1, 0.0, 1.0)
    assert list(roster.removed(F, 2.0)) == [Retire(GATE, i(1)), Retire(GATE, i(2))]
    assert list(roster.released(i(1), 2.1)) == [Stop(i(1), ExitCause.REMOVED)]
    assert list(roster.want(GATE, F, 9, 0, 1.0, 2.2)) == []
    roster.lost(i(1), 2.2)
    roster.lost(i(2), 2.2)
    assert roster.next_at is None
    assert roster.why(F) is None


# -- failures -------------------------------------------------------------------------------------------------


def test_load_failure_blocks_for_1_s_then_twice_as_long_up_to_a_minute() -> None:
    roster = serving()
    now, waits = 0.0, []
    for number in range(1, 9):
        roster.want(GATE, F, 1, 0, 0.0, now)
        stop, block = deeds(roster.failed(i(number), "no module named panda", "load", now))
        assert stop == Stop(i(number), ExitCause.LOAD_FAILED)
        assert isinstance(block, Block)
        roster.lost(i(number), now)
        assert deeds(roster.want(GATE, F, 1, 0, 0.0, block.until - 0.001)) == []
        waits.append(block.until - now)
        now = block.until
        run(roster, now)
        assert starting(roster) == [i(number + 1)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_failures_of_starts_made_together_count_once() -> None:
    roster = serving(min=3)
    blocks = [deeds(roster.failed(i(number), "broken", "start", 0.5))[0] for number in (1, 2, 3)]
    assert blocks == [Block(F, "broken", 1.5, "start")] * 3


def test_min_is_tried_again_after_the_back_off() -> None:
    roster = serving(min=1)
    roster.failed(i(1), "broken", "load", 0.0)
    roster.lost(i(1), 0.0)
    assert run(roster, 5.0) == [(1.0, action) for action in started(2)]


def test_deployment_ends_the_back_off() -> None:
    roster = serving(min=1)
    roster.failed(i(1), "broken", "load", 0.0)
    roster.lost(i(1), 0.0)
    assert deeds(roster.deployed(F, scaling(min=1), 0.1)) == [Block(F, "", 0.1, ""), *started(2)]


def test_success_ends_the_back_off() -> None:
    roster = serving(min=2)
    roster.failed(i(1), "broken", "load", 0.0)
    assert deeds(roster.ready(i(2), 1, 0.1))[0] == Block(F, "", 0.1, "")


# -- who is connected -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["keeper", "gateway"])
def test_nothing_starts_before_both_are_connected(first: str) -> None:
    roster = Roster("b", 2, random.Random(0))
    assert deeds(roster.deployed(F, scaling(min=1), 0.0)) == []
    if first == "keeper":
        assert deeds(roster.keeper_up({}, 0.1)) == []
        assert deeds(roster.gateway_up(GATE, {}, 0.2)) == started(1)
    else:
        assert deeds(roster.gateway_up(GATE, {}, 0.1)) == []
        assert deeds(roster.keeper_up({}, 0.2)) == started(1)


X, Y = InstanceId("a-1"), InstanceId("a-2")


@pytest.mark.parametrize("first", ["keeper", "gateway"])
def test_restarted_engine_adopts_what_serves_and_stops_none(first: str) -> None:
    roster = Roster("b", 2, random.Random(0))
    roster.deployed(F, scaling(min=2), 0.0)
    roster.settled(F, 0.0)
    actions: list[Action] = []
    if first == "keeper":
        actions += roster.keeper_up({X: F, Y: F}, 1.0)
        actions += roster.gateway_up(GATE, {F: [X]}, 1.0)
    else:
        actions += roster.gateway_up(GATE, {F: [X]}, 1.0)
        actions += roster.keeper_up({X: F, Y: F}, 1.0)
    assert deeds(actions) == [Assign(Y, F, GATE, False)]
    assert in_state(roster, "ready") == [X, Y]


def test_adopted_instances_go_when_they_stay_idle() -> None:
    roster = Roster("b", 2, random.Random(0))
    roster.deployed(F, scaling(), 0.0)
    roster.settled(F, 0.0)
    roster.gateway_up(GATE, {F: [X]}, 1.0)
    roster.keeper_up({X: F}, 1.0)
    assert run(roster, 16.0) == [(16.0, Release(GATE, F, 1))]


@pytest.mark.parametrize("first", ["keeper", "gateway"])
def test_instance_of_a_deleted_function_ends_after_its_calls(first: str) -> None:
    roster = Roster("b", 2, random.Random(0))
    actions: list[Action] = []
    if first == "keeper":
        actions += roster.keeper_up({X: F, Y: F}, 1.0)
        actions += roster.gateway_up(GATE, {F: [X]}, 1.0)
    else:
        actions += roster.gateway_up(GATE, {F: [X]}, 1.0)
        actions += roster.keeper_up({X: F, Y: F}, 1.0)
    assert actions == [Retire(GATE, X), Stop(Y, ExitCause.REMOVED)]
    assert list(roster.released(X, 2.0)) == [Stop(X, ExitCause.REMOVED)]


def test_instance_the_keeper_does_not_know_is_lost() -> None:
    roster = connected()
    roster.deployed(F, scaling(), 0.0)
    roster.settled(F, 0.0)
    assert list(roster.gateway_up(GATE, {F: [X]}, 1.0)) == [Stop(X, ExitCause.KEEPER_LOST)]
    roster.lost(X, 1.1)
    assert roster.instances(F) == []


def test_instances_lost_with_their_keeper_are_replaced_up_to_min() -> None:
    roster = serving(min=1)
    roster.ready(i(1), 1, 0.1)
    roster.keeper_down(5.0)
    assert deeds(roster.keeper_up({}, 6.0)) == started(2)


def test_new_gateway_inherits_the_instances_of_the_one_that_died() -> None:
    roster = serving(ready=2)
    assert list(roster.gateway_down(GATE, 1.0)) == []
    assert deeds(roster.gateway_up(OTHER, {}, 1.1)) == [Assign(i(1), F, OTHER, False), Assign(i(2), F, OTHER, False)]


def test_reconnected_gateway_is_given_only_what_it_lacks() -> None:
    roster = serving(ready=2)
    roster.gateway_down(GATE, 1.0)
    assert deeds(roster.gateway_up(GATE, {F: [i(2)]}, 1.1)) == [Assign(i(1), F, GATE, False)]


def test_retired_instance_of_a_dead_gateway_is_stopped() -> None:
    roster = serving(ready=1)
    roster.removed(F, 1.0)
    roster.gateway_down(GATE, 1.1)
    assert list(roster.gateway_up(OTHER, {}, 1.2)) == [Stop(i(1), ExitCause.REMOVED)]


def test_stop_that_a_keeper_missed_is_said_again() -> None:
    roster = serving(ready=1)
    roster.keeper_down(1.0)
    roster.overrun(i(1), 1.1)
    assert Stop(i(1), ExitCause.STOPPED) in roster.keeper_up({i(1): F}, 1.2)


def test_nothing_is_released_while_no_gateway_is_connected() -> None:
    roster = serving(ready=1)
    roster.gateway_down(GATE, 1.0)
    assert run(roster, 100.0) == []
    assert deeds(roster.gateway_up(OTHER, {}, 101.0)) == [Assign(i(1), F, OTHER, False)]
    assert run(roster, 116.0) == [(116.0, Release(OTHER, F, 1))]


# -- time -----------------------------------------------------------------------------------------------------


def test_idle_revisions_are_never_woken() -> None:
    roster = connected()
    for number in range(1000):
        revision = RevisionId(f"default/f{number}@1")
        roster.deployed(revision, scaling(), 0.0)
        roster.settled(revision, 0.0)
    assert roster.next_at is None


def test_steady_load_converges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As most seconds of most revisions are: what is asked then must cost little."""
    roster = serving(ready=1)
    run(roster, 1.0)
    converged: list[float] = []
    converge = Convergence.converge
    monkeypatch.setattr(
        Convergence, "converge", lambda self, known, now: converged.append(now) or converge(self, known, now)
    )
    for second in range(1, 61):
        assert roster.observed(GATE, F, Observation(arrived=3, completed=3, peak=1, service_s=0.03), second) == []
        assert run(roster, second + 0.999) == []
    assert converged == []


def test_wants_by_the_thousand_leave_few_timers_behind() -> None:
    roster = serving(ready=1)
    for number in range(10_000):
        roster.want(GATE, F, 1, 1, 0.0, 1.0 + number / 100)
    assert len(roster._timers) < 10
