"""The Roster: every revision's instances, who holds them and how many there should be. One, in the engine.
Pure: events in, actions out; `now` and the random source are given. Nothing ticks an idle revision."""

import random
from collections.abc import Mapping, Sequence

import msgspec

from corral.model import ExitCause, GatewayId, InstanceId, Observation, RevisionId


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision's scaler may do."""

    min: int
    max: int
    initial: int
    idle_s: float
    concurrency: int
    scaler: str = "corral"


class Start(msgspec.Struct, frozen=True):
    instance: InstanceId
    revision: RevisionId


class Assign(msgspec.Struct, frozen=True):
    """Follows its Start at once for a fresh one: the gateway may send before it is ready."""

    instance: InstanceId
    revision: RevisionId
    gateway: GatewayId
    fresh: bool


class Release(msgspec.Struct, frozen=True):
    gateway: GatewayId
    revision: RevisionId
    count: int


class Retire(msgspec.Struct, frozen=True):
    gateway: GatewayId
    instance: InstanceId


class Stop(msgspec.Struct, frozen=True):
    instance: InstanceId
    cause: ExitCause


class Block(msgspec.Struct, frozen=True):
    """Tell the gateways: no instance before `until`. Empty `error` lifts it."""

    revision: RevisionId
    error: str
    until: float
    kind: str


class Decided(msgspec.Struct, frozen=True):
    """For people: a scaling decision and why. Emitted when the desired number changed."""

    revision: RevisionId
    desired: int
    have: int
    why: str


Action = Start | Assign | Release | Retire | Stop | Block | Decided


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """For `describe`."""

    instance: InstanceId
    state: str
    """starting, ready, releasing, stopping"""
    gateway: GatewayId | None
    since: float


class Roster:
    """See the module. Instance ids are `<boot>-<counter>`, unique across restarts when `boot` is."""

    def __init__(self, boot: str, cores: int, rng: random.Random) -> None: ...

    def deployed(self, revision: RevisionId, scaling: Scaling, now: float) -> Sequence[Action]:
        """A revision may have instances; starts max(initial, min) of them. Again for a known one: new limits, and an
        end to its back-off."""

    def settled(self, revision: RevisionId, now: float) -> Sequence[Action]:
        """Its deployment counts: from now on `initial` no longer keeps instances."""

    def removed(self, revision: RevisionId, now: float) -> Sequence[Action]:
        """No new calls come to it: its instances are retired and stopped when idle; starting ones are stopped."""

    def want(self, gateway: GatewayId, revision: RevisionId, waiting: int, executing: int, oldest_wait_s: float,
             now: float) -> Sequence[Action]: ...

    def observed(self, gateway: GatewayId, revision: RevisionId, seen: Observation, now: float) -> Sequence[Action]: ...

    def ready(self, instance: InstanceId, concurrency: int, now: float) -> Sequence[Action]: ...

    def failed(self, instance: InstanceId, error: str, kind: str, now: float) -> Sequence[Action]:
        """It could not load (`load`) or be started (`start`): further starts back off from 1 to 60 s, doubling."""

    def lost(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """The keeper says it ended, for whatever reason. Unknown ones are ignored."""

    def released(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """The gateway gave it up: Stop."""

    def overrun(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """A call's timeout passed in it: Stop with cause TIMEOUT."""

    def gateway_up(self, gateway: GatewayId, holding: Mapping[RevisionId, Sequence[InstanceId]],
                   now: float) -> Sequence[Action]:
        """A gateway connected and says what it holds. Instances we know as its and it does not hold are assigned to
        it again (not fresh); those it holds and we do not know are adopted or stopped."""

    def gateway_down(self, gateway: GatewayId, now: float) -> Sequence[Action]:
        """Its instances wait for its successor; nothing is started or released meanwhile."""

    def keeper_up(self, running: Mapping[InstanceId, RevisionId], now: float) -> Sequence[Action]:
        """A keeper connected and says what runs: ours it lacks are lost; what we do not know is adopted when its
        revision is deployed, else stopped."""

    def keeper_down(self, now: float) -> Sequence[Action]:
        """Starts wait until it is back."""

    def tick(self, now: float) -> Sequence[Action]: ...

    @property
    def next_at(self) -> float | None:
        """When `tick` has something to do."""

    def instances(self, revision: RevisionId) -> Sequence[InstanceView]: ...

    def why(self, revision: RevisionId) -> Decided | None:
        """The last decision."""
