"""Live beside simulated: whether they start as many instances for waiting calls, and if not, why."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import msgspec

from corral.model import ScalingValue
from corral.race.coldstart import ColdStart
from corral.race.conditions import Conditions
from corral.race.live import Policies, Run
from corral.race.score import Score
from corral.race.simulate import Simulation
from corral.race.trace import Calls, Trace

AGREES = 0.03
"""Of the simulated cold starts."""
LATE_MS = 5.0
PHASES_S = (0.2, 0.4, 0.6, 0.8)
"""A gateway tells of each second at its end, and its seconds begin when it did: rules that go by them decide a part of
a second earlier or later."""
NAMED = 3
"""Functions that are named where live and simulated differ."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: each time it was run live, and simulated."""

    policy: str
    live: Sequence[Run]
    simulated: Score
    """With the starts that were assumed."""
    again: Score
    """With starts as long as they were live, and calls as long as they took."""
    shifted: Sequence[int]
    """Cold starts simulated with all calls later by each of PHASES_S; empty: they agree without."""
    why: Sequence[str]
    """Why their cold starts differ by more than AGREES; empty: they do not."""

    @property
    def live_cold(self) -> float:
        return fmean(run.cold_starts for run in self.live)

    @property
    def agrees(self) -> bool:
        return is_near(self.live_cold, self.simulated.cold_starts)


def is_near(live: float, simulated: float) -> bool:
    return abs(live - simulated) <= AGREES * simulated


def compared(
    trace: Trace, policies: Policies, runs: Sequence[Run], seed: int, cold_start: ColdStart, cores: int
) -> list[Compared]:
    """`trace` has every call drawn. In the order of `policies`."""
    found = []
    for label, said in policies.items():
        live = [run for run in runs if run.policy == label]
        same = holding(trace, max(run.memory_mib for run in live))
        simulated = _simulated(same, label, said, Conditions(seed=seed, cold_start=cold_start, cores=cores))
        starts = next((run.start for run in live if run.start is not None), cold_start)
        longer = longer_by(same, fmean(run.added_p50_ms for run in live) / 1000)
        again = _simulated(longer, label, said, Conditions(seed=seed, cold_start=starts, cores=cores))
        cold = fmean(run.cold_starts for run in live)
        shifted: list[int] = []
        if not is_near(cold, simulated.cold_starts):
            terms = Conditions(seed=seed, cold_start=cold_start, cores=cores)
            late = (_simulated(later(same, phase), label, said, terms) for phase in PHASES_S)
            shifted = [score.cold_starts for score in late]
        found.append(
            Compared(
                policy=label,
                live=live,
                simulated=simulated,
                again=again,
                shifted=shifted,
                why=tuple(reasons(live, simulated, again, shifted)),
            )
        )
    return found


def _simulated(trace: Trace, label: str, said: Mapping[str, ScalingValue], conditions: Conditions) -> Score:
    simulation = Simulation(trace, said, conditions)
    simulation.run()
    return simulation.score(label)


def holding(trace: Trace, memory_mib: float) -> Trace:
    """Instances that hold so much, as those that slept did: some rules keep small ones for longer. 0.0: as they do."""
    if not memory_mib:
        return trace
    functions = (msgspec.structs.replace(function, memory_mib=memory_mib) for function in trace.functions)
    return msgspec.structs.replace(trace, functions=tuple(functions))


def longer_by(trace: Trace, seconds: float) -> Trace:
    """Each call occupies its instance for so much longer than the function sleeps."""
    functions = []
    for function in trace.functions:
        assert function.calls is not None
        longer = [took + seconds for took in function.calls.service_s]
        functions.append(msgspec.structs.replace(function, calls=Calls(function.calls.arrived_s, longer)))
    return msgspec.structs.replace(trace, functions=tuple(functions))


def later(trace: Trace, seconds: float) -> Trace:
    """All calls, by less than a second: they stay in the order and, for the simulation, in the minutes they have."""
    functions = []
    for function in trace.functions:
        assert function.calls is not None
        moved = [at + seconds for at in function.calls.arrived_s]
        functions.append(msgspec.structs.replace(function, calls=Calls(moved, function.calls.service_s)))
    return msgspec.structs.replace(trace, functions=tuple(functions))


def reasons(live: Sequence[Run], simulated: Score, again: Score, shifted: Sequence[int]) -> Iterator[str]:
    """Sentences; none when they agree."""
    cold = [run.cold_starts for run in live]
    mean = fmean(cold)
    if is_near(mean, simulated.cold_starts):
        return
    off = mean - simulated.cold_starts
    yield f"{abs(off):.1f} cold starts {'more' if off > 0 else 'fewer'} live than the {simulated.cold_starts} simulated"
    yield from _where(live, simulated)
    causes = list(_causes(live, mean, simulated, again, shifted))
    yield from causes or ["no cause was found"]


def _where(live: Sequence[Run], simulated: Score) -> Iterator[str]:
    """The functions that differ most."""
    differ = []
    for at, score in enumerate(simulated.functions):
        seen = [run.cold_by_function[at] for run in live]
        off = fmean(seen) - score.cold_starts
        if off:
            differ.append((-abs(off), score.name, seen, score.cold_starts))
    named = [f"{name} {' and '.join(map(str, seen))} against {cold}" for _, name, seen, cold in sorted(differ)[:NAMED]]
    if named:
        yield f"by function, live against simulated: {'; '.join(named)}"


def _causes(live: Sequence[Run], mean: float, simulated: Score, again: Score, shifted: Sequence[int]) -> Iterator[str]:
    cold = [run.cold_starts for run in live]
    failed = sum(run.failed for run in live)
    if failed:
        yield f"{failed} calls failed live: {'; '.join(live[0].faults or live[-1].faults)}"
    if max(cold) - min(cold) >= abs(mean - simulated.cold_starts):
        yield f"the live runs differ as much among themselves: {' and '.join(map(str, cold))}"
    if is_near(mean, again.cold_starts):
        longer_ms = fmean(run.added_p50_ms for run in live)
        yield (
            f"with starts as long as they were live, and calls {longer_ms:.1f} ms longer than they slept, "
            f"{again.cold_starts} are simulated"
        )
    phases = [simulated.cold_starts, *shifted]
    if min(phases) * (1 - AGREES) <= mean <= max(phases) * (1 + AGREES):
        yield (
            f"seconds are told of at other moments live: with all calls a part of a second later, {min(phases)} to "
            f"{max(phases)} are simulated"
        )
    late = max(run.late_p99_ms for run in live)
    if late > LATE_MS:
        yield f"calls were sent up to {late:.0f} ms late (p99), so that some met that should not have"
