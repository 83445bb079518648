"""A minute's entry is the same when it is read again, whatever it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.model import FunctionKey
from corral.ports import MinuteSeen
from corral.store.minutes import entries, entry

F = FunctionKey("default/f")
MINUTES = st.builds(
    MinuteSeen,
    key=st.just(F),
    minute=st.integers(0, 59),
    calls=st.integers(0, 2**40),
    idle_times=st.dictionaries(st.integers(0, 240), st.integers(1, 2**40), max_size=5),
)


@given(st.lists(MINUTES, max_size=61))
def test_entries_come_back_in_their_order(minutes: list[MinuteSeen]) -> None:
    assert list(entries(F, 0, b"".join(map(entry, minutes)))) == minutes


def test_minute_is_that_of_the_hour_and_the_row_says_which() -> None:
    seen = MinuteSeen(key=F, minute=29_710_000 * 60 + 59, calls=3, idle_times={0: 2})
    assert list(entries(F, 29_710_000, entry(seen))) == [seen]


def test_usual_minute_has_five_bytes() -> None:
    assert len(entry(MinuteSeen(key=F, minute=7, calls=100, idle_times={0: 99}))) == 5


@pytest.mark.parametrize("stored", [b"\x80", b"\x07", b"\x07\x01", b"\x07\x01\x01", b"\x07\x01\x01\x00"])
def test_what_breaks_off_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="it ends within"):
        list(entries(F, 0, stored))
