"""What the instances of a revision use reaches its scaler: once for each measurement, and only if it goes by it."""

import random
from collections.abc import Iterator

import pytest

from corral.model import GatewayId, InstanceId, RevisionId
from corral.policy import SCALERS, Decision, Rule, Settings, Situation, Terms, Usage
from corral.roster import Assign, Roster, Scaling

F = RevisionId("default/f@1")
GATE = GatewayId("gate")


class Thirsty(Settings, frozen=True):
    @property
    def needs_usage(self) -> bool:
        return True


class Noting:
    """Notes every question of a measurement."""

    seen: list[Usage]

    def __init__(self, terms: Terms) -> None:
        self._least, self._cpu = terms.min, terms.cpu

    def retune(self, terms: Terms) -> None:
        self._least = terms.min

    def decide(self, seen: Situation, now: float) -> Decision:
        if seen.usage is not None:
            Noting.seen.append(seen.usage)
        return Decision(self._least, None, "as many as promised", {"cpu": self._cpu})


@pytest.fixture(autouse=True)
def _rules() -> Iterator[None]:
    Noting.seen = []
    SCALERS["thirsty"], SCALERS["dry"] = Rule(Thirsty, Noting), Rule(Settings, Noting)
    yield
    del SCALERS["thirsty"], SCALERS["dry"]


class Host:
    """A Roster with a revision of so many instances, none of them ready."""

    def __init__(self, instances: int, engine: str = "thirsty") -> None:
        self.roster = Roster("b", 2, random.Random(0))
        self.roster.keeper_up({}, 0.0)
        self.roster.gateway_up(GATE, {}, 0.0)
        self.instances: list[InstanceId] = []
        self.deploy(instances, engine)

    def deploy(self, instances: int, engine: str, now: float = 0.0) -> None:
        scaling = Scaling(
            min=instances, max=9, initial=0, idle_s=1, concurrency=1, engine=engine, settings=SCALERS[engine].settings()
        )
        actions = self.roster.deployed(F, scaling, now)
        self.instances += [each.instance for each in actions if isinstance(each, Assign)]

    def ready(self, *numbers: int, now: float = 0.0) -> None:
        for number in numbers:
            self.roster.ready(self.instances[number], 1, now)

    def used(self, now: float, *cpu_s: float) -> None:
        """Each instance's seconds in all, at 10 MiB."""
        self.roster.used({self.instances[number]: (each, 10.0) for number, each in enumerate(cpu_s)}, {}, now)


def test_usage_is_the_difference_of_two_measurements() -> None:
    host = Host(2)
    host.ready(0, 1)
    host.used(1.0, 0.5, 0.25)
    host.used(3.0, 2.5, 0.25)
    assert Noting.seen == [Usage(2, 0.75, 20.0), Usage(2, 1.0, 20.0)]


def test_instance_that_loads_is_not_counted_and_its_loading_does_not_count_later() -> None:
    host = Host(2)
    host.ready(0)
    host.used(1.0, 0.1, 0.9)
    host.ready(1, now=1.5)
    host.used(2.0, 0.2, 1.0)
    assert Noting.seen == [Usage(1, 0.1, 10.0), Usage(2, pytest.approx(0.2), 20.0)]  # type: ignore[arg-type]


def test_instance_that_ended_takes_its_seconds_with_it() -> None:
    host = Host(2)
    host.ready(0, 1)
    host.used(1.0, 0.5, 0.5)
    host.roster.lost(host.instances[1], 1.5)
    host.used(2.0, 1.0, 0.9)
    assert Noting.seen[-1] == Usage(1, 0.5, 10.0)


def test_first_measurement_of_an_adopted_instance_only_begins_its_count() -> None:
    host = Host(0)
    adopted = InstanceId("old-1")
    host.roster.keeper_up({adopted: F}, 5.0)
    host.roster.used({adopted: (7200.0, 10.0)}, {}, 6.0)
    assert Noting.seen == []
    host.roster.used({adopted: (7200.5, 10.0)}, {}, 7.0)
    assert Noting.seen == [Usage(1, 0.5, 10.0)]


def test_rule_that_does_not_go_by_usage_is_not_asked() -> None:
    host = Host(1, "dry")
    host.ready(0)
    host.used(1.0, 0.5)
    assert Noting.seen == []


def test_rule_set_live_knows_the_last_second_and_not_the_whole_life() -> None:
    host = Host(1, "dry")
    host.ready(0)
    host.used(99.0, 80.0)
    host.deploy(1, "thirsty", now=99.5)
    host.used(100.0, 80.25)
    assert Noting.seen == [Usage(1, 0.25, 10.0)]


def test_memory_is_learned_as_before() -> None:
    host = Host(1, "dry")
    host.ready(0)
    assert not host.roster.is_measured(F)
    host.used(1.0, 0.5)
    assert host.roster.is_measured(F)
