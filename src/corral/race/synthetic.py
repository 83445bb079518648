"""Traces made from a seed, with the statistics of a real one: for a demo and for tests, where no trace is at hand.

The figures are those of 500 functions in eight hours of the Azure Functions trace (Shahrad et al., Serverless in the
Wild, ATC 2020, data under CC-BY), and tests/race/test_synthetic.py compares. Each property is drawn evenly over its
distribution (one value from each of as many equal parts as there are functions), so that a few dozen functions already
have the whole of it, whatever the seed."""

import hashlib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from corral.race.trace import Durations, Function, Trace

Name = TypeVar("Name")

FIRST_MINUTE = 480
"""08:00, where the real sample begins."""
DOMINATING_SHARE = 0.63
"""Of all calls, in one function."""

Knots = Sequence[tuple[float, float]]
"""(share of the functions, value up to which they lie); between two, values are spread evenly in their logarithm."""

ACTIVE_SHARE: Knots = (
    (0, 0.002), (0.15, 0.002), (0.25, 0.006), (0.4, 0.017), (0.5, 0.033), (0.6, 0.09), (0.7, 0.198), (0.8, 0.367),
    (0.85, 0.656), (0.9, 0.988), (1, 1),
)  # fmt: skip
"""Part of the minutes in which a function that is not a timer is called."""
CALLS_WHEN_ACTIVE: Knots = (
    (0, 1), (0.4, 1.01), (0.5, 1.25), (0.6, 1.86), (0.7, 2.7), (0.8, 5), (0.9, 14.7), (0.95, 56), (0.98, 156), (1, 570),
)  # fmt: skip
"""Mean calls in a minute that has any."""
DURATION_MS: Knots = (
    (0, 1), (0.05, 3), (0.1, 21), (0.25, 100), (0.5, 573), (0.75, 2667), (0.9, 12471), (0.95, 28062), (0.99, 146627),
    (1, 300504),
)  # fmt: skip
BUSY_CALLS, BUSY_SHARE = 5, 0.75
"""Functions with more calls a minute take no longer than this part of all."""
DURATION_SPREAD: Knots = ((0, 0.02), (0.25, 0.22), (0.5, 0.65), (0.75, 1.35), (0.95, 2), (1, 2.4))
"""Standard deviation of the logarithm of one function's durations."""
MEMORY_MIB: Knots = (
    (0, 1.6), (0.05, 5.6), (0.1, 9.1), (0.25, 24), (0.5, 58), (0.75, 125), (0.9, 183), (0.95, 199), (0.99, 267),
    (1, 405),
)  # fmt: skip
DOMINATING_MS = 195.0
QUANTILES = (-2.6, -2.33, -0.674, 0.0, 0.674, 2.33, 3.0)
"""Of the normal distribution, at PERCENTILES."""

TRIGGERS = {"timer": 247, "http": 139, "queue": 69, "orchestration": 25, "event": 14, "storage": 5, "others": 1}
ONCE = 10_000
"""A period longer than any trace: the timer fires once in it."""
PERIODS = {1: 45, 2: 9, 3: 9, 4: 6, 5: 57, 10: 19, 15: 16, 20: 3, 30: 7, 60: 30, 120: 4, 180: 4, 240: 2, ONCE: 36}
"""Minutes between two calls of a timer -> how many of 247 have it."""
CALLS_PER_TICK = {1: 90, 2: 5, 6: 3, 12: 1, 60: 1}


class _Demand(msgspec.Struct, frozen=True):
    """Where a function that is not a timer lies among all such, 0 to 1."""

    activity: float
    intensity: float


def synthetic(functions: int = 500, minutes: int = 480, seed: int = 1) -> Trace:
    """`functions` of them, each called at least once; one makes DOMINATING_SHARE of all calls. Same arguments, same
    trace. Needs at least two functions and one minute."""
    rng = random.Random(f"corral synthetic {functions} {minutes} {seed}")
    triggers = _dealt(TRIGGERS, functions - 1, rng)
    periods = iter(_dealt(PERIODS, triggers.count("timer"), rng))
    demands = _demands(len(triggers) - triggers.count("timer"), rng)
    columns = [
        _timer(next(periods), minutes, rng) if trigger == "timer" else _called(next(demands), minutes, rng)
        for trigger in triggers
    ]
    made = _functions(seed, triggers, columns, rng)
    busiest = _dominating(seed, functions - 1, sum(map(sum, columns)), minutes, rng)
    return Trace(
        functions=(*made, busiest),
        first_minute=FIRST_MINUTE,
        minutes=minutes,
        sha256={},
        source=f"a made-up trace, seed {seed}",
        notes=("The trace is made up, with the statistics of 500 functions of the Azure Functions trace of 2019.",),
    )


# -- where a function lies ----------------------------------------------------------------------------------


def _demands(count: int, rng: random.Random) -> Iterator[_Demand]:
    activity, own = _evenly(count, rng), _evenly(count, rng)
    # Who is called in more minutes is called more often in each: half of the rank is common to both.
    mixed = sorted(range(count), key=lambda at: activity[at] + own[at])
    intensity = dict(zip(mixed, sorted(own), strict=True))
    for at in range(count):
        yield _Demand(activity[at], intensity[at])


def _evenly(count: int, rng: random.Random) -> list[float]:
    """The middles of `count` equal parts of 0 to 1, shuffled: anywhere in the last part, one function would decide how
    many calls there are."""
    drawn = [(number + 0.5) / count for number in range(count)]
    rng.shuffle(drawn)
    return drawn


