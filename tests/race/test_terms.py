"""What a report says of the terms of a race."""

import pytest

from corral.race.arrivals import ARRIVALS
from corral.race.coldstart import MEASURED, ColdStart, fixed, through
from corral.race.conditions import Conditions
from corral.race.terms import LYING, compared, in_bins, in_events


@pytest.mark.parametrize(
    "cold_start, said",
    [
        pytest.param(fixed(250), "250 ms", id="fixed"),
        pytest.param(
            ColdStart("mine", ((0, 2.0), (50, 3.0), (99, 5.0), (100, 9.0))),
            "2 to 9 ms, half of them up to 3 ms, 99 % up to 5 ms (mine)",
            id="quantiles",
        ),
        pytest.param(
            through("many", 3.2, 4.7),
            "1.73 to 5.92 ms, half of them up to 3.2 ms, 99 % up to 4.7 ms (many)",
            id="many quantiles",
        ),
    ],
)
def test_cold_starts_are_said_in_a_line(cold_start: ColdStart, said: str) -> None:
    assert in_events(Conditions(cold_start=cold_start))["a cold start takes"] == said


def test_every_kind_of_arrivals_has_its_words() -> None:
    assert set(LYING) == set(ARRIVALS)
    for kind in ARRIVALS:
        assert kind in in_events(Conditions(arrivals=kind))["calls lie"]


def test_what_is_compared_is_said_of_races_in_events_alone() -> None:
    said = compared(in_events(Conditions(cold_start=fixed(250))))
    assert said[0].startswith("Rules are compared, not engines: under every policy the same calls come and starts take")
    assert "equally long, 250 ms." in said[0]
    assert compared(in_bins()) == ()


def test_seed_and_concurrency_are_said() -> None:
    terms = in_events(Conditions(seed=7, concurrency=4, cold_start=MEASURED))
    assert terms["seed"] == "7"
    assert terms["calls at once in an instance"] == "4, unless a policy says otherwise"
