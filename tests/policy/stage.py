"""A revision around a scaler: what it wants comes about, and every decision is written down."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

from corral.model import Observation
from corral.policy import SCALERS, Decision, Situation, Terms, read_scaling

BEGUN = 1000.3
OFF_S = 1.7e-4
"""So that nothing happens at the very moment of a tick: either may then be first."""
USUAL = ("second", "second", "want", "join", "join", "join")
RARE = ("lose", "unwatch", "watch")
Step = tuple[str, int, float]
steps = st.lists(
    st.tuples(
        st.sampled_from(USUAL + USUAL + RARE),
        st.integers(0, 30),
        st.sampled_from([0.0, 0.01, 0.4, 1.0, 1.0, 1.0, 1.9, 7.0, 30.0, 150.0]),
    ),
    min_size=5,
    max_size=25,
)


class Stage:
    """`every_s`: it is asked at each multiple too, whatever it said of its next moment."""

    def __init__(
        self,
        said: Mapping[str, Any],
        least: int = 0,
        most: int = 50,
        *,
        ready: int = 0,
        every_s: float | None = None,
        concurrency: int = 10,
    ) -> None:
        engine, settings = read_scaling(said)
        self.least, self.most, self.settings = least, most, settings
        rule = SCALERS[engine]
        self._memory = None if rule.memory is None else rule.memory()
        self._common = None if rule.common is None else rule.common()
        self.concurrency = concurrency
        self.scaler = rule.make(self.terms())
        self.now = BEGUN
        self.ready, self.starting, self.desired = ready, 0, 0
        self.is_watched = True
        self.others = 0
        """Instances of other functions of its namespace."""
        self.next_at: float | None = None
        self.decisions: list[tuple[float, Decision]] = []
        self.changes: list[tuple[float, int]] = []
        self._every_s, self._number = every_s, 1
        self.ask(joined=ready > 0)

    def terms(self) -> Terms:
        return Terms(
            settings=self.settings,
            idle_s=5.0,
            cores=2,
            rng=random.Random(1),
            min=self.least,
            max=self.most,
            memory=self._memory,
            common=self._common,
        )

    def ask(self, **seen: Any) -> Decision:
        situation = Situation(
            ready=self.ready,
            starting=self.starting,
            concurrency=self.concurrency,
            is_watched=self.is_watched,
            in_namespace=self.ready + self.starting + self.others,
            **seen,
        )
        decision = self.scaler.decide(situation, self.now)
        self.decisions.append((self.now, decision))
        self.next_at = decision.next_at
        assert self.next_at is None or self.next_at > self.now, "a decision that does not move on"
        if decision.desired is not None:
            self._apply(decision.desired)
        return decision

    def _apply(self, wanted: int) -> None:
        """As the Roster does, with a gateway whose instances are all idle."""
        desired = min(max(wanted, self.least), self.most)
        if desired != self.desired:
            self.changes.append((self.now, desired))
        self.desired = desired
        have = self.ready + self.starting
        if desired > have:
            self.starting += desired - have
        elif desired < have and self.is_watched:
            given_up = min(have - desired, self.starting)
            self.starting -= given_up
            self.ready -= have - desired - given_up

    def pass_time(self, elapsed: float) -> None:
        end = self.now + elapsed
        while True:
            moments = [at for at in (self.next_at, self._tick_at()) if at is not None and at <= end]
            if not moments:
                break
            self.now = min(moments)
            if self._tick_at() == self.now:
                self._number += 1
            self.ask()
        self.now = end

    def _tick_at(self) -> float | None:
        return None if self._every_s is None else BEGUN + self._number * self._every_s

    def play(self, events: Iterable[Step]) -> None:
        for event, number, elapsed in events:
            self.pass_time(elapsed + OFF_S)
            getattr(self, event)(number)

    # -- what happens ---------------------------------------------------------------------------------------

    def second(self, number: int) -> None:
        if self.is_watched:
            seen = Observation(arrived=number, completed=number, concurrency_s=number * 0.7, peak=number, service_s=0.1)
            self.ask(second=seen)

    def want(self, number: int) -> None:
        if self.is_watched:
            self.ask(waiting=number + 1, executing=self.ready, oldest_wait_s=number / 100)

    def join(self, _: int) -> None:
        if self.starting and self.is_watched:
            self.starting -= 1
            self.ready += 1
            self.ask(joined=True)

    def lose(self, _: int) -> None:
        if self.ready:
            self.ready -= 1
            self.ask()

    def unwatch(self, _: int) -> None:
        self.is_watched = False

    def watch(self, _: int) -> None:
        if not self.is_watched:
            self.is_watched = True
            if self.ready + self.starting and self.next_at is None:
                self.ask(joined=True)
