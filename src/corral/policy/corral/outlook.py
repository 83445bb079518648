"""One idle instance, and what is to be expected of the time before it."""

from collections.abc import Callable, Iterable, Iterator

from corral.policy.corral.habits import Habit
from corral.policy.corral.odds import Odds
from corral.policy.corral.spans import Span, Stretch, long_at, long_spans, short_spans, stretches

IN_USE_S = 1.75
"""So long after the last word of calls they are taken to go on: gateways tell of each second that was not silent."""


class Outlook:
    """`habit` and `odds` outlive it. Time passes for it when it is asked; what has passed without a call is counted
    among the odds then, or when the next call comes, but never twice."""

    def __init__(self, habit: Habit, odds: Odds, kind: str) -> None:
        self.habit, self._odds, self._kind = habit, odds, kind
        self._since: float | None = None
        """The need that the spans follow."""
        self._spans: list[Span] = []
        self._is_long = False
        """The spans of minutes are among them."""
        self._at = 0
        """Number of the span that is now."""
        self._long: list[int] | None = None
        """The idle times that `_stretches` are of."""
        self._stretches: list[Stretch] = []

    def needed(self, at: float) -> float:
        """It is in use at this moment. Returns when it last was: a word of an earlier moment may come later."""
        before = self.habit.needed_at
        if before is not None and at - before > IN_USE_S:
            span = self.now(at)
            if span is not None:
                passed = int((at - span.begins_at) // span.trial_s)
                self._odds.learn(span.contexts, min(passed, span.trials - 1), 1)
            self.habit.remember(at)
        self.habit.needed_at = at if before is None else max(at, before)
        return self.habit.needed_at

    def now(self, at: float) -> Span | None:
        """The span at this moment; None: beyond the horizon, or it was never needed."""
        self._look()
        while True:
            while self._at < len(self._spans):
                span = self._spans[self._at]
                if at < span.ends_at:
                    return span
                self._pass(span)
                self._at += 1
            if self._is_long or self._since is None:
                return None
            self._look_far()

    def next(self, at: float, is_worth: Callable[[Span], bool]) -> Span | None:
        """The first that begins later, is like a time at which it was needed before, and is worth it; None: there is
        none."""
        if self.now(at) is None:
            return None
        if not self._is_long:
            self._look_far()
        later: Iterable[Span] = self._spans[self._at + 1 :]
        return next((span for span in later if span.is_own and is_worth(span)), None)

    def minutes(self, at: float) -> Iterator[Span]:
        """All spans of minutes ahead, whether it was needed after such times before or not."""
        if self.now(at) is not None and not self._is_long:
            self._look_far()
        return (span for span in self._spans[self._at :] if span.begins_at >= long_at(self.habit))

    def _look(self) -> None:
        if self._since == self.habit.needed_at:
            return
        self._since = self.habit.needed_at
        self._spans = [] if self._since is None else short_spans(self.habit, self._kind)
        self._at, self._is_long = 0, False

    def _look_far(self) -> None:
        assert self._spans and self._spans[-1].ends_at <= long_at(self.habit)
        if self._long is not self.habit.long:
            self._long = self.habit.long
            self._stretches = stretches(self._long, self._kind)
        self._spans += long_spans(self.habit, self._stretches)
        self._is_long = True

    def _pass(self, span: Span) -> None:
        if span.ends_at > self.habit.learned_until:
            self.habit.learned_until = span.ends_at
            self._odds.learn(span.contexts, span.trials, 0)
