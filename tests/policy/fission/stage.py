"""A scaler of Fission with what it is asked about, one question at a time."""

import random
from typing import Any

from corral.model import Observation
from corral.policy import Decision, Situation, Terms, Usage, read_scaling
from corral.policy.fission import Fission

BEGUN = 1000.0


class Function:
    """Its instances are what was decided last, ready at once, unless a test says otherwise."""

    def __init__(self, least: int = 0, most: int = 500, **said: Any) -> None:
        self.least, self.most, self.said = least, most, said
        self.scaler = Fission(self.terms())
        self.now = BEGUN
        self.ready = self.starting = 0
        self.concurrency = 1
        self.wall_offset_s = 0.0
        self.last = Decision(None, None, "")

    def terms(self) -> Terms:
        _, settings = read_scaling({"engine": "fission", **self.said})
        return Terms(
            settings=settings, idle_s=15.0, cores=2, rng=random.Random(0), min=self.least, max=self.most, cpu=1.0
        )

    def retune(self, **said: Any) -> None:
        self.said = said
        self.scaler.retune(self.terms())

    def ask(self, **seen: Any) -> int:
        """What it decides; nothing comes about of it."""
        situation = Situation(
            ready=self.ready,
            starting=self.starting,
            concurrency=self.concurrency,
            wall_offset_s=self.wall_offset_s,
            **seen,
        )
        self.last = self.scaler.decide(situation, self.now)
        assert self.last.next_at is None or self.last.next_at > self.now
        assert self.last.desired is not None
        return self.last.desired

    def want(self, waiting: int, executing: int = 0) -> int:
        return self.ask(waiting=waiting, executing=executing)

    def second(self, peak: int) -> int:
        return self.ask(second=Observation(arrived=peak, completed=peak, peak=peak))

    def use(self, cpu_cores: float) -> int:
        return self.ask(usage=Usage(self.ready, cpu_cores, 10.0 * self.ready))

    def pass_time(self, seconds: float) -> list[tuple[float, int]]:
        """Asked at its own moments only; what it wants comes about. When what was wanted, seconds from the start."""
        end, wanted = self.now + seconds, []
        while self.last.next_at is not None and self.last.next_at <= end:
            self.now = self.last.next_at
            desired = min(max(self.ask(), self.least), self.most)
            if desired != self.ready + self.starting:
                wanted.append((self.now - BEGUN, desired))
            self.ready, self.starting = desired, 0
        self.now = end
        return wanted
