"""Who is beaten by whom, and what is recommended."""

from corral.race.outcome import ALL, REST
from corral.race.sentences import headline, recommendation
from corral.race.verdict import verdict

from .outcomes import CALLS, contender, outcome

QUICK, SMALL, MIDDLE, BAD = (
    contender("quick", 10.0, 5000.0, cold=800),
    contender("small", 50.0, 800.0, cold=3000),
    contender("middle", 12.0, 900.0, cold=2000),
    contender("bad", 60.0, 2900.0, cold=100),
)
RACED = (BAD, QUICK, SMALL, MIDDLE)


def test_unbeaten_are_those_whom_nobody_equals_on_one_axis_and_beats_on_the_other() -> None:
    found = verdict(RACED, ALL)
    assert [each.name for each in found.unbeaten] == ["quick", "middle", "small"]
    assert [(loser.name, winner.name) for loser, winner in found.beaten] == [("bad", "middle")]


def test_equals_do_not_beat_each_other_and_the_first_wins() -> None:
    twin = contender("twin", 12.0, 900.0)
    found = verdict((MIDDLE, twin), ALL)
    assert [each.name for each in found.unbeaten] == ["middle", "twin"]
    assert found.quickest.name == found.smallest.name == found.balanced.name == "middle"


def test_same_wait_with_less_memory_beats() -> None:
    found = verdict((MIDDLE, contender("leaner", 12.0, 899.0)), ALL)
    assert [each.name for each in found.unbeaten] == ["leaner"]


def test_balanced_is_who_cannot_be_halved_on_one_axis_without_doubling_the_other() -> None:
    found = verdict(RACED, ALL)
    assert found.balanced.name == "middle"
    best = found.balanced.groups[ALL]
    assert all(each.groups[ALL].cost >= 0.001 * CALLS for each in RACED), "noticed"
    for each in RACED:
        other = each.groups[ALL]
        assert other.cost / best.cost * other.idle_gb_min / best.idle_gb_min >= 1


def test_a_wait_that_nobody_notices_is_not_worth_memory() -> None:
    # 10,000 calls: 9 s in all are 0.9 ms for each.
    standing, starting = contender("standing", 0.0, 103.0), contender("starting", 9.0, 7.0)
    assert verdict((standing, starting), ALL).balanced.name == "starting"
    noticed = contender("noticed", 200.0, 7.0)
    assert verdict((standing, noticed), ALL).balanced.name == "standing"


def test_headline_says_who_wins_on_what_with_numbers() -> None:
    assert list(headline(outcome(*RACED))) == [
        "quick is best for callers: 10 s of added latency in all over 10,000 calls, 999 of 1,000 wait at most 12 ms. "
        "It holds 5,000 GB-min of idle memory.",
        "small holds least memory idle: 800 GB-min, where quick holds 6.25 times as much. Its callers pay 5 times as "
        "much as those of quick: 50 s of added latency in all.",
        "middle (12 s of added latency in all at 900 GB-min of idle memory) is the balanced choice: under no other "
        "policy is one of the two halved without the other at least doubled (less than 1 ms a call counts as 1 ms).",
        "Of 4 policies 3 are unbeaten: quick, middle and small. Beaten, no better on either and worse on one or both: "
        "bad by middle.",
        "bad has the fewest cold starts: 100, or 1 % of the calls.",
    ]


def test_headline_names_the_beaten_by_their_winners() -> None:
    worse = contender("worse", 61.0, 3000.0)
    standing = list(headline(outcome(*RACED, contender("lame", 51.0, 801.0), worse)))[3]
    assert standing.endswith(
        "Beaten, no better on either and worse on one or both: bad and worse by middle; lame by small."
    )


def test_headline_names_all_who_are_level() -> None:
    twin, leaner = contender("twin", 12.0, 900.0), contender("leaner", 13.0, 900.0)
    said = list(headline(outcome(MIDDLE, twin, leaner)))
    assert said[0].startswith("middle is best for callers, level with twin: 12 s")
    assert "is the balanced choice, level with twin: under" in said[2]
    assert recommendation(outcome(MIDDLE, twin), "rare").startswith("middle, level with twin: 6 s of added")
    assert said[1].startswith("middle also holds least memory idle, level with twin and leaner: nobody is better")


def test_headline_says_what_changes_without_the_dominating_function() -> None:
    one = contender("one", 1.0, 10.0, rest=(2.0, 5.0))
    other = contender("other", 2.0, 20.0, rest=(1.0, 4.0))
    said = list(headline(outcome(one, other, dominating="f")))
    assert said[1] == "one also holds least memory idle: nobody is better on either."
    assert said[-1] == (
        "One function makes 63 % of all calls. Without it other is best for callers, other in memory; unbeaten: other."
    )


def test_recommendation_gives_its_reason_and_the_alternatives() -> None:
    assert recommendation(outcome(*RACED), "rare") == (
        "middle: 6 s of added latency in all at 450 GB-min of idle memory. Under no other policy is one of the two "
        "halved without the other at least doubled (less than 1 ms a call counts as 1 ms). If only callers count: "
        "quick (5 s of added latency in all at 2,500 GB-min of idle memory). If only memory counts: small (25 s of "
        "added latency in all at 400 GB-min of idle memory)."
    )


def test_recommendation_of_the_only_unbeaten_needs_no_weighing() -> None:
    said = recommendation(outcome(MIDDLE, contender("worse", 13.0, 901.0)), "rare")
    assert said.endswith("It is the best on both, so there is nothing to weigh.")


def test_without_the_dominating_function_is_a_group_of_its_own() -> None:
    one = contender("one", 1.0, 10.0, rest=(2.0, 5.0))
    other = contender("other", 2.0, 20.0, rest=(1.0, 4.0))
    assert verdict((one, other), REST).quickest.name == "other"
