"""Row `decide`: what one decision of each scaling rule costs the engine."""

import random
import time
from collections.abc import Callable, Iterator
from statistics import median

from corral.bench.contest import Contest
from corral.bench.table import Figure, Row
from corral.model import Observation
from corral.policy import SCALERS, Decision, Situation, Terms, read_scaling

MOST_US = 10.0
HOURS, QUICK_HOURS = 4, 1
ROUNDS = 5
SECOND = Observation(
    arrived=6, completed=6, completed_200=6, concurrency_s=0.3, executing_s=0.3, peak=2, service_s=0.3, from_idle=4
)
GAPS_S = (1.0,) * 30 + (2.0, 7.0, 31.0, 120.0, 300.0, 300.0)
"""Between two seconds with calls, over and over: busy for half a minute, then now and then, then by the clock."""


def measure_decide(contest: Contest) -> Row:
    hours = QUICK_HOURS if contest.quick else HOURS
    empty_us = median(_empty_us() for _ in range(ROUNDS))
    figures = [Figure(name="an empty call", value=empty_us, unit="µs")]
    for engine in SCALERS:
        contest.say(f"decisions of {engine} over {hours} h of one function")
        costs = [Play(engine).mean_us(3600.0 * hours) for _ in range(ROUNDS)]
        cost_us = median(costs)
        figures.append(Figure(name=engine, value=cost_us, unit="µs", most=MOST_US))
        figures.append(Figure(name=f"{engine}: of an empty call", value=cost_us / empty_us))
    notes = [
        f"mean over all decisions of {hours} h of one function, median of {ROUNDS} runs, in bench's own process",
        "at each second with calls, each instance that is ready, and each moment that the rule itself asked for",
    ]
    return Row(name="decide", title="One decision of a scaling rule", figures=figures, notes=notes)


class Play:
    """One function under one rule, whose instances are ready at once."""

    def __init__(self, engine: str) -> None:
        rule = SCALERS[engine]
        _, settings = read_scaling({"engine": engine})
        terms = Terms(
            settings=settings,
            idle_s=None,
            cores=2,
            rng=random.Random(1),
            memory=None if rule.memory is None else rule.memory(),
            common=None if rule.common is None else rule.common(),
        )
        self._scaler = rule.make(terms)
        self._now, self._ready = 0.0, 0
        self._next_at: float | None = None
        self._spent_s, self._decisions = 0.0, 0

    def mean_us(self, until: float) -> float:
        for moment in _calls(until):
            while self._next_at is not None and self._next_at < moment:
                self._now = self._next_at
                self._ask(self._situation(None))
            self._now = moment
            if not self._ready:
                self._ask(Situation(ready=0, starting=0, concurrency=1, waiting=1, start_s=0.004, memory_mib=64))
                self._ready = max(1, self._ready)
            self._ask(self._situation(SECOND))
        return 1e6 * self._spent_s / self._decisions

    def _situation(self, second: Observation | None) -> Situation:
        return Situation(ready=self._ready, starting=0, concurrency=1, start_s=0.004, memory_mib=64, second=second)

    def _ask(self, seen: Situation) -> None:
        # Processor time: what others take of the machine is none of it.
        begun = time.thread_time()
        decision: Decision = self._scaler.decide(seen, self._now)
        self._spent_s += time.thread_time() - begun
        self._decisions += 1
        self._next_at = decision.next_at
        if decision.desired is not None:
            self._ready = decision.desired


def _calls(until: float) -> Iterator[float]:
    moment = 0.0
    while True:
        for gap in GAPS_S:
            moment += gap
            if moment > until:
                return
            yield moment


def _nothing(seen: object, now: float) -> None:
    pass


def _empty_us(times: int = 100_000) -> float:
    """With the clock read before and after, as for a decision."""
    call: Callable[[object, float], None] = _nothing
    spent = 0.0
    for _ in range(times):
        begun = time.thread_time()
        call(None, 0.0)
        spent += time.thread_time() - begun
    return 1e6 * spent / times
