import itertools

import pytest

from corral.bench.schedule import Ask, interleaved, steady, turns


def test_steady_is_evenly_spaced() -> None:
    plan = steady([b"a", b"b", b"c"], rate=10, lane=1, begin=5.0)
    assert [ask.at for ask in plan] == pytest.approx([5.0, 5.1, 5.2])
    assert {ask.lane for ask in plan} == {1}
    assert [ask.request for ask in plan] == [b"a", b"b", b"c"]


def test_sparse_contenders_alternate_half_an_interval_apart() -> None:
    plan = interleaved([b"a", b"b"], [b"x", b"y"], rate=1, block=50)
    assert plan == [Ask(0.0, 0, b"a"), Ask(0.5, 1, b"x"), Ask(1.0, 0, b"b"), Ask(1.5, 1, b"y")]


def test_dense_contenders_take_turns_in_the_order_abba() -> None:
    plan = interleaved([b"a"] * 4, [b"x"] * 4, rate=100, block=2)
    assert [ask.lane for ask in plan] == [0, 0, 1, 1, 1, 1, 0, 0]


def test_dense_contenders_never_overlap_and_keep_their_rate_within_a_turn() -> None:
    plan = interleaved([b"a"] * 100, [b"x"] * 100, rate=100, block=50)
    moments = [ask.at for ask in plan]
    assert moments == sorted(moments)
    for one, other in itertools.pairwise(plan):
        gap = other.at - one.at
        same_turn = one.lane == other.lane and gap < 0.1
        assert gap == pytest.approx(0.01) if same_turn else gap >= 0.1


@pytest.mark.parametrize("rate", [1.0, 10.0, 100.0])
def test_every_request_is_planned_once_and_in_its_order(rate: float) -> None:
    first, second = [b"a%d" % n for n in range(120)], [b"x%d" % n for n in range(120)]
    plan = interleaved(first, second, rate, block=50)
    assert [ask.request for ask in plan if ask.lane == 0] == first
    assert [ask.request for ask in plan if ask.lane == 1] == second


def test_turns_mirror_each_other() -> None:
    assert turns(4) == [0, 1, 1, 0, 0, 1, 1, 0]
