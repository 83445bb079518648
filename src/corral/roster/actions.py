"""What the Roster is told of a revision, what it answers, and what it shows."""

from collections.abc import Mapping

import msgspec

from corral.model import ExitCause, GatewayId, InstanceId, RevisionId
from corral.policy import DEFAULT_ENGINE, SCALERS, Settings


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision's scaler may do."""

    min: int
    max: int
    initial: int
    idle_s: float
    concurrency: int
    engine: str = DEFAULT_ENGINE
    settings: Settings = SCALERS[DEFAULT_ENGINE].settings()
    """Of the engine's own type."""
    is_reachable: bool = True
    """Calls may come to it: otherwise `min` keeps nothing."""


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
    inputs: Mapping[str, float] = {}
    """What the scaler decided from."""


Action = Start | Assign | Release | Retire | Stop | Block | Decided


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """For `describe`."""

    instance: InstanceId
    state: str
    """starting, ready, releasing, stopping"""
    gateway: GatewayId | None
    since: float
