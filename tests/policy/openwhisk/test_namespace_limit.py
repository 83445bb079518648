"""What the Roster tells the rule of its namespace: all instances of all functions, until they are gone."""

import random

from corral.model import GatewayId, InstanceId, RevisionId
from corral.policy.openwhisk import OpenWhiskSettings
from corral.roster import Roster, Scaling, Start

GATEWAY = GatewayId("g")
SETTINGS = OpenWhiskSettings(namespace_limit=3)
SCALING = Scaling(min=0, max=9, initial=0, idle_s=5, concurrency=1, engine="openwhisk", settings=SETTINGS)


class Host:
    def __init__(self, *revisions: str) -> None:
        self.roster = Roster("boot", 2, random.Random(0))
        self.roster.keeper_up({}, 0.0)
        self.roster.gateway_up(GATEWAY, {}, 0.0)
        for name in revisions:
            self.roster.deployed(RevisionId(name), SCALING, 0.0)
            self.roster.settled(RevisionId(name), 0.0)

    def want(self, revision: str, waiting: int, now: float) -> list[InstanceId]:
        """What it starts."""
        actions = self.roster.want(GATEWAY, RevisionId(revision), waiting, 0, 0.0, now)
        return [each.instance for each in actions if isinstance(each, Start)]


def test_functions_of_a_namespace_share_its_limit() -> None:
    host = Host("a/one@1", "a/two@1", "b/three@1")
    first, _ = host.want("a/one@1", 2, 1.0)
    assert len(host.want("a/two@1", 5, 1.0)) == 1
    assert len(host.want("b/three@1", 5, 1.0)) == 3, "another namespace has its own"
    assert host.want("a/two@1", 5, 2.0) == []
    host.roster.lost(first, 3.0)
    assert len(host.want("a/two@1", 5, 4.0)) == 1


def test_instance_of_a_removed_function_counts_until_it_is_gone() -> None:
    host = Host("a/one@1", "a/two@1")
    started = host.want("a/one@1", 3, 1.0)
    host.roster.removed(RevisionId("a/one@1"), 2.0)
    assert host.want("a/two@1", 1, 2.0) == []
    for instance in started:
        host.roster.lost(instance, 3.0)
    assert len(host.want("a/two@1", 1, 4.0)) == 1
