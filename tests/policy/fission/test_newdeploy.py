"""Fission's new-deploy. Source of the rules: fission, executortype/newdeploy and reaper/idle; of the arithmetic: the
cases of tests/policy/test_hpa.py."""

import pytest

from .stage import Function


def deployed(least: int = 0, most: int = 10, **said: float | str) -> Function:
    function = Function(least, most, executor="newdeploy", **said)
    function.ask()
    return function


def seconds(function: Function, count: int, cpu_each: float, peak: int = 1) -> int:
    """So many, in which each instance takes so much cpu."""
    wanted = 0
    for _ in range(count):
        function.now += 1.0
        function.second(peak)
        wanted = function.use(cpu_each * function.ready)
    return wanted


def test_first_call_to_a_function_at_zero_brings_one_instance() -> None:
    function = deployed()
    assert function.want(1) == 1
    assert function.last.why == "a call waits"


def test_more_calls_bring_no_more() -> None:
    function = deployed()
    function.want(1)
    function.ready = 1
    assert function.want(50, 1) == 1
    assert seconds(function, 15, 1.0) == 2
    function.ready = 2
    assert function.want(50, 2) == 2


@pytest.mark.parametrize(
    ("cpu_each", "wanted"),
    [
        pytest.param(0.80, 2, id="at the target"),
        pytest.param(0.87, 2, id="within a tenth of it"),
        pytest.param(1.00, 3, id="above it"),
        pytest.param(0.30, 2, id="below it: not before five minutes"),
    ],
)
def test_cpu_sizes_it_every_15_s(cpu_each: float, wanted: int) -> None:
    function = Function(0, 10, executor="newdeploy")
    function.ready = 2
    function.ask(joined=True)
    assert seconds(function, 14, cpu_each) == 2
    assert seconds(function, 1, cpu_each) == wanted


def test_decision_shows_the_cpu_it_went_by() -> None:
    function = Function(0, 10, executor="newdeploy")
    function.ready = 2
    function.ask(joined=True)
    seconds(function, 15, 0.5)
    inputs = function.last.inputs
    assert [inputs[name] for name in ("cpu_percent", "measured", "target", "called")] == [50, 2, 80, 1]
    assert function.last.why == "50 % cpu in each, 80 aimed at"


def test_without_calls_it_goes_to_its_minimum_at_the_reapers_tick() -> None:
    function = Function(1, 10, executor="newdeploy", idle_timeout_s=60)
    function.ready = 4
    function.ask(joined=True)
    assert function.pass_time(300) == [(60.0, 1)]
    assert function.last.next_at is None


def test_without_calls_it_goes_to_zero_if_that_is_its_minimum() -> None:
    function = deployed(idle_timeout_s=60)
    function.want(1)
    function.ready = 1
    assert function.pass_time(300) == [(60.0, 0)]
    assert function.last.next_at is None
    assert function.want(1) == 1


def test_calls_keep_it_whatever_its_cpu() -> None:
    function = deployed(idle_timeout_s=30)
    function.want(1)
    function.ready = 1
    assert seconds(function, 100, 0.0) == 1


def test_function_that_changes_its_executor_keeps_what_stands() -> None:
    function = Function()
    function.want(3)
    function.ready = 3
    function.retune(executor="newdeploy")
    assert function.ask(joined=True) == 3
    function.retune(executor="poolmgr")
    assert function.ask(joined=True) == 3
