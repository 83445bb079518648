"""Tier T0: instances as plain processes with limits on each, for machines where Corral is not root."""

import os
from collections.abc import Sequence
from pathlib import Path

from corral.config import Boot
from corral.model import Revision, SlotId
from corral.ports import Sandbox, SandboxEvents
from corral.sandbox import processes
from corral.sandbox.cgroups import Group, Groups, NoGroups
from corral.sandbox.forking import open_forking
from corral.sandbox.interpreters import Interpreter
from corral.sandbox.root import RUNTIMES
from corral.sandbox.slots import Slot


class ProcessTier:
    name = "T0"
    is_isolated = False

    def __init__(self, boot: Boot) -> None:
        self.groups: Groups = NoGroups()
        self._sockets = Path(boot.run) / "i"
        self._mark = boot.name
        self._gateway: int | None = None
        self._user: int | None = None
        if os.geteuid() == 0:
            # Root without namespaces: functions are the engine's user, who owns their code, and never root.
            self._gateway = boot.settings.keeper.uid_base
            self._user = self._gateway + 1

    def sweep(self) -> int:
        return processes.kill_marked(self._mark)

    def user_of(self, revision: Revision) -> int | None:
        return self._user

    def make_slot(self, slot: SlotId, group: Group) -> Slot:
        return Slot(slot, str(self._sockets / f"{slot}.sock"), group, self._gateway)

    def zygote_command(self, interpreter: Interpreter, fd: int) -> tuple[Sequence[str], Sequence[int]]:
        return [interpreter.path, "-I", "-S", str(RUNTIMES / "python/zygote.py"), str(fd)], []

    def open_tmp(self) -> dict[str, int]:
        return {}

    def open_package(self, package: str) -> dict[str, int]:
        return {}

    def package_path(self, package: str) -> str:
        return package

    def open_layer(self, layer: str) -> dict[str, int]:
        return {}

    def layer_path(self, layer: str) -> str:
        return layer

    def kill(self, pid: int, pidfd: int) -> None:
        processes.kill_family(pid)

    def bury(self, pid: int) -> None:
        processes.kill_group(pid)

    def used(self, pid: int, group: Group) -> tuple[float, float]:
        return processes.used(pid)


def open_processes(boot: Boot, events: SandboxEvents) -> Sandbox:
    return open_forking(ProcessTier(boot), boot, events)
