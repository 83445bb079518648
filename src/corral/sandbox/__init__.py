"""How instances are kept apart on this machine."""

from collections.abc import Callable

from corral.config import Boot
from corral.ports import Sandbox, SandboxEvents
from corral.sandbox.namespaces import open_namespaces
from corral.sandbox.process import open_processes

BACKENDS: dict[str, Callable[[Boot, SandboxEvents], Sandbox]] = {"T0": open_processes, "T1": open_namespaces}
"""Tier -> what opens it, after removing what an earlier keeper left under the same name. A backend is a file here and a
row in this table; when it is chosen is for `Host.tier` to say."""
