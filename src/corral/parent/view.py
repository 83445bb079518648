"""What an unprivileged process of Corral's own can see: a root made of an allow-list."""

import signal
from pathlib import Path
from typing import Literal

import msgspec

from corral.parent.child import Command
from corral.sandbox.root import enter_command, own_binds, root_plan


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Who a process is and which one folder it sees besides the system's and Corral's own code."""

    user: int
    folder: Path
    mode: Literal["ro", "rw"]
    staging: Path
    """An empty folder that the new root is mounted on."""


def enclosed(command: Command, view: View) -> Command:
    """`command`, run as another user in a root of its own. Interpreter, environment and package appear in it at
    their own places, so all of them may lie in a folder that only root can read. To be started once."""
    plan = root_plan(
        staging=view.staging,
        argv=command.argv,
        env=command.environment,
        binds=[*own_binds(), (str(view.folder), str(view.folder), view.mode)],
        uid=view.user,
        gid=view.user,
        drop=True,
        pdeathsig=signal.SIGKILL,
        keep_fds=command.fds,
    )
    argv, fds = enter_command(plan)
    return Command(argv=argv, environment={}, fds=fds, once=fds[:1])
