"""Several changes over the API: all of them, or none."""

from typing import Any

import pytest

from corral.cli.applying import Change, apply
from corral.errors import CorralError, Forbidden, NotFound, Unavailable

CHANGES = [
    Change("/f", {"idle_s": 60, "scaling": {"engine": "corral"}}, {"idle_s": None, "scaling": {"engine": "knative"}}),
    Change("/g", {"scaling": {"engine": "hybrid"}}, {"scaling": None}),
    Change("/h", {"idle_s": 5}, {"idle_s": 7.5}),
]


class Scalings:
    """What a server would hold. `faults`: the PUT of this number, from 0 -> what it answers instead."""

    def __init__(self, **faults: BaseException) -> None:
        self.held = {change.path: dict(change.before) for change in CHANGES}
        self._faults = {int(number[1:]): fault for number, fault in faults.items()}
        self._count = -1

    def manage(self, method: str, path: str, value: Any) -> None:
        self._count += 1
        if self._count in self._faults:
            raise self._faults[self._count]
        assert method == "PUT"
        self.held[path] = dict(value)

    @property
    def changed(self) -> list[str]:
        return [change.path for change in CHANGES if self.held[change.path] == change.wanted]

    @property
    def is_as_before(self) -> bool:
        return all(self.held[change.path] == change.before for change in CHANGES)


def test_all_are_set() -> None:
    server = Scalings()
    assert apply(server.manage, CHANGES) == 3
    assert server.changed == ["/f", "/g", "/h"]


def test_function_that_was_deleted_meanwhile_is_left_out() -> None:
    server = Scalings(n1=NotFound("no function 'g'"))
    assert apply(server.manage, CHANGES) == 2
    assert server.changed == ["/f", "/h"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "token may not; nothing was set"),
        (1, "token may not; 1 function set before it is as it was"),
        (2, "token may not; 2 functions set before it are as they were"),
    ],
)
def test_one_that_fails_takes_back_those_before_it(number: int, said: str) -> None:
    server = Scalings(**{f"n{number}": Forbidden("token may not")})
    with pytest.raises(CorralError) as raised:
        apply(server.manage, CHANGES)
    assert raised.value.message == said
    assert server.is_as_before


def test_what_cannot_be_taken_back_is_named() -> None:
    server = Scalings(n2=Unavailable("no answer"), n3=Unavailable("no answer"))
    with pytest.raises(CorralError, match="no answer; still set, as they could not be set back: /g"):
        apply(server.manage, CHANGES)
    assert server.changed == ["/g"]


def test_interrupt_takes_back_what_was_begun() -> None:
    server = Scalings(n1=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        apply(server.manage, CHANGES)
    assert server.is_as_before
