"""Turns: exact shares over any run."""

from fractions import Fraction
from itertools import accumulate, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.gateway.turns import turns


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ({"a": 1, "b": 1}, "abababab"),
        ({"a": 75, "b": 25}, "aabaaaba"),
        ({"a": 100}, "aaaa"),
        ({"a": 50, "b": 25, "c": 25}, "abacabac"),
    ],
)
def test_turns_are_spread_evenly(weights: dict[str, int], order: str) -> None:
    assert sorted(islice(turns(weights), len(order))) == sorted(order)
    runs = "".join(islice(turns(weights), 400))
    assert "bb" not in runs and runs.count("a") == 400 * weights["a"] // sum(weights.values())


@given(st.dictionaries(st.integers(), st.integers(1, 100), min_size=1, max_size=8))
def test_each_has_its_share_of_any_first_calls_but_for_less_than_one(weights: dict[int, int]) -> None:
    total = sum(weights.values())
    taken = list(islice(turns(weights), 2 * total))
    for taker, weight in weights.items():
        for number, had in enumerate(accumulate(each == taker for each in taken), start=1):
            assert abs(had - Fraction(number * weight, total)) < 1
