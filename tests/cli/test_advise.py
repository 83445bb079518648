"""What `corral advise` prints of one function."""

from corral.cli.advise import _row
from corral.race.advice import Advice
from corral.race.alone import Outcome, Said


def test_waits_and_memory_are_said_as_a_race_says_them() -> None:
    before = Outcome(cold_starts=2000, added_s=0.00797, idle_gb_min=0.000573)
    then = Outcome(cold_starts=1, added_s=101.2, idle_gb_min=1234.5)
    advice = Advice(name="f", calls=494, calls_used=494, since=None, now=before, advised=None, then=then, why="so")
    row = _row(advice, Said(scaling={"engine": "knative"}, idle_s=None))
    assert row[4:7] == ("2,000 → 1", "7.97 ms → 101 s", "0.00057 → 1,234")
