"""What stays and what comes back, by what was seen of idle times."""

import random
from itertools import pairwise
from typing import Any

import pytest

from corral.model import Observation
from corral.policy import SCALERS, Decision, Situation, Terms, read_scaling
from corral.policy.corral import Habits, Odds

RULE = SCALERS["corral"]
MINUTE_S = 60.0


class Function:
    """One function of 64 MiB, whose starts take 5 ms; an instance is there as soon as it is wanted."""

    def __init__(self, idle_s: float | None = None, odds: Odds | None = None, **said: Any) -> None:
        self.habits, self.odds = Habits(), Odds() if odds is None else odds
        self.idle_s, self.trigger = idle_s, "http"
        self.now, self.have = 1000.0, 0
        self.next_at: float | None = None
        self.stays: list[tuple[float, int]] = []
        """(moment, instances) at each change."""
        self.redeploy(**said)

    def redeploy(self, **said: Any) -> None:
        self.scaler = RULE.make(self.terms(**said))

    def terms(self, **said: Any) -> Terms:
        return Terms(
            settings=read_scaling(said)[1],
            idle_s=self.idle_s,
            cores=2,
            rng=random.Random(1),
            trigger=self.trigger,
            memory=self.habits,
            common=self.odds,
        )

    def ask(self, **seen: Any) -> Decision:
        decision = self.scaler.decide(
            Situation(ready=self.have, starting=0, concurrency=1, start_s=0.005, memory_mib=64, **seen), self.now
        )
        assert decision.desired is not None
        if decision.desired != self.have:
            self.stays.append((self.now, decision.desired))
        self.have, self.next_at = decision.desired, decision.next_at
        return decision

    def pass_until(self, moment: float) -> None:
        while self.next_at is not None and self.next_at <= moment:
            self.now = self.next_at
            self.ask()
        self.now = moment

    def call(self, moment: float, at_once: int = 1) -> bool:
        """Whether it found an instance. It is short, and its second closes half a second later."""
        self.pass_until(moment)
        was_warm = self.have >= at_once
        while self.have < at_once:
            self.ask(waiting=at_once - self.have, executing=self.have)
            self.ask(joined=True)
        self.pass_until(moment + 0.5)
        self.ask(second=Observation(arrived=at_once, completed=at_once, peak=at_once, service_s=0.02 * at_once))
        return was_warm

    def call_every(self, period_s: float, times: int, at_once: int = 1) -> list[bool]:
        """Whether each of them found an instance."""
        last = self.now - self.now % 0.5
        return [self.call(last + number * period_s, at_once) for number in range(1, times + 1)]

    def idle_s_in(self, since: float) -> float:
        """Instance-seconds from then to now."""
        changes = [(since, 0), *((max(at, since), count) for at, count in self.stays), (self.now, 0)]
        return sum((b[0] - a[0]) * a[1] for a, b in pairwise(changes))


def test_function_called_by_the_clock_is_warm_for_each_call_and_hardly_in_between() -> None:
    function = Function()
    function.call_every(30 * MINUTE_S, 6)
    begun = function.now
    assert all(function.call_every(30 * MINUTE_S, 10))
    assert function.idle_s_in(begun) < 10 * 4 * MINUTE_S


def test_function_never_called_again_goes_and_has_no_timer() -> None:
    function = Function()
    function.call(function.now)
    function.pass_until(function.now + 86_400)
    assert (function.have, function.next_at) == (0, None)


def test_periodic_function_that_is_called_no_more_is_given_up_within_a_day() -> None:
    function = Function()
    function.call_every(10 * MINUTE_S, 20)
    function.pass_until(function.now + 2 * 86_400)
    assert (function.have, function.next_at) == (0, None)


def test_the_dearer_a_second_the_longer_it_stays() -> None:
    """Calls at random: what it costs never falls with the knob, and misses never rise."""
    moments = [1000.0]
    rng = random.Random(5)
    while moments[-1] < 20_000:
        moments.append(moments[-1] + rng.expovariate(1 / 400))
    misses, idle_s = [], []
    for price in (0, 10, 100, 1_000, 1_000_000):
        function = Function(second_gib_min=price)
        misses.append(sum(not function.call(moment) for moment in moments))
        idle_s.append(function.idle_s_in(0.0))
    assert misses == sorted(misses, reverse=True)
    assert idle_s == sorted(idle_s)
    assert misses[-1] == 1


@pytest.mark.parametrize("idle_s", [2.0, 15.0, 600.0])
def test_idle_time_that_was_set_is_kept_to_the_second_whatever_was_learned(idle_s: float) -> None:
    function = Function(idle_s=idle_s)
    function.call_every(30 * MINUTE_S, 20)
    last = function.now
    function.pass_until(last + idle_s - 0.001)
    assert function.have == 1
    function.pass_until(last + idle_s)
    assert function.have == 0
    assert function.ask().why == f"idle for {idle_s:g} s"


def test_second_instance_goes_before_the_first_when_it_is_needed_less() -> None:
    function = Function()
    for _ in range(20):
        function.call_every(5.0, 11)
        function.call(function.now + 5, at_once=2)
    function.call_every(5.0, 5)
    assert function.have == 1


def test_what_was_learned_of_a_function_serves_its_next_revision() -> None:
    function = Function()
    function.call_every(30 * MINUTE_S, 10)
    function.redeploy()
    assert function.call_every(30 * MINUTE_S, 4) == [False, True, True, True]


def test_revision_whose_calls_go_elsewhere_is_not_started_again() -> None:
    function = Function()
    function.call_every(10 * MINUTE_S, 10)
    old, at = function.scaler, function.next_at
    assert at is not None
    function.redeploy()
    function.call(function.now + 1)
    wanted = old.decide(Situation(ready=0, starting=0, concurrency=1, memory_mib=64), function.now + 10 * MINUTE_S)
    assert (wanted.desired, wanted.next_at) == (0, None)


def test_what_others_did_is_expected_of_a_new_function() -> None:
    odds = Odds()
    for _ in range(20):
        Function(odds=odds).call_every(3.0, 30)
    one_shot = Odds()
    for _ in range(60):
        function = Function(odds=one_shot, second_gib_min=10_000)
        function.call(function.now)
        function.pass_until(function.now + 86_400)
    stays = []
    for each in (odds, one_shot):
        function = Function(odds=each, second_gib_min=10)
        function.call(function.now)
        function.pass_until(function.now + 3600)
        stays.append(function.idle_s_in(0.0))
    assert stays[0] >= 2 * stays[1]


def test_of_many_idle_times_the_latest_are_remembered() -> None:
    function = Function()
    function.call_every(7 * MINUTE_S, 40)
    (habit,) = function.habits.instances
    assert len(habit.long) == 16
    assert len(habit.short) == 8
