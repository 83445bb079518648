"""OpenWhisk's newer scheduler (FPC): each queue is checked every 100 ms, while it has messages.

A check without messages adds nothing, and one whose queue is as it was at the last adds nothing again: these are
skipped. A first message creates its queue, and a container at once."""

from math import floor, inf

from corral.policy.openwhisk.decision import Queue, State, Step, decide
from corral.policy.openwhisk.queue import Messages
from corral.policy.openwhisk.settings import OpenWhiskSettings
from corral.policy.scaler import Situation


class Fpc:
    def __init__(self, settings: OpenWhiskSettings, most: int) -> None:
        self.retune(settings, most)
        self._messages: Messages | None = None
        self._state = State.RUNNING
        self.queue: Queue | None = None
        """As it was at the last check; None: there was none."""
        self.step = Step.SKIP
        """What that check decided."""
        self.check_at: float | None = None
        """The next check that may add any; None: there is none while nothing comes."""

    def retune(self, settings: OpenWhiskSettings, most: int) -> None:
        self._settings, self._most = settings, most

    def starts(self, seen: Situation, now: float) -> int:
        """Containers to add now."""
        messages = self._messages
        if messages is None or messages.is_over(now):
            self._state, self.check_at = State.RUNNING, None
            if not (seen.waiting or seen.second):
                return 0
            messages = self._messages = Messages(now)
        messages.learn(seen, now)
        is_due = self.check_at is not None and now >= self.check_at
        if is_due or (seen.waiting and not seen.have):
            return self._check(messages, seen, now)
        if self.check_at is None and (messages.waiting or messages.in_starting(seen)):
            self.check_at = self._next_check(messages, now)
        return 0

    def _check(self, messages: Messages, seen: Situation, now: float) -> int:
        queue = self.queue = self._look(messages, seen, now)
        result = decide(queue)
        self.step = result.step
        if result.step is Step.THROTTLE:
            self._state = State.THROTTLED
        elif result.step is Step.UNTHROTTLE:
            self._state = State.RUNNING
        else:
            messages.checked()
        # With no more messages than at this check the next may still find some of them stale, or another limit.
        may_age = queue.messages > 0 and queue.stale == 0 and messages.in_starting(seen) > 0
        is_moving = result.step in (Step.ADD, Step.UNTHROTTLE) or self._state is State.THROTTLED
        self.check_at = self._next_check(messages, now) if is_moving or may_age else None
        return result.add

    def _look(self, messages: Messages, seen: Situation, now: float) -> Queue:
        settings = self._settings
        return Queue(
            state=self._state,
            messages=messages.waiting + messages.in_starting(seen),
            stale=messages.stale(seen, settings.stale_threshold_s, now),
            existing=seen.ready,
            in_progress=seen.starting,
            duration_s=messages.runs.average_s,
            concurrency=seen.concurrency,
            stale_threshold_s=settings.stale_threshold_s,
            action_limit=self._most,
            namespace_limit=inf if settings.namespace_limit is None else settings.namespace_limit,
            in_namespace=seen.in_namespace,
            over_provision_ratio=settings.over_provision_ratio if settings.over_provision else None,
        )

    # -- for people -----------------------------------------------------------------------------------------

    @property
    def why(self) -> str:
        """Of the last check."""
        queue = self.queue
        if queue is None:
            return "its queue was not looked at yet"
        runs = "no duration known" if queue.duration_s is None else f"{queue.duration_s * 1000:.3g} ms each"
        return (
            f"messages: {queue.messages}, {queue.stale} of them stale, {runs}; containers: {queue.existing} running, "
            f"{queue.in_progress} starting; {self.step}"
        )

    @property
    def inputs(self) -> dict[str, float]:
        """Of the last check."""
        queue = self.queue
        if queue is None:
            return {}
        return {
            "messages": queue.messages,
            "stale": queue.stale,
            "duration_s": round(queue.duration_s or 0.0, 6),
            "throttled": float(self._state is State.THROTTLED),
        }

    # -- time -----------------------------------------------------------------------------------------------

    def _next_check(self, messages: Messages, now: float) -> float:
        """Counted from the queue's creation."""
        interval_s = self._settings.check_interval_s
        number = floor((now - messages.begun) / interval_s)
        while (at := messages.begun + number * interval_s) <= now:
            number += 1
        return at
