"""How many containers OpenWhisk's newer scheduler adds to a queue, asked at each check.

1. An action without containers gets one.
2. Before an activation was completed: one container for as many stale messages as it takes at once, less those on
   their way.
3. Afterwards a container is taken to work off `stale_threshold ÷ duration` messages in the time after which one is
   stale. As many as the stale ones need, less those on their way; and where the fresh ones are more than all containers
   are good for, as many as these need, but never more containers than fresh messages.
4. All within what the limits of the action and of the namespace leave. When the latter is reached, the namespace is
   throttled until it is not.
5. A queue that ends only gets containers for stale messages.
Source: openwhisk, core/scheduler SchedulingDecisionMaker."""

from enum import StrEnum
from math import ceil, inf

import msgspec


class State(StrEnum):
    RUNNING = "running"
    THROTTLED = "throttled"
    """Its namespace has no container left."""
    FLUSHING = "flushing"
    """No container could be made."""
    REMOVING = "removing"
    """Its scheduler ends."""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    state: State = State.RUNNING
    is_initialized: bool = True
    """It had a container."""
    messages: int
    stale: int = 0
    """Of the messages."""
    existing: int = 0
    """Containers that take messages."""
    in_progress: int = 0
    """Containers on their way."""
    duration_s: float | None = None
    """Average of the last activations; None: none was completed."""
    concurrency: int = 1
    """Messages at once in one container."""
    stale_threshold_s: float = 0.1
    action_limit: float = inf
    """Containers of the action."""
    namespace_limit: float = inf
    """Containers of the namespace."""
    in_namespace: int = 0
    """Containers of the namespace, this action's and those on their way included."""
    over_provision_ratio: float | None = None
    """None: never above the limit."""

    @property
    def containers(self) -> int:
        return self.existing + self.in_progress


class Step(StrEnum):
    SKIP = "nothing to do"
    ADD = "containers are added"
    THROTTLE = "the namespace is throttled"
    UNTHROTTLE = "the namespace is throttled no more"
    PAUSE = "a limit is zero"


class Result(msgspec.Struct, frozen=True):
    step: Step
    add: int = 0
    drops: bool = False
    """Its messages fail as too many requests."""


def decide(queue: Queue) -> Result:
    if min(queue.action_limit, queue.namespace_limit) <= 0:
        return Result(Step.PAUSE)
    capacity = _capacity(queue)
    if capacity <= 0:
        return _exhausted(queue)
    if queue.state is State.THROTTLED:
        return Result(Step.UNTHROTTLE)
    if queue.containers == 0 and _needs_first(queue):
        return Result(Step.ADD, 1)
    wanted = 0 if queue.state is State.FLUSHING else _wanted(queue)
    if wanted <= 0:
        return Result(Step.SKIP)
    if wanted <= capacity:
        return Result(Step.ADD, wanted)
    is_namespace = capacity == _namespace_capacity(queue)
    return Result(Step.THROTTLE if is_namespace else Step.ADD, int(capacity))


def _needs_first(queue: Queue) -> bool:
    if queue.state is State.RUNNING:
        return not queue.is_initialized or queue.messages > 0
    return queue.state is State.FLUSHING


def _wanted(queue: Queue) -> int:
    if queue.duration_s is None:
        by_number = ceil(queue.stale / queue.concurrency) - queue.in_progress
        return min(queue.messages, by_number) if queue.stale else 0
    throughput = float(queue.concurrency)
    """Messages that a container works off before they are stale."""
    if queue.duration_s > 0:
        throughput *= queue.stale_threshold_s / queue.duration_s
    for_stale = min(queue.stale, ceil(queue.stale / throughput)) - queue.in_progress if queue.stale else 0
    return for_stale + (0 if queue.state is State.REMOVING else _for_fresh(queue, throughput))


def _for_fresh(queue: Queue, throughput: float) -> int:
    fresh, containers = queue.messages - queue.stale, queue.containers
    is_short = fresh >= throughput * containers and containers < fresh
    if not is_short or queue.duration_s == 0:
        return 0
    return min(ceil(fresh / throughput - containers), fresh - containers)


def _namespace_capacity(queue: Queue) -> float:
    return queue.namespace_limit - queue.in_namespace


def _capacity(queue: Queue) -> float:
    """Containers that may be added."""
    if queue.over_provision_ratio is not None and queue.containers == 0:
        return 1 if _over_capacity(queue, queue.over_provision_ratio) > 0 else 0
    return min(_namespace_capacity(queue), queue.action_limit - queue.containers)


def _over_capacity(queue: Queue, ratio: float) -> float:
    limit = queue.namespace_limit
    return (limit if limit == inf else ceil(limit * ratio)) - queue.in_namespace


def _exhausted(queue: Queue) -> Result:
    ratio = queue.over_provision_ratio
    is_over = ratio is None or _over_capacity(queue, ratio) <= 0
    if queue.state is State.RUNNING and is_over:
        return Result(Step.THROTTLE, drops=queue.containers == 0)
    return Result(Step.SKIP)
