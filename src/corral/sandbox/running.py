"""An instance, as its backend knows it."""

from corral.model import ExitCause, InstanceId
from corral.ports import Launch
from corral.sandbox.cgroups import Limits
from corral.sandbox.kept import KeptZygote
from corral.sandbox.slots import Slot
from corral.sandbox.zygotes import Zygote


class Running:
    """An instance from its start to its end."""

    def __init__(self, launch: Launch, slot: Slot, limits: Limits) -> None:
        self.launch = launch
        self.slot = slot
        self.limits = limits
        self.zygote: Zygote | None = None
        """None: its zygote is still to be started; or it is a fork of `kept`."""
        self.kept: KeptZygote | None = None
        """Its function's own zygote, where that forks it."""
        self.hint: int | None = None
        """Its wait status, as that says."""
        self.pid: int | None = None
        self.pidfd: int | None = None
        self.stopped_as: ExitCause | None = None
        self.is_dead = False
        """The kernel says so, and its status is to be collected."""

    @property
    def instance(self) -> InstanceId:
        return self.launch.instance
