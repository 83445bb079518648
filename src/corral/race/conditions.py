"""What policies are raced under, and what a policy is."""

from collections.abc import Mapping

import msgspec

from corral.errors import Invalid
from corral.model import FunctionSpec, ScalingValue, spec_problems
from corral.policy import read_scaling, scaling_problems
from corral.race.arrivals import Arrivals
from corral.race.coldstart import MEASURED, ColdStart
from corral.roster import Scaling


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for every policy of a race."""

    seed: int = 0
    arrivals: Arrivals = "uniform"
    cold_start: ColdStart = MEASURED
    """From the moment a call begins to wait until its instance serves, when it is ordered at once."""
    link_s: float = 0.0005
    """Of which this is the way from the gateway to the engine and back."""
    stop_s: float = 0.005
    """From the order to stop an instance until its memory is free."""
    hold_s: float = 3600.0
    """Longest that a call waits. Far above what is usual: a refused call would be a wait that is not counted."""
    cores: int = 4
    concurrency: int = 1
    """Calls at once in one instance, unless a policy says otherwise."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy may say besides its rule, each as a function would."""

    min: int = 0
    max: int = 1000
    idle_s: float | None = None
    concurrency: int | None = None


LIMITS = tuple(field.name for field in msgspec.structs.fields(Limits))


def scaling_of(said: Mapping[str, ScalingValue], conditions: Conditions) -> Scaling:
    """`said` may hold, besides the engine and its settings, `min`, `max`, `idle_s` and `concurrency`. Raises
    Invalid."""
    rule = {name: value for name, value in said.items() if name not in LIMITS}
    try:
        limits = msgspec.convert({name: value for name, value in said.items() if name in LIMITS}, Limits)
    except msgspec.ValidationError:
        given = ", ".join(f"{name} = {value!r}" for name, value in said.items() if name in LIMITS)
        raise Invalid(f"{given}: must be whole numbers, idle_s a number of seconds") from None
    spec = FunctionSpec(min=limits.min, max=limits.max, idle_s=limits.idle_s, concurrency=limits.concurrency, initial=0)
    problems = [*spec_problems(spec), *scaling_problems(rule, limits.min, limits.max)]
    if problems:
        raise Invalid(*problems)
    engine, settings = read_scaling(rule)
    return Scaling(
        min=settings.fewest(limits.min, limits.max),
        max=limits.max,
        initial=0,
        idle_s=limits.idle_s,
        concurrency=limits.concurrency or conditions.concurrency,
        engine=engine,
        settings=settings,
    )
