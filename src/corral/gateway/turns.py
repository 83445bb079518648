"""Whose turn the next call is, where several share a function's calls."""

from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import cycle
from math import gcd
from typing import TypeVar

Taker = TypeVar("Taker")


def turns(weights: Mapping[Taker, int]) -> Iterator[Taker]:
    """For ever: who takes the next call. `weights` are above 0. Exact over any run: of the first n calls each has had
    its part of n but for less than one call, so in any run in between but for less than two. A turn costs the next
    entry of a list of at most the sum of the weights, made once."""
    return cycle(_round(weights))


def _round(weights: Mapping[Taker, int]) -> list[Taker]:
    """One round of turns. A taker's k-th turn may come from place floor((k-1) * sum / weight) on and must have come by
    ceil(k * sum / weight): the earliest deadline first keeps all of them (Baruah and others 1996, proportionate
    progress)."""
    divisor = reduce(gcd, weights.values())
    parts = {taker: weight // divisor for taker, weight in weights.items()}
    places = sum(parts.values())
    had = dict.fromkeys(parts, 0)
    order = []
    for place in range(places):
        due = [taker for taker, part in parts.items() if had[taker] * places < (place + 1) * part]
        taker = min(due, key=lambda each: -(-(had[each] + 1) * places // parts[each]))
        had[taker] += 1
        order.append(taker)
    return order
