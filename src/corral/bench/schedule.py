"""When each call is to be sent: decided before the first one, so that a slow answer delays no later call."""

from collections.abc import Iterator, Sequence

import msgspec

DENSE_RATE = 50.0
"""Calls per second from which two contenders no longer fit between each other and take turns in blocks."""


class Ask(msgspec.Struct, frozen=True):
    """One planned call."""

    at: float
    """Seconds after the start of the plan."""
    lane: int
    """Which contender it is for: an index into the generator's doors."""
    request: bytes


def steady(requests: Sequence[bytes], rate: float, lane: int = 0, begin: float = 0.0) -> list[Ask]:
    """`rate` calls per second from `begin` on, evenly spaced."""
    return [Ask(begin + index / rate, lane, request) for index, request in enumerate(requests)]


def interleaved(first: Sequence[bytes], second: Sequence[bytes], rate: float, block: int) -> list[Ask]:
    """Two contenders (lanes 0 and 1), equally many calls, each at `rate` while it is its turn.

    Sparse rates: they alternate call by call, the second half an interval after the first, so each sees a machine
    that has been quiet for half an interval. Dense rates: they would get into each other's way, so they take turns
    in the order ABBA, `block` calls a turn, one interval plus a tenth of a second apart."""
    if rate < DENSE_RATE:
        return sorted(steady(first, rate, 0) + steady(second, rate, 1, 0.5 / rate), key=lambda ask: ask.at)
    plan: list[Ask] = []
    queues = (list(_blocks(first, block)), list(_blocks(second, block)))
    begin = 0.0
    for turn in range(len(queues[0])):
        for lane in (0, 1) if turn % 2 == 0 else (1, 0):
            requests = queues[lane][turn]
            plan += steady(requests, rate, lane, begin)
            begin += (len(requests) + 1) / rate + 0.1
    return plan


def _blocks(requests: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(requests), size):
        yield requests[start : start + size]


def turns(rounds: int) -> list[int]:
    """ABBA for two contenders: 0, 1, 1, 0, 0, 1, … with `rounds` of each: a drift of the machine hits both alike."""
    return [lane for turn in range(rounds) for lane in ((0, 1) if turn % 2 == 0 else (1, 0))]