def _at(knots: Knots, share: float) -> float:
    for (before, low), (after, high) in itertools.pairwise(knots):
        if share <= after:
            part = (share - before) / (after - before)
            return math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
    return knots[-1][1]


def _dealt(weights: Mapping[Name, int], count: int, rng: random.Random) -> list[Name]:
    """`count` of them in the proportions of their weights, as exactly as whole numbers allow, shuffled."""
    bounds = list(itertools.accumulate(weights.values()))
    offset = rng.random()
    dealt = [
        next(name for name, bound in zip(weights, bounds, strict=True) if (at + offset) / count * bounds[-1] < bound)
        for at in range(count)
    ]
    rng.shuffle(dealt)
    return dealt


# -- calls in each minute -----------------------------------------------------------------------------------


def _timer(period: int, minutes: int, rng: random.Random) -> list[int]:
    """Calls at a period: three in four exactly, the others late or left out at times."""
    manner = rng.random()
    late = 0.3 if 0.75 < manner <= 0.92 else 0.0
    left_out = 0.3 if manner > 0.92 else 0.0
    calls = rng.choices(list(CALLS_PER_TICK), list(CALLS_PER_TICK.values()))[0]
    counts = [0] * minutes
    for tick in range(rng.randrange(min(period, minutes)), minutes, period):
        if rng.random() >= left_out:
            counts[min(minutes - 1, tick + (rng.random() < late))] += calls
    return _at_least_one(counts, rng)


def _called(demand: _Demand, minutes: int, rng: random.Random) -> list[int]:
    """Calls by people, queues and other functions. One in five is polled at a period, two in five come in bursts, and
    the others have no memory."""
    share = _at(ACTIVE_SHARE, demand.activity)
    manner = rng.random()
    if manner < 0.2:
        period = max(1, round(1 / share))
        start = rng.randrange(min(period, minutes))
        active = [minute >= start and (minute - start) % period == 0 for minute in range(minutes)]
    else:
        stay = max(share, rng.uniform(0.0, 0.85)) if manner < 0.6 else share
        active = list(_runs(share, stay, minutes, rng))
    mean = _at(CALLS_WHEN_ACTIVE, demand.intensity)
    return _at_least_one([_burst(mean, rng) if each else 0 for each in active], rng)


def _runs(share: float, stay: float, minutes: int, rng: random.Random) -> Iterator[bool]:
    """Active minutes: `share` of all, each followed by another with the chance `stay`."""
    begin = min(1.0, share * (1 - stay) / (1 - share)) if share < 1 else 1.0
    is_active = rng.random() < share
    for _ in range(minutes):
        yield is_active
        is_active = rng.random() < (stay if is_active else begin)


def _burst(mean: float, rng: random.Random) -> int:
    """Calls in an active minute, at least one; the busiest minutes have two to three times the mean."""
    if mean < 5:
        return 1 + (int(rng.expovariate(1 / (mean - 1)) + 0.5) if mean > 1.01 else 0)
    return max(1, round(mean * rng.lognormvariate(-0.08, 0.4)))


def _at_least_one(counts: list[int], rng: random.Random) -> list[int]:
    if not any(counts):
        counts[rng.randrange(len(counts))] = 1
    return counts


# -- functions ----------------------------------------------------------------------------------------------


def _functions(
    seed: int, triggers: Sequence[str], columns: Sequence[Sequence[int]], rng: random.Random
) -> Iterator[Function]:
    count = len(triggers)
    durations, spreads, memory = (_evenly(count, rng) for _ in range(3))
    for at, counts in enumerate(columns):
        # What is called most runs shortly, in the real trace too; otherwise one draw would decide how busy all is.
        limit = BUSY_SHARE if sum(counts) > BUSY_CALLS * len(counts) else 1.0
        spread = _at(DURATION_SPREAD, spreads[at]) if sum(counts) > 1 else 0.0
        yield Function(
            name=_name(f"{seed} function {at}"),
            # One application in twenty has two functions, one owner in ten two applications.
            app=_name(f"{seed} app {at - (at % 20 == 1)}"),
            owner=_name(f"{seed} owner {at - (at % 10 == 1)}"),
            trigger=triggers[at],
            memory_mib=round(_at(MEMORY_MIB, memory[at]), 1),
            counts=counts,
            durations=_durations(_at(DURATION_MS, limit * durations[at]), spread),
        )


def _dominating(seed: int, number: int, others: int, minutes: int, rng: random.Random) -> Function:
    mean = others * DOMINATING_SHARE / (1 - DOMINATING_SHARE) / minutes
    counts = [max(1, round(mean * rng.lognormvariate(-0.005, 0.1))) for _ in range(minutes)]
    return Function(
        name=_name(f"{seed} function {number}"),
        app=_name(f"{seed} app {number}"),
        owner=_name(f"{seed} owner {number}"),
        trigger="event",
        memory_mib=round(_at(MEMORY_MIB, 0.75), 1),
        counts=counts,
        durations=_durations(DOMINATING_MS, 0.6),
    )


def _durations(average_ms: float, spread: float) -> Durations:
    """Of a log-normal distribution with this mean."""
    median = average_ms * math.exp(-spread * spread / 2)
    percentiles = (median * math.exp(spread * quantile) for quantile in QUANTILES)
    return Durations(round(average_ms, 1), tuple(round(each, 1) for each in percentiles))


def _name(words: str) -> str:
    """As long as the real ones, which are hashes too."""
    return hashlib.sha256(words.encode()).hexdigest()
