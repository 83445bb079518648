"""What the tiers T0 and T1 do differently, as a protocol: namespaces.py and process.py are its two kinds."""

from collections.abc import Sequence
from typing import Protocol

from corral.model import Revision, SlotId
from corral.sandbox.cgroups import Group, Groups
from corral.sandbox.interpreters import Interpreter
from corral.sandbox.slots import Slot


class Tier(Protocol):
    """How instances are kept apart."""

    name: str
    is_isolated: bool
    groups: Groups

    def sweep(self) -> int:
        """Remove what an earlier keeper left under our name. Blocks until it is gone."""
        ...

    def user_of(self, revision: Revision) -> int | None:
        """Whom its instances run as; None: as we do."""
        ...

    def make_slot(self, slot: SlotId, group: Group) -> Slot:
        """Blocks for about a millisecond; called in a thread of its own. Raises OSError; the group stays the
        caller's."""
        ...

    def zygote_command(self, interpreter: Interpreter, fd: int) -> tuple[Sequence[str], Sequence[int]]: ...

    def open_tmp(self) -> dict[str, int]:
        """A descriptor for the /tmp of one child, where it has its own."""
        ...

    def open_package(self, package: str) -> dict[str, int]:
        """Descriptors an instance needs for its code, by their names in docs/zygote.md."""
        ...

    def package_path(self, package: str) -> str:
        """The folder as an instance sees it."""
        ...

    def open_layer(self, layer: str) -> dict[str, int]:
        """Descriptors an instance needs for its dependencies, by their names in docs/zygote.md."""
        ...

    def layer_path(self, layer: str) -> str:
        """The folder as an instance sees it."""
        ...

    def kill(self, pid: int, pidfd: int) -> None:
        """Everything of a running instance."""
        ...

    def bury(self, pid: int) -> None:
        """Its first process was collected: end what it may have left."""
        ...

    def used(self, pid: int, group: Group) -> tuple[float, float]: ...
