"""The newer scheduler's decision, case by case, as its numbered rules have it. Stale after 100 ms."""

from typing import Any

import pytest

from corral.policy.openwhisk.decision import Queue, Result, State, Step, decide

SKIP = Result(Step.SKIP)


def add(number: int) -> Result:
    return Result(Step.ADD, number)


CASES = [
    # 1. the first container
    pytest.param({"messages": 0, "is_initialized": False}, add(1), id="new queue"),
    pytest.param({"messages": 0}, SKIP, id="no container and no message"),
    pytest.param({"messages": 1}, add(1), id="no container and a message"),
    pytest.param({"messages": 9, "duration_s": 0.001}, add(1), id="one at first, however many messages"),
    pytest.param({"messages": 1, "in_progress": 1}, SKIP, id="on its way"),
    # 2. before an activation was completed
    pytest.param({"messages": 4, "existing": 1}, SKIP, id="nothing is stale"),
    pytest.param({"messages": 4, "stale": 2, "existing": 1}, add(2), id="one for each stale message"),
    pytest.param({"messages": 4, "stale": 4, "in_progress": 3}, add(1), id="less those on their way"),
    pytest.param({"messages": 4, "stale": 4, "in_progress": 5}, SKIP, id="enough are on their way"),
    pytest.param(
        {"messages": 9, "stale": 9, "existing": 1, "concurrency": 4}, add(3), id="four at once in a container"
    ),
    # 3. with a duration: stale messages
    pytest.param({"messages": 2, "stale": 2, "existing": 1, "duration_s": 1.0}, add(2), id="slow: one for each stale"),
    pytest.param({"messages": 20, "stale": 20, "existing": 1, "duration_s": 0.01}, add(2), id="a container does ten"),
    pytest.param({"messages": 20, "stale": 20, "existing": 1, "duration_s": 0.05}, add(10), id="a container does two"),
    pytest.param({"messages": 5, "stale": 5, "existing": 1, "duration_s": 0.0}, add(5), id="no time: one for each"),
    pytest.param(
        {"messages": 20, "stale": 20, "existing": 1, "in_progress": 1, "duration_s": 0.01},
        add(1),
        id="one for them is on its way",
    ),
    # 3. with a duration: fresh messages
    pytest.param({"messages": 4, "existing": 1, "duration_s": 0.1}, add(3), id="each container does one in time"),
    pytest.param({"messages": 4, "existing": 1, "duration_s": 0.05}, add(1), id="each does two in time"),
    pytest.param({"messages": 9, "existing": 1, "duration_s": 0.01}, SKIP, id="fewer than one container does"),
    pytest.param({"messages": 11, "existing": 1, "duration_s": 0.01}, add(1), id="more than one container does"),
    pytest.param({"messages": 4, "existing": 1, "duration_s": 1.0}, add(3), id="never more containers than messages"),
    pytest.param({"messages": 4, "existing": 2, "in_progress": 2, "duration_s": 1.0}, SKIP, id="as many as messages"),
    pytest.param({"messages": 40, "existing": 1, "duration_s": 0.0}, SKIP, id="no time: fresh ones need none"),
    # 3. both
    pytest.param({"messages": 6, "stale": 2, "existing": 1, "duration_s": 0.1}, add(5), id="stale and fresh"),
    pytest.param(
        {"messages": 8, "stale": 2, "existing": 1, "in_progress": 2, "duration_s": 0.1},
        add(3),
        id="those on their way count against the stale, and as containers",
    ),
    # 4. limits
    pytest.param({"messages": 5, "action_limit": 0}, Result(Step.PAUSE), id="action limit 0"),
    pytest.param({"messages": 5, "namespace_limit": 0}, Result(Step.PAUSE), id="namespace limit 0"),
    pytest.param({"messages": 5, "stale": 5, "existing": 2, "action_limit": 4}, add(2), id="action has room for two"),
    pytest.param(
        {"messages": 5, "stale": 5, "existing": 2, "namespace_limit": 9, "in_namespace": 7},
        Result(Step.THROTTLE, 2),
        id="namespace has room for two, and is throttled",
    ),
    pytest.param(
        {"messages": 5, "existing": 2, "namespace_limit": 9, "in_namespace": 9},
        Result(Step.THROTTLE),
        id="namespace has no room: throttled, its containers go on",
    ),
    pytest.param(
        {"messages": 5, "namespace_limit": 9, "in_namespace": 9},
        Result(Step.THROTTLE, drops=True),
        id="and without a container its messages fail",
    ),
    pytest.param(
        {"messages": 5, "existing": 2, "namespace_limit": 9, "in_namespace": 9, "state": State.THROTTLED},
        SKIP,
        id="throttled and still no room",
    ),
    pytest.param(
        {"messages": 5, "existing": 2, "namespace_limit": 9, "in_namespace": 8, "state": State.THROTTLED},
        Result(Step.UNTHROTTLE),
        id="throttled and room again: decided at the next check",
    ),
    # 4. over-provisioning
    pytest.param(
        {"messages": 5, "namespace_limit": 4, "in_namespace": 5, "over_provision_ratio": 1.5},
        add(1),
        id="action without a container gets one above the limit",
    ),
    pytest.param(
        {"messages": 5, "namespace_limit": 4, "in_namespace": 6, "over_provision_ratio": 1.5},
        Result(Step.THROTTLE, drops=True),
        id="up to the ratio",
    ),
    pytest.param(
        {"messages": 5, "existing": 1, "namespace_limit": 4, "in_namespace": 4, "over_provision_ratio": 1.5},
        SKIP,
        id="action with containers gets none",
    ),
    # a queue that could not make a container, or whose scheduler ends
    pytest.param({"messages": 5, "state": State.FLUSHING}, add(1), id="flushing: one is tried again"),
    pytest.param({"messages": 5, "stale": 5, "in_progress": 1, "state": State.FLUSHING}, SKIP, id="flushing: one only"),
    pytest.param({"messages": 5, "state": State.REMOVING}, SKIP, id="removing: none for fresh messages"),
    pytest.param({"messages": 5, "stale": 3, "state": State.REMOVING}, add(3), id="removing: one for each stale"),
    pytest.param(
        {"messages": 30, "stale": 20, "duration_s": 0.01, "state": State.REMOVING}, add(2), id="removing: by duration"
    ),
]


@pytest.mark.parametrize(("queue", "result"), CASES)
def test_decision(queue: dict[str, Any], result: Result) -> None:
    assert decide(Queue(**queue)) == result
