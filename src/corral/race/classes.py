"""What kind of traffic a function has: what is best for one kind is seldom best for another."""

import itertools
from collections.abc import Mapping, Sequence

from corral.race.trace import Function

RARE, STEADY, PERIODIC, BURSTY = "rare", "steady", "periodic", "bursty"

RARE_GAPS = 4
"""Fewer gaps between active minutes show no pattern that a rule could have learnt: every rule guesses."""
STEADY_SHARE = 0.9
"""Of the trace's minutes. So much traffic leaves no gap in which a rule would give up the last instance; what matters
is how many there are."""
REGULAR_SHARE = 0.75
"""Of the gaps, as long as the usual one: a rule that has learnt the period is right three times in four."""
EXACT_BELOW = 5
"""A usual gap of fewer minutes must be met exactly: one minute more or less would fit chance as well. From it on a call
that falls at the edge of a minute may be counted in the next."""

MEANING: Mapping[str, str] = {
    STEADY: f"called in {100 * STEADY_SHARE:.0f} % of the trace's minutes or more",
    PERIODIC: f"{100 * REGULAR_SHARE:.0f} % or more of the gaps between active minutes are as long as the usual gap "
    f"(± 1 minute from {EXACT_BELOW} minutes on)",
    BURSTY: "all others: called often, with gaps of no one length",
    RARE: f"fewer than {RARE_GAPS} gaps between active minutes: too little to learn from",
}
"""Every class in the order of a report, with the sentence that defines it."""


def class_of(function: Function) -> str:
    """One of MEANING, by the minutes in which the function was called."""
    active = [minute for minute, count in enumerate(function.counts) if count]
    gaps = [after - before for before, after in itertools.pairwise(active)]
    if len(gaps) < RARE_GAPS:
        return RARE
    if len(active) >= STEADY_SHARE * len(function.counts):
        return STEADY
    return PERIODIC if _is_regular(gaps) else BURSTY


def _is_regular(gaps: Sequence[int]) -> bool:
    """The usual gap is the median; gaps of one minute are not gaps."""
    usual = sorted(gaps)[len(gaps) // 2]
    slack = 0 if usual < EXACT_BELOW else 1
    near = sum(1 for gap in gaps if abs(gap - usual) <= slack)
    return usual > 1 and near >= REGULAR_SHARE * len(gaps)
