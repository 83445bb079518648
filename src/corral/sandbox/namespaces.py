"""Tier T1: every instance in namespaces, groups and a root of its own, as a user of its own."""

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from corral.config import Boot
from corral.model import Revision, SlotId
from corral.ports import Sandbox, SandboxEvents
from corral.sandbox import mounts, network, processes
from corral.sandbox.cgroups import Group, open_groups
from corral.sandbox.forking import open_forking
from corral.sandbox.interpreters import Interpreter
from corral.sandbox.memory import for_groups_mib
from corral.sandbox.root import INSIDE, RUNTIMES, Bind, enter_command, root_plan
from corral.sandbox.slots import Slot


class NamespaceTier:
    name = "T1"
    is_isolated = True

    def __init__(self, boot: Boot) -> None:
        settings = boot.settings.keeper
        self._sockets = Path(boot.run) / "i"
        self._staging = Path(boot.run) / "root"
        self._staging.mkdir(mode=0o700, exist_ok=True)
        self._gateway_uid = settings.uid_base
        self._tmp_mib = settings.tmp_mib
        self._mark = boot.name
        self.groups = open_groups(f"corral-{boot.name}", memory_mib=for_groups_mib())
        self._data_path = os.path.join(os.path.realpath(boot.data), "")
        self._data = os.open(boot.data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def sweep(self) -> int:
        processes.kill_marked(self._mark)
        return self.groups.sweep()

    def user_of(self, revision: Revision) -> int | None:
        return revision.uid

    def make_slot(self, slot: SlotId, group: Group) -> Slot:
        made = Slot(slot, str(self._sockets / f"{slot}.sock"), group, self._gateway_uid)
        try:
            made.add("netns", network.loopback_namespace)
            made.add_entrances()
        except OSError:
            made.close()
            raise
        return made

    def zygote_command(self, interpreter: Interpreter, fd: int) -> tuple[Sequence[str], Sequence[int]]:
        binds: list[Bind] = [(prefix, prefix, "ro") for prefix in interpreter.prefixes]
        binds.append((str(RUNTIMES), INSIDE, "ro"))
        plan = root_plan(
            staging=self._staging,
            argv=[interpreter.path, "-I", "-S", f"{INSIDE}/python/zygote.py", str(fd)],
            env={processes.MARK: self._mark},
            binds=binds,
            pdeathsig=signal.SIGKILL,
            keep_fds=[fd],
        )
        argv, fds = enter_command(plan)
        return argv, [own for own in fds if own != fd]

    def open_tmp(self) -> dict[str, int]:
        return {"tmp": mounts.private_tmp(self._tmp_mib)}

    def open_package(self, package: str) -> dict[str, int]:
        return {"code_root": mounts.tree_beneath(self._data, self._inside(package))}

    def package_path(self, package: str) -> str:
        return "/function"

    def open_layer(self, layer: str) -> dict[str, int]:
        return {"layer_root": mounts.tree_beneath(self._data, self._inside(layer))}

    def layer_path(self, layer: str) -> str:
        return "/layer"

    def _inside(self, path: str) -> str:
        return path.removeprefix(self._data_path)

    def kill(self, pid: int, pidfd: int) -> None:
        # It is pid 1 of its namespace: the kernel ends everything below it too.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def bury(self, pid: int) -> None: ...

    def used(self, pid: int, group: Group) -> tuple[float, float]:
        return group.used()


def open_namespaces(boot: Boot, events: SandboxEvents) -> Sandbox:
    return open_forking(NamespaceTier(boot), boot, events)
