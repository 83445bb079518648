"""OpenWhisk's prewarmed containers. Source of the cases: openwhisk, ContainerPoolTests (prewarm, reactive prewarm) and
the numbers of runtimes.json."""

import itertools
import random

import pytest

from corral.policy.openwhisk.stem_cells import CHECK_S, EXPIRED_AT_ONCE, Reactive, StemCell, StemCells
from corral.policy.stock import Kind, StockTerms, Supply

KIND = Kind("python3", 256)
LARGE = Kind("python3", 512)
OTHER = Kind("python3.9", 256)


class Host:
    """Holds the unbound instances, and makes at once what is wanted unless `makes` is False."""

    def __init__(self, *cells: StemCell, promotion: bool = False) -> None:
        self.stock = StemCells(StockTerms(rng=random.Random(1)), cells or None, promotion=promotion)
        self.now, self.makes = 0.0, True
        self.standing: dict[Kind, int] = {}
        self.made = 0
        self.supply = Supply({}, None)
        self.decide()

    def decide(self) -> None:
        self.supply = self.stock.decide(self.now)
        for kind in self.supply.wanted.keys() | self.standing:
            wanted, stands = self.supply.wanted.get(kind, 0), self.standing.get(kind, 0)
            if wanted > stands and self.makes:
                for _ in range(wanted - stands):
                    self.stock.made(kind, self.now)
                self.made += wanted - stands
            elif wanted > stands:
                continue
            self.standing[kind] = wanted

    def start(self, kind: Kind = KIND) -> Kind | None:
        taken = self.stock.take(kind, self.now)
        if taken is not None:
            self.standing[taken] -= 1
        self.decide()
        return taken

    def check(self) -> None:
        """The next one comes."""
        assert self.supply.next_at is not None
        self.now = self.supply.next_at
        self.decide()

    def count(self, kind: Kind = KIND) -> int:
        return self.standing.get(kind, 0)


REACTIVE = [
    # (least, most, threshold, increment, cold starts, wanted)
    pytest.param(1, 4, 1, 1, 0, 1, id="none: the least"),
    pytest.param(1, 4, 1, 1, 3, 3, id="one for each"),
    pytest.param(1, 4, 1, 1, 9, 4, id="never above the most"),
    pytest.param(0, 4, 2, 1, 2, 1, id="two cold starts are one, threshold 2"),
    pytest.param(0, 4, 2, 1, 4, 2, id="four cold starts are two, threshold 2"),
    pytest.param(0, 4, 2, 1, 3, 1, id="rounded down"),
    pytest.param(0, 4, 2, 1, 1, 0, id="below the threshold"),
    pytest.param(0, 10, 1, 3, 2, 6, id="increment 3"),
    pytest.param(2, 4, 2, 1, 2, 2, id="never below the least"),
]


@pytest.mark.parametrize(("least", "most", "threshold", "increment", "cold", "wanted"), REACTIVE)
def test_cold_starts_since_the_last_check_size_the_next_stock(
    least: int, most: int, threshold: int, increment: int, cold: int, wanted: int
) -> None:
    reactive = Reactive(least=least, most=most, threshold=threshold, increment=increment, ttl_s=1.0)
    host = Host(StemCell(kind=KIND, initial=0, reactive=reactive))
    host.makes = False  # so that every start is a cold one
    for _ in range(cold):
        assert host.start() is None
    host.makes = True
    if cold or least:
        host.check()
    assert host.count() == wanted


def test_two_stand_at_the_start_and_one_is_kept_afterwards() -> None:
    host = Host()
    assert host.supply.wanted == {KIND: 2}, "initialCount 2 of the default runtime at 256 MB"
    assert host.start() == KIND
    assert host.count() == 1, "filled up to minCount, which one still is"
    assert host.start() == KIND
    assert (host.count(), host.made) == (1, 3)


def test_kind_that_is_not_reactive_is_filled_up_to_its_initial_count_at_once() -> None:
    host = Host(StemCell(kind=KIND, initial=3, reactive=None))
    assert host.start() == KIND
    assert host.supply == Supply({KIND: 3}, None), "and nobody has to look again"


@pytest.mark.parametrize("kind", [LARGE, OTHER, Kind("python3", 128)])
def test_start_of_another_kind_takes_none(kind: Kind) -> None:
    host = Host()
    assert host.start(kind) is None
    assert host.count() == 2


def test_promotion_takes_the_least_that_is_large_enough() -> None:
    cells = [StemCell(kind=each, initial=1, reactive=None) for each in (LARGE, KIND, OTHER)]
    host = Host(*cells, promotion=True)
    host.makes = False
    assert [host.start(Kind("python3", 128)) for _ in range(3)] == [KIND, LARGE, None]


def test_those_above_the_least_expire_and_the_least_is_renewed() -> None:
    host = Host(StemCell(kind=KIND, initial=4, reactive=Reactive(least=1, ttl_s=120.0)))
    assert host.count() == 4
    host.check()
    assert host.now == CHECK_S
    assert (host.count(), host.made) == (1, 4), (
        "all four were older than two minutes; one would be made anew, and stays"
    )
    assert host.start() == KIND


def test_none_expires_before_its_time() -> None:
    host = Host(StemCell(kind=KIND, initial=2, reactive=Reactive(least=0, ttl_s=CHECK_S + 1)))
    host.check()
    assert host.count() == 2
    host.check()
    assert host.count() == 0


def test_a_hundred_expire_at_a_check_at_most() -> None:
    initial = EXPIRED_AT_ONCE + 20
    host = Host(StemCell(kind=KIND, initial=initial, reactive=Reactive(least=0)))
    host.check()
    assert host.count() == 20
    host.check()
    assert host.count() == 0


def test_one_that_ended_by_itself_is_replaced() -> None:
    host = Host(StemCell(kind=KIND, initial=1, reactive=None))
    host.stock.lost(KIND, host.now)
    host.standing[KIND] -= 1
    host.decide()
    assert (host.count(), host.made) == (1, 2)


def test_those_being_made_are_not_ordered_twice() -> None:
    host = Host(StemCell(kind=KIND, initial=2, reactive=None))
    host.makes = False
    for _ in range(3):
        host.start()
    assert host.supply.wanted == {KIND: 2}


def test_empty_stock_is_never_looked_at() -> None:
    host = Host(StemCell(kind=KIND, initial=1, reactive=Reactive(least=0, threshold=2)))
    assert host.start() == KIND
    assert host.supply == Supply({}, None)
    host.now = 5000.0
    assert host.start() is None
    assert host.supply.next_at is not None, "a cold start may bring some"
    assert host.supply.next_at <= host.now + CHECK_S + 10
    host.check()
    assert host.supply == Supply({}, None), "one was too few"


def test_checks_are_ten_minutes_apart_and_up_to_ten_seconds_drawn_once() -> None:
    host, moments = Host(), []
    for _ in range(4):
        host.check()
        moments.append(host.now)
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert moments[0] == CHECK_S
    assert gaps == pytest.approx([gaps[0]] * 3)
    assert CHECK_S <= gaps[0] <= CHECK_S + 10
