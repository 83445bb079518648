"""How instances are kept apart on this machine."""

from collections.abc import Callable

from corral.config import Boot
from corral.ports import SandboxEvents
from corral.sandbox.forking import ForkingSandbox, Tier
from corral.sandbox.namespaces import NamespaceTier
from corral.sandbox.process import ProcessTier

BACKENDS: dict[str, Callable[[Boot], Tier]] = {"T0": ProcessTier, "T1": NamespaceTier}
"""Tier -> how it keeps instances apart. A backend is a file here and a row in this table."""


def open_sandbox(tier: str, boot: Boot, events: SandboxEvents) -> ForkingSandbox:
    """The backend of `tier`, after what an earlier keeper left under the same name was removed."""
    kind = BACKENDS[tier](boot)
    kind.sweep()
    return ForkingSandbox(kind, boot.settings.keeper.pids_max, boot.name, events)
