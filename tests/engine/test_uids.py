"""Numeric users: one for each function."""

import pytest

from corral.engine.uids import Uids
from corral.errors import Conflict


def test_the_lowest_free_user_after_corrals_own_is_given() -> None:
    uids = Uids(100_000, 6)
    assert [uids.take() for _ in range(4)] == [100_002, 100_003, 100_004, 100_005]
    uids.give_back(100_004)
    uids.give_back(100_002)
    assert [uids.take(), uids.take()] == [100_002, 100_004]


def test_users_of_stored_revisions_are_not_given_again_until_they_come_back() -> None:
    uids = Uids(100_000, 6)
    uids.claim([100_002, 100_004])
    assert [uids.take(), uids.take()] == [100_003, 100_005]
    uids.give_back(100_004)
    assert uids.take() == 100_004


def test_a_user_given_back_before_its_turn_came_is_given_once() -> None:
    uids = Uids(100_000, 5)
    uids.claim([100_003])
    uids.give_back(100_003)
    assert sorted(uids.take() for _ in range(3)) == [100_002, 100_003, 100_004]


def test_a_used_up_range_is_refused_with_what_helps() -> None:
    uids = Uids(100_000, 3)
    uids.take()
    with pytest.raises(Conflict, match=r"all 1 users .* delete functions, or set keeper.uid_count higher"):
        uids.take()
