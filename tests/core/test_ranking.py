"""Order by a number that changes."""

from hypothesis import given
from hypothesis import strategies as st

from corral.policy.ranking import Ranking

changes = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.integers(0, 3)), max_size=300)


@given(changes)
def test_lowest_goes_by_rank_and_among_equals_by_arrival(events: list[tuple[str, int | None]]) -> None:
    ranking: Ranking[str] = Ranking()
    ranks: dict[str, int] = {}
    for key, rank in events:
        if rank is None:
            ranking.drop(key)
            ranks.pop(key, None)
        else:
            ranking.put(key, rank)
            ranks[key] = rank  # a new rank keeps the place in the dictionary: that of the arrival
        expected = sorted(ranks, key=lambda each: ranks[each])
        assert list(ranking.lowest()) == expected
        assert ranking.first() == (expected[0] if expected else None)
        assert len(ranking) == len(ranks)


def test_changes_leave_little_behind() -> None:
    ranking: Ranking[str] = Ranking()
    for number in range(10_000):
        ranking.put("a", number)
    assert len(ranking._heap) < 100


def test_what_is_passed_over_stays() -> None:
    ranking: Ranking[str] = Ranking()
    for rank, key in enumerate("abc"):
        ranking.put(key, rank)
    for key in ranking.lowest():
        if key == "b":
            ranking.drop(key)
            break
    assert list(ranking.lowest()) == ["a", "c"]
