"""What an unprivileged process of Corral's own can see: a root made of an allow-list."""

import os
import signal
import stat
import sys
from pathlib import Path
from typing import Literal

import msgspec

import corral
from corral.errors import BadConfiguration
from corral.parent.child import Command
from corral.sandbox.root import enter_command, own_binds, root_plan


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Who a process is and which one folder it sees besides the system's and Corral's own code."""

    user: int
    folder: Path
    mode: Literal["ro", "rw"]
    staging: Path
    """An empty folder that the new root is mounted on."""


def check_startable() -> None:
    """Raises BadConfiguration when we may not run our own interpreter or read our own code again, as after a change of
    user: every process we start would end at once, and be started again for ever."""
    code = [Path(module.__file__) for module in (corral, msgspec, os) if module.__file__]
    for path, access, act in ((Path(sys.executable), os.X_OK, "run"), *((each, os.R_OK, "read") for each in code)):
        if not os.access(path, access):
            raise BadConfiguration(
                f"{path} cannot be {act} by user {os.geteuid()}, as whom Corral starts its processes; must be one that "
                "this user may read: install Corral where they may"
            )


def check_readable() -> None:
    """Raises BadConfiguration when the code could not be read by the users that gateway, engine and functions run as.
    Folders above it do not matter: it is mounted into their roots."""
    package = Path(corral.__file__).resolve().parent
    for path in (package, package / "__init__.py", Path(msgspec.__file__).parent, Path(sys.prefix), Path(os.__file__)):
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & stat.S_IROTH:
            folder = path if path.is_dir() else path.parent
            raise BadConfiguration(
                f"{path} has mode {mode:04o}, must be readable by others, because only the keeper runs as root: "
                f"chmod -R go+rX {folder} (the folder around it may stay closed)"
            )


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
