"""What is known of an action's queue in OpenWhisk's newer scheduler, by what gateways tell.

There, messages wait until a container that runs fetches them; here a container gets its first calls when its start
begins. So calls in containers that start count as messages. How many of those that wait are stale is reckoned from the
oldest: as if they had come evenly since."""

from collections import deque

from corral.model import Observation
from corral.policy.scaler import Situation

RUNS = 10
"""Activations that the average duration is of."""
LIFE_S = 40.0
"""A queue without messages is idle after 20 s and removed after 20 more; with it goes what it knew."""


class Runs:
    """Durations of the last activations: of those seconds that hold the last ten."""

    def __init__(self) -> None:
        self._seconds: deque[Observation] = deque()
        self._completed, self._service_s = 0, 0.0

    def add(self, second: Observation) -> None:
        if not second.completed:
            return
        self._seconds.append(second)
        self._completed += second.completed
        self._service_s += second.service_s
        while self._completed - self._seconds[0].completed >= RUNS:
            first = self._seconds.popleft()
            self._completed -= first.completed
            self._service_s -= first.service_s

    @property
    def average_s(self) -> float | None:
        """None: none was completed."""
        # Subtraction may leave a hair below zero.
        return max(0.0, self._service_s) / self._completed if self._completed else None


class Messages:
    """From the queue's first message to its removal."""

    def __init__(self, now: float) -> None:
        self.begun = self._used_at = now
        self.runs = Runs()
        self.waiting = 0
        """As a gateway told since the last check; it is silent for longer while they do not become more."""
        self._executing = 0
        self._since = now
        """When the oldest of those waiting came."""
        self._starting_since: float | None = None

    def learn(self, seen: Situation, now: float) -> None:
        if seen.waiting:
            self.waiting, self._executing = seen.waiting, seen.executing
            self._since, self._used_at = now - seen.oldest_wait_s, now
        if seen.second is not None:
            self.runs.add(seen.second)
            self._used_at = now
        if not seen.starting:
            self._starting_since, self._executing = None, 0
        elif self._starting_since is None:
            self._starting_since = now

    def checked(self) -> None:
        self.waiting = 0

    def in_starting(self, seen: Situation) -> int:
        """Calls in containers that start: when calls wait, all others are full."""
        return min(max(0, self._executing - seen.concurrency * seen.ready), seen.concurrency * seen.starting)

    def stale(self, seen: Situation, threshold_s: float, now: float) -> int:
        """Of the messages."""
        age_s, stale = now - self._since, 0
        if self.waiting and age_s > threshold_s:
            stale = max(1, int(self.waiting * (1 - threshold_s / age_s)))
        is_old = self._starting_since is not None and now - self._starting_since > threshold_s
        return stale + (self.in_starting(seen) if stale or is_old else 0)

    def is_over(self, now: float) -> bool:
        return now > self._used_at + LIFE_S
