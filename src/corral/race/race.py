"""A race: several policies on one trace under the same conditions, each simulated in a process of its own."""

import multiprocessing
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from corral.errors import Invalid, Unavailable
from corral.model import ScalingValue
from corral.race.arrivals import ARRIVALS, Arrivals
from corral.race.coldstart import MEASURED, ColdStart
from corral.race.conditions import Conditions, scaling_of
from corral.race.score import Score
from corral.race.simulate import Simulation
from corral.race.trace import Trace

Scaling = Mapping[str, ScalingValue]
Progress = Callable[[str, float], None]
"""(label of the policy, part of it that is done)"""


def race(
    trace: Trace,
    policies: Mapping[str, Scaling],
    seed: int = 0,
    arrivals: Arrivals = "uniform",
    cold_start: ColdStart = MEASURED,
    progress: Progress = lambda label, part: None,
    processes: int = 1,
) -> list[Score]:
    """Under the usual conditions but for these; see `race_under`."""
    if arrivals not in ARRIVALS:
        raise Invalid(f"arrivals = {arrivals!r}, must be one of {', '.join(ARRIVALS)}")
    return race_under(
        Conditions(seed=seed, arrivals=arrivals, cold_start=cold_start), trace, policies, progress, processes
    )


def race_under(
    conditions: Conditions,
    trace: Trace,
    policies: Mapping[str, Scaling],
    progress: Progress = lambda label, part: None,
    processes: int = 1,
) -> list[Score]:
    """In the order of `policies`: label -> scaling, which may hold `min`, `max`, `idle_s` and `concurrency` too. The
    same arguments give the same scores, however many processes there are. Raises Invalid: a policy that is none,
    before anything is raced."""
    check(policies, conditions)
    if processes > 1 and len(policies) > 1:
        return Workers(trace, conditions, progress).run(policies, processes)
    return [simulate(trace, label, said, conditions, progress) for label, said in policies.items()]


def check(policies: Mapping[str, Scaling], conditions: Conditions) -> None:
    """Raises Invalid with every mistake, each with the label of its policy."""
    problems: list[str] = []
    for label, said in policies.items():
        try:
            scaling_of(said, conditions)
        except Invalid as fault:
            problems += [f"policy {label}: {problem}" for problem in fault.problems]
    if problems:
        raise Invalid(*problems)


def simulate(trace: Trace, label: str, said: Scaling, conditions: Conditions, progress: Progress) -> Score:
    simulation = Simulation(trace, said, conditions)
    simulation.run(lambda part: progress(label, part))
    return simulation.score(label)


class Workers:
    """A process per policy, some at a time. Each sends the part that is done, and its score at the end."""

    def __init__(self, trace: Trace, conditions: Conditions, progress: Progress) -> None:
        self._trace, self._conditions, self._progress = trace, conditions, progress
        # Not forked: who calls may have threads, such as that of a progress bar.
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[Connection, tuple[str, BaseProcess]] = {}

    def run(self, policies: Mapping[str, Scaling], processes: int) -> list[Score]:
        waiting, scores = list(policies.items()), dict[str, Score]()
        try:
            while waiting or self._running:
                while waiting and len(self._running) < processes:
                    self._start(*waiting.pop(0))
                for each in wait(list(self._running)):
                    assert isinstance(each, Connection)
                    self._hear(each, scores)
        finally:
            for _, process in self._running.values():
                process.kill()
                process.join()
        return [scores[label] for label in policies]

    def _start(self, label: str, said: Scaling) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=work, args=(theirs, self._trace, label, dict(said), self._conditions), daemon=True
        )
        process.start()
        theirs.close()
        self._running[ours] = (label, process)

    def _hear(self, connection: Connection, scores: dict[str, Score]) -> None:
        label, process = self._running[connection]
        try:
            heard = connection.recv()
        except EOFError:
            process.join()
            raise Unavailable(
                f"policy {label}: its process ended with {process.exitcode} before it had a score; was memory short?"
            ) from None
        if isinstance(heard, float):
            self._progress(label, heard)
            return
        scores[label] = heard
        del self._running[connection]
        connection.close()
        process.join()


def work(connection: Connection, trace: Trace, label: str, said: Scaling, conditions: Conditions) -> None:
    """In the process of one policy. Its parent ends it when somebody presses Ctrl-C, once; when that was killed, nobody
    listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BrokenPipeError):
        connection.send(simulate(trace, label, said, conditions, lambda _, part: connection.send(part)))
    connection.close()
