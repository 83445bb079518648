"""The two ways in which policies are raced. Each understands the names it is given and comes to an Outcome."""

from collections.abc import Sequence
from typing import Protocol

from corral.race import judge
from corral.race.conditions import Conditions
from corral.race.keepers import KEEPERS, keeper_of
from corral.race.minutes import keep
from corral.race.outcome import Outcome
from corral.race.policies import FIXED_DEFAULTS, Value, defaults, policies_of
from corral.race.race import Progress, check
from corral.race.race import race as simulated
from corral.race.terms import in_bins, in_events
from corral.race.trace import Trace


class Entrants(Protocol):
    """Policies that were understood."""

    @property
    def labels(self) -> Sequence[str]: ...

    def race(self, trace: Trace, version: str, progress: Progress) -> Outcome:
        """`version` is Corral's own, for the report."""
        ...


class InEvents:
    """Every call and every instance is simulated."""

    def __init__(self, named: str | None, value_of: Value, conditions: Conditions, processes: int) -> None:
        """`named` None: every engine; `value_of` reads the text of a setting. Raises Invalid."""
        self._policies = policies_of(",".join(defaults()) if named is None else named, value_of)
        check(self._policies, conditions)
        self._conditions, self._processes = conditions, processes

    @property
    def labels(self) -> Sequence[str]:
        return list(self._policies)

    def race(self, trace: Trace, version: str, progress: Progress) -> Outcome:
        how = self._conditions
        scores = simulated(
            trace, self._policies, how.seed, how.arrivals, how.cold_start, progress, processes=self._processes
        )
        return judge.outcome(trace, judge.course(trace, version, in_events(how)), scores)


class InBins:
    """Minutes with and without calls are all that counts."""

    def __init__(self, named: str | None) -> None:
        """`named` None: all. Raises Invalid."""
        names = [*KEEPERS, *FIXED_DEFAULTS] if named is None else [name.strip() for name in named.split(",")]
        self._keepers = {name: keeper_of(name) for name in names}

    @property
    def labels(self) -> Sequence[str]:
        return list(self._keepers)

    def race(self, trace: Trace, version: str, progress: Progress) -> Outcome:
        kept = {}
        for name, keeper in self._keepers.items():
            kept[name] = keep(trace, keeper)
            progress(name, 1.0)
        return judge.outcome_in_bins(trace, judge.course(trace, version, in_bins()), kept)
