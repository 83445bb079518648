"""Moments that come round: of loops, scrapes and evaluations, whether or not anybody is asked at each."""

from math import floor


def next_moment(begun: float, every_s: float, now: float) -> float:
    """The first one after `now`, of those that lie `every_s` apart, counted from `begun`."""
    number = floor((now - begun) / every_s) + 1
    # A quotient that was rounded may be off by one.
    while begun + number * every_s <= now:
        number += 1
    return begun + number * every_s
