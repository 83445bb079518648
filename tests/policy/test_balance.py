"""Which instance takes a call, by each rule of CHOOSERS: a script of calls and ends, and who got the calls."""

import random
from collections import Counter

import pytest

from corral.model import CallId, InstanceId, RevisionId
from corral.policy.balance import CHOOSERS, UNLIMITED
from corral.pool import Dispatch, Limits, Outcome, Pool, Released


class Script:
    """Instances a, b, c, … in a pool. `+` is a call, a letter ends the oldest call of that instance."""

    def __init__(self, choose: str, instances: str, concurrency: int, once: bool = False) -> None:
        limits = Limits(concurrency=concurrency, queue=1000, choose=choose, once=once)
        self.pool = Pool(RevisionId("default/f@1"), limits, random.Random(1))
        self.calls: dict[str, list[CallId]] = {each: [] for each in instances}
        self.last = 0
        self.released: list[str] = []
        for each in instances:
            self.pool.joined(InstanceId(each), 0.0)

    def play(self, script: str) -> str:
        """Who took each call; `-`: nobody, it waits."""
        return "".join(self._call() if step == "+" else self._end(step) for step in script)

    def _call(self) -> str:
        self.last += 1
        for action in self.pool.offer(CallId(self.last), self.last / 10, 1e9):
            if isinstance(action, Dispatch):
                self.calls[action.instance].append(action.call)
                return action.instance
        return "-"

    def _end(self, instance: str) -> str:
        taken = ""
        for action in self.pool.done(self.calls[instance].pop(0), Outcome.OK, self.last / 10 + 0.05):
            if isinstance(action, Dispatch):
                self.calls[action.instance].append(action.call)
                taken += action.instance
            elif isinstance(action, Released):
                self.released.append(action.instance)
        return taken


@pytest.mark.parametrize(
    ("choose", "concurrency", "script", "taken"),
    [
        pytest.param("most_recent", 1, "+++", "cba", id="most recent: the one that changed last"),
        pytest.param("most_recent", 1, "+++abc+", "cbac", id="most recent: the one that ended last"),
        pytest.param("most_recent", 2, "+++", "ccb", id="most recent: filled before an idle one is woken"),
        pytest.param("knative", 4, "+++++", "abcab", id="Knative, more than three at once: in turns"),
        pytest.param("knative", 4, "+a+b+c+", "abca", id="Knative, turns: an end changes none"),
        pytest.param("knative", 4, "+" * 12 + "b++", "abc" * 4 + "b-", id="Knative, turns: full ones are passed over"),
        pytest.param("knative", 1, "+++", "abc", id="Knative, one at once: in order of joining"),
        pytest.param("knative", 1, "+++cb+", "abcb", id="Knative, one at once: the first that is free"),
        pytest.param("knative", 3, "+++++", "aaabb", id="Knative, three at once: filled one after the other"),
        pytest.param("knative", 3, "++++a+", "aaaba", id="Knative, three at once: back to the first"),
        pytest.param("fewest", 3, "++++", "abca", id="fewest: spread before any is filled"),
        pytest.param("fewest", 3, "++++++bb+", "abcabcb", id="fewest: the one with fewest calls"),
        pytest.param("fewest", 3, "+++ca+", "abca", id="fewest: of equals the one that joined first"),
        pytest.param("fewest", 1, "+a+a+", "aaa", id="fewest: one call after the other stays with the first"),
    ],
)
def test_calls_go_where_the_rule_says(choose: str, concurrency: int, script: str, taken: str) -> None:
    assert Script(choose, "abc", concurrency).play(script) == taken


def test_of_two_drawn_the_one_with_fewer_calls_is_taken() -> None:
    script = Script("knative", "ab", UNLIMITED)
    assert Counter(script.play("+" * 40)) == {"a": 20, "b": 20}


@pytest.mark.parametrize("choose", ["knative", "random"])
def test_random_choice_reaches_all_and_is_the_same_for_the_same_seed(choose: str) -> None:
    first, second = (Script(choose, "abcdefgh", UNLIMITED).play("+" * 30) for _ in range(2))
    assert first == second
    assert set(first) == set("abcdefgh")


@pytest.mark.parametrize("choose", CHOOSERS)
def test_no_call_waits_while_a_slot_is_free_and_none_gets_one_that_is_not(choose: str) -> None:
    script = Script(choose, "abc", 3)
    assert Counter(script.play("+" * 11)) == {"a": 3, "b": 3, "c": 3, "-": 2}
    assert script.play("ab") == "ab", "those that waited take what is freed"


@pytest.mark.parametrize("choose", CHOOSERS)
def test_instance_for_one_call_is_given_up_after_it(choose: str) -> None:
    script = Script(choose, "ab", 3, once=True)
    first, second, third = script.play("+++")
    assert ({first, second}, third) == ({"a", "b"}, "-")
    assert script.play(first) == "", "what it had room for goes to another"
    assert script.released == [first]
    assert script.pool.joined(InstanceId("c"), 1.0) == [Dispatch(CallId(3), InstanceId("c"))]


def test_instances_that_may_have_had_a_call_are_retired_when_each_is_to_take_one_only() -> None:
    script = Script("most_recent", "ab", 1)
    script.play("+")
    limits = Limits(concurrency=1, queue=1000, once=True)
    assert script.pool.configure(limits, 1.0) == [Released(InstanceId("a"))]
    script.play("b")
    assert script.released == ["b"]


@pytest.mark.parametrize("choose", CHOOSERS)
def test_another_rule_takes_over_what_stands(choose: str) -> None:
    script = Script("most_recent", "abc", 2)
    script.play("++++")
    script.pool.configure(Limits(concurrency=2, queue=1000, choose=choose), 1.0)
    assert Counter(script.play("+++")) == {"a": 2, "-": 1}
