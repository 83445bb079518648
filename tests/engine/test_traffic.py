"""Traffic: where a function's calls go, as arithmetic."""

from collections.abc import Sequence
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.engine import traffic
from corral.model import REVISIONS_KEPT, Share


def shares(**percent_by_number: int) -> traffic.Traffic:
    return traffic.arranged({int(name[1:]): percent for name, percent in percent_by_number.items()}, {})


@pytest.mark.parametrize(
    ("before", "tag", "takes_calls", "after"),
    [
        pytest.param((), None, True, shares(r6=100), id="the first takes all"),
        pytest.param(shares(r5=100), None, True, shares(r6=100), id="it takes over from the one before"),
        pytest.param(shares(r3=90, r5=10), None, True, shares(r3=90, r6=10), id="in a split, from the newest"),
        pytest.param(shares(r2=100), None, True, shares(r6=100), id="after a rollback, from what serves"),
        pytest.param(shares(r5=100), None, False, shares(r5=100), id="without traffic nothing changes"),
        pytest.param(
            shares(r5=100), "canary", False,
            (Share(number=5, percent=100), Share(number=6, tag="canary")), id="without traffic but with a tag",
        ),
        pytest.param(
            (Share(number=3, tag="canary"), Share(number=5, percent=100, tag="stable")), "canary", True,
            (Share(number=5, tag="stable"), Share(number=6, percent=100, tag="canary")), id="its tag moves",
        ),
    ],
)  # fmt: skip
def test_after_a_deployment(
    before: traffic.Traffic, tag: str | None, takes_calls: bool, after: traffic.Traffic
) -> None:
    assert traffic.deployed(before, 6, tag, takes_calls) == after


BACK = "back"


@pytest.mark.parametrize(
    ("steps", "number"),
    [
        pytest.param([1, 2], 1, id="to the one before"),
        pytest.param([1], None, id="nothing is before the first"),
        pytest.param([1, 2, 3, BACK], 1, id="a second time further back, not forth"),
        pytest.param([1, 2, BACK, 3], 1, id="not to what was left by going back"),
        pytest.param([1, {1: 90, 2: 10}], 1, id="from a split to what had all before it"),
        pytest.param([1, {1: 90, 2: 10}, {1: 90, 3: 10}, 3], 1, id="past what was only tried"),
        pytest.param([1, 2, 3, 1, 3], 1, id="what was gone back to by name is before what was gone on to"),
    ],
)
def test_rollback_goes_along_what_had_all_calls(steps: list[int | str | dict[int, int]], number: int | None) -> None:
    now: traffic.Traffic = ()
    proven: Sequence[int] = ()
    for step in steps:
        if step == BACK:
            step = traffic.previous(now, proven) or 0
        assert not isinstance(step, str)
        now = traffic.arranged({step: 100} if isinstance(step, int) else step, {})
        proven = traffic.proven(proven, now)
    assert traffic.previous(now, proven) == number


@pytest.mark.parametrize(
    ("before", "after", "instances", "needed"),
    [
        pytest.param({}, {1: 100}, {}, {1: 0}, id="the first replaces nothing"),
        pytest.param({5: 100}, {6: 100}, {5: 7}, {6: 7}, id="a whole change needs them all"),
        pytest.param({5: 100}, {5: 90, 6: 10}, {5: 12}, {6: 2}, id="a tenth of them, rounded up"),
        pytest.param({3: 90, 5: 10}, {3: 90, 6: 10}, {3: 9, 5: 4}, {6: 4}, id="as many as the one it replaces"),
        pytest.param({3: 90, 5: 10}, {5: 100}, {3: 9, 5: 1}, {5: 10}, id="its own and those of the other"),
        pytest.param({3: 50, 4: 50}, {5: 50, 6: 50}, {3: 4, 4: 2}, {5: 3, 6: 3}, id="two for two"),
        pytest.param({5: 100}, {4: 100}, {5: 0}, {4: 0}, id="nothing runs, nothing is needed"),
        pytest.param({5: 100}, {5: 100}, {5: 3}, {}, id="nothing changes"),
    ],
)
def test_instances_needed_before_calls_move(
    before: dict[int, int], after: dict[int, int], instances: dict[int, int], needed: dict[int, int]
) -> None:
    assert traffic.needed(before, after, instances) == needed


