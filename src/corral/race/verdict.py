"""Who wins on what: comparisons of figures, and what follows from them for one group of functions."""

from collections.abc import Sequence

import msgspec

from corral.race.outcome import Contender, Figures

UNNOTICED_S = 0.001
"""Added latency of a call, on average: less counts as so much. An instance that stands for ever would otherwise be
infinitely better than one that starts in milliseconds."""
LEAST_COLD, LEAST_IDLE_GB_MIN = 1, 0.001
"""Likewise."""


class Verdict(msgspec.Struct, frozen=True):
    """Of one group. Of equals the one that was asked for first."""

    group: str
    quickest: Contender
    """Its callers pay least: added latency, or cold starts in minute bins."""
    smallest: Contender
    """Least idle memory."""
    fewest: Contender
    """Fewest cold starts."""
    balanced: Contender
    """The least product of what callers pay, if it can be noticed, and idle memory: under no other policy is one of
    them halved without the other at least doubled."""
    unbeaten: Sequence[Contender]
    """Nobody is at least as good on both and better on one. In order of what callers pay."""
    beaten: Sequence[tuple[Contender, Contender]]
    """(who is beaten on both, by whom): by the unbeaten one that has the least product."""


def verdict(contenders: Sequence[Contender], group: str) -> Verdict:
    """Of contenders that all have the group; at least one."""

    def product(each: Contender) -> float:
        return _product(each.groups[group])

    unbeaten = [each for each in contenders if not any(beats(other, each, group) for other in contenders)]
    standing = {each.name for each in unbeaten}
    return Verdict(
        group=group,
        quickest=min(contenders, key=lambda each: (each.groups[group].cost, each.groups[group].idle_gb_min)),
        smallest=min(contenders, key=lambda each: (each.groups[group].idle_gb_min, each.groups[group].cost)),
        fewest=min(contenders, key=lambda each: (each.groups[group].cold, each.groups[group].idle_gb_min)),
        balanced=min(unbeaten, key=product),
        unbeaten=sorted(unbeaten, key=lambda each: each.groups[group].cost),
        beaten=[
            (each, min((other for other in unbeaten if beats(other, each, group)), key=product))
            for each in contenders
            if each.name not in standing
        ],
    )


def beats(one: Contender, other: Contender, group: str) -> bool:
    """At least as good on both axes, and better on one."""
    mine, theirs = one.groups[group], other.groups[group]
    no_worse = mine.cost <= theirs.cost and mine.idle_gb_min <= theirs.idle_gb_min
    return no_worse and (mine.cost, mine.idle_gb_min) != (theirs.cost, theirs.idle_gb_min)


def _product(figures: Figures) -> float:
    least = LEAST_COLD if figures.wait_s is None else UNNOTICED_S * figures.calls
    return max(figures.cost, least) * max(figures.idle_gb_min, LEAST_IDLE_GB_MIN)
