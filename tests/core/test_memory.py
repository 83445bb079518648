"""What a rule learns of a function outlives its revisions and its sleep, and ends with the function."""

import random
from collections.abc import Iterator

import msgspec
import pytest

from corral.model import RevisionId
from corral.policy import SCALERS, Decision, Rule, Settings, Situation, Terms
from corral.roster import Decided, Roster, Scaling
from corral.roster.deployments import REST_S

FIRST, SECOND = RevisionId("default/f@1"), RevisionId("default/f@2")
OTHER = RevisionId("default/g@1")


class Seen(msgspec.Struct):
    asked: int = 0


class Counting:
    """Counts how often it is asked, for its function and for the host."""

    def __init__(self, terms: Terms) -> None:
        self.retune(terms)

    def retune(self, terms: Terms) -> None:
        assert isinstance(terms.memory, Seen) and isinstance(terms.common, Seen)
        self._own, self._all = terms.memory, terms.common

    def decide(self, seen: Situation, now: float) -> Decision:
        self._own.asked += 1
        self._all.asked += 1
        return Decision(0, None, "counted", {"own": self._own.asked, "all": self._all.asked})


@pytest.fixture(autouse=True)
def _rule() -> Iterator[None]:
    SCALERS["counting"] = Rule(Settings, Counting, memory=Seen, common=Seen)
    yield
    del SCALERS["counting"]


def scaling(least: int) -> Scaling:
    return Scaling(
        min=least, max=5, initial=0, idle_s=1, concurrency=1, memory_mib=64, engine="counting", settings=Settings()
    )


def asked(roster: Roster, revision: RevisionId, now: float = 0.0) -> tuple[float, float]:
    """(of the function, of all) after one more question."""
    (decided,) = (action for action in roster.rescaled(revision, scaling(1), now) if isinstance(action, Decided))
    roster.rescaled(revision, scaling(0), now)
    return decided.inputs["own"], decided.inputs["all"]


def host() -> Roster:
    roster = Roster("b", 2, random.Random(0))
    for revision in (FIRST, SECOND, OTHER):
        roster.deployed(revision, scaling(0), 0.0)
    return roster


def test_revisions_of_a_function_share_what_is_learned_and_functions_do_not() -> None:
    roster = host()
    assert [asked(roster, revision) for revision in (FIRST, SECOND, OTHER)] == [(1, 1), (3, 3), (1, 5)]


def test_what_is_learned_outlives_sleep() -> None:
    roster = host()
    asked(roster, FIRST)
    asked(roster, OTHER, 1.0)
    asked(roster, SECOND, 2.0 + REST_S)
    assert roster.memory(FIRST) is None, "it sleeps"
    assert asked(roster, FIRST, 3.0 + REST_S)[0] == 5


def test_memory_of_one_that_sleeps_is_known_when_it_was_measured() -> None:
    roster = host()
    roster.remembered(FIRST, 77, 0.0)
    found = roster.memory(FIRST)
    assert found is not None
    assert (found.charged_mib, found.is_measured, found.shortage) == (77, True, None)
    assert roster.memory(SECOND) is None


def test_what_is_learned_goes_with_the_last_revision() -> None:
    roster = host()
    asked(roster, FIRST)
    roster.removed(FIRST, 1.0)
    roster.deployed(FIRST, scaling(0), 1.0)
    assert asked(roster, FIRST, 1.0)[0] == 3
    roster.removed(FIRST, 2.0)
    roster.removed(SECOND, 2.0)
    roster.deployed(SECOND, scaling(0), 2.0)
    assert asked(roster, SECOND, 2.0)[0] == 1