@pytest.mark.parametrize(
    ("wanted", "tags", "sentences"),
    [
        ({3: 90, 5: 10}, {}, []),
        ({3: 90, 5: 20}, {}, ["shares add up to 110 (90 + 20), must add up to 100"]),
        ({}, {}, ["shares add up to 0 (nothing), must add up to 100"]),
        ({3: 150, 5: -50}, {}, [
            "share of revision 3 = 150, must be between 0 and 100",
            "share of revision 5 = -50, must be between 0 and 100",
        ]),
        ({9: 100}, {}, ["share of revision 9: no such revision is kept, must be one of 3, 5"]),
        (None, {"stable": 9}, ["tag 'stable' = 9: no such revision is kept, must be one of 3, 5"]),
        (None, {"5": 5}, ["tag = '5', must not be a number: revisions have numbers"]),
        (None, {"Bad_Tag": 5}, [
            "tag = 'Bad_Tag', must be a DNS label: 1 to 63 of a-z, 0-9 and -, "
            "beginning and ending with a letter or digit",
        ]),
        (None, {"gone": None}, ["tag 'gone' is not there, so it cannot be taken away"]),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(
    wanted: dict[int, int] | None, tags: dict[str, int | None], sentences: list[str]
) -> None:
    assert list(traffic.problems(wanted, tags, (3, 5), shares(r5=100))) == sentences


def test_ten_newest_are_kept_and_those_with_a_share_or_a_tag() -> None:
    now = (Share(number=1, tag="old"), Share(number=2, percent=40), Share(number=14, percent=60))
    assert traffic.collected(range(1, 15), now, ()) == {3, 4}
    assert traffic.collected(range(1, REVISIONS_KEPT + 1), shares(r10=100), ()) == set()


def test_what_a_deployment_after_a_rollback_replaced_can_be_gone_back_to() -> None:
    """Revision 1 was gone back to each time; the eleventh deployment replaces it again."""
    assert traffic.collected(range(1, 12), shares(r11=100), (1, 11)) == set()
    assert traffic.collected(range(1, 12), shares(r11=100), (1, 9, 11)) == {1}


def test_foremost_is_the_largest_share_and_of_equal_ones_the_newest() -> None:
    assert traffic.foremost(shares(r3=90, r5=10)) == 3
    assert traffic.foremost(shares(r3=50, r5=50)) == 5


@st.composite
def splits(draw: st.DrawFn) -> dict[int, int]:
    """Shares that add up to 100."""
    cuts = sorted({0, 100, *draw(st.lists(st.integers(1, 99), max_size=5))})
    numbers = draw(st.permutations(range(1, 9)))
    return {number: upper - lower for number, lower, upper in zip(numbers, cuts, cuts[1:], strict=False)}


tags_of = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 8), max_size=4)


@given(splits(), tags_of)
def test_arranged_says_what_it_was_given(wanted: dict[int, int], names: dict[str, int]) -> None:
    now = traffic.arranged(wanted, names)
    assert (traffic.percents(now), traffic.tags(now)) == (wanted, names)
    assert traffic.live(now) == {*wanted, *names.values()}
    assert traffic.arranged(traffic.percents(now), traffic.tags(now)) == now


@given(splits(), tags_of, st.booleans(), st.sampled_from([None, "a", "e"]))
def test_shares_add_up_to_a_hundred_after_any_deployment(
    wanted: dict[int, int], names: dict[str, int], takes_calls: bool, tag: str | None
) -> None:
    after = traffic.deployed(traffic.arranged(wanted, names), 9, tag, takes_calls)
    assert sum(traffic.percents(after).values()) == 100
    assert (9 in traffic.percents(after)) == takes_calls


@given(splits(), splits(), st.data())
def test_what_is_needed_carries_all_that_moves_and_hardly_more(
    before: dict[int, int], after: dict[int, int], data: st.DataObject
) -> None:
    there = {number: data.draw(st.integers(0, 50)) for number in before}
    needed = traffic.needed(before, after, there)
    gaining = {number for number in after if after[number] > before.get(number, 0)}
    assert set(needed) == gaining
    freed = sum(there[n] * (before[n] - after.get(n, 0)) / before[n] for n in before if after.get(n, 0) < before[n])
    added = sum(count - there.get(number, 0) for number, count in needed.items())
    assert ceil(freed - 1e-9) <= added < freed + len(gaining) + 1e-9
