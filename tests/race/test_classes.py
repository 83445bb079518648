"""Which class a function's traffic is in."""

import random

import pytest

from corral.race.classes import class_of
from corral.race.trace import PERCENTILES, Durations, Function

DICE = random.Random(1)


def called(*counts: int) -> Function:
    durations = Durations(10.0, (10.0,) * len(PERCENTILES))
    return Function(name="f", app="a", owner="o", trigger="http", memory_mib=64.0, counts=counts, durations=durations)


@pytest.mark.parametrize(
    "counts, kind",
    [
        pytest.param([1] * 60, "steady", id="every minute"),
        pytest.param(([3] * 9 + [0]) * 6, "steady", id="nine minutes of ten"),
        pytest.param(([3] * 8 + [0]) * 6, "bursty", id="eight minutes of nine"),
        pytest.param(([1] + [0] * 4) * 12, "periodic", id="every five minutes"),
        pytest.param(([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0]) * 4, "periodic", id="five minutes, one late"),
        pytest.param([0, 1] * 30, "periodic", id="every other minute"),
        pytest.param(([1, 0, 1, 0, 0]) * 12, "bursty", id="two and three minutes in turn"),
        pytest.param([int(DICE.random() < 0.2) for _ in range(480)], "bursty", id="any minute by chance"),
        pytest.param([int(DICE.random() < 0.5) for _ in range(480)], "bursty", id="every other minute by chance"),
        pytest.param(([9] * 6 + [0] * 54) * 4, "bursty", id="six minutes in each hour"),
        pytest.param(([1] + [0] * 59) * 8, "periodic", id="hourly, seven gaps"),
        pytest.param(([1] + [0] * 59) * 4, "rare", id="hourly, three gaps"),
        pytest.param([500] + [0] * 59, "rare", id="many calls in a single minute"),
        pytest.param([0] * 60, "rare", id="no call"),
    ],
)
def test_class_follows_from_the_minutes_with_calls(counts: list[int], kind: str) -> None:
    assert class_of(called(*counts)) == kind
