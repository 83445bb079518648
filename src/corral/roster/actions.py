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
    idle_s: float | None
    concurrency: int
    """Calls at once that an instance takes, as far as its code goes."""
    memory_mib: int = 0
    """The limit of one instance, which is what it is charged until its like were measured."""
    cpu: float = 1.0
    """Cores that one instance may take."""
    engine: str = DEFAULT_ENGINE
    settings: Settings = SCALERS[DEFAULT_ENGINE].settings()
    """Of the engine's own type."""
    trigger: str = "http"
    """What calls it, as in policy.Terms."""

    @property
    def choose(self) -> str:
        """These three as in policy.Rule."""
        return SCALERS[self.engine].choose(self.settings)

    @property
    def once(self) -> bool:
        return SCALERS[self.engine].once(self.settings)

    @property
    def slots(self) -> int | None:
        return SCALERS[self.engine].slots(self.settings)

    @property
    def at_once(self) -> int:
        """Calls that an instance is given at once."""
        slots = self.slots
        return self.concurrency if slots is None else min(self.concurrency, slots)


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


class Queued(msgspec.Struct, frozen=True):
    """Tell the gateways why its starts wait; empty: they wait no longer."""

    revision: RevisionId
    why: str


class KeepZygote(msgspec.Struct, frozen=True):
    revision: RevisionId


class DropZygote(msgspec.Struct, frozen=True):
    revision: RevisionId


class Learned(msgspec.Struct, frozen=True):
    """What an instance of the revision uses, worth remembering when the engine ends."""

    revision: RevisionId
    memory_mib: int


class Decided(msgspec.Struct, frozen=True):
    """For people: a scaling decision and why. Emitted when the desired number changed."""

    revision: RevisionId
    desired: int
    have: int
    why: str
    inputs: Mapping[str, float] = {}
    """What the scaler decided from."""


Action = Start | Assign | Release | Retire | Stop | Block | Queued | KeepZygote | DropZygote | Learned | Decided


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """For `status` and /metrics: the machine's memory as the Roster shares it out."""

    limit_mib: float | None
    """What instances and zygotes may use; None: no limit is known."""
    instances_mib: int
    """What instances are charged."""
    zygotes_mib: int
    zygotes: int
    waiting: int
    """Revisions whose starts wait for room."""
    evicted_instances: int
    """Idle ones asked back for want of room."""
    evicted_zygotes: int
    retired: int
    """Busy ones that had to end after their calls, as others had less."""


class MemoryView(msgspec.Struct, frozen=True, kw_only=True):
    """For `describe`."""

    charged_mib: int
    """What an instance is charged, on average: those forked from a zygote use less."""
    is_measured: bool
    """Otherwise that is its limit."""
    value: float
    """By which its idle instances are compared with others'; the least goes first."""
    shortage: str | None
    """Why its starts wait; None: they don't."""


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """For `describe`."""

    instance: InstanceId
    state: str
    """starting, ready, releasing, stopping"""
    gateway: GatewayId | None
    since: float
    charged_mib: int
