"""Installing a function's dependencies: other people's code, fetched and sometimes run, so it is done in a sandbox. It
has this machine's network, the package, the interpreter, uv and a folder to work in, and nothing more."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corral.config import Boot, Layers
from corral.errors import SandboxFailed
from corral.sandbox import places
from corral.sandbox.cgroups import Group, Groups, Limits, NoGroups, Toll, open_groups
from corral.sandbox.installer import LEFT_MAX_S, Installer
from corral.sandbox.memory import for_groups_mib
from corral.sandbox.places import FolderPlace, MountedPlace, Place, Recipe
from corral.sandbox.root import Bind, enter_command, root_plan

PIDS_MAX = 256
FILES_OPEN_MAX = 4096
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_SCRIPT = 'cp -r "$1" "$2/package" && mkdir "$2/tmp" "$2/out" && cd "$2/package" && shift 2 && exec "$@"'
"""A copy, because building a package writes into its folder, and the function's own is nobody's to change."""
_SCRIPT_ALONE = 'mkdir "$2/tmp" "$2/out" && cd "$2/tmp" && shift 2 && exec "$@"'
"""Nothing of the package is read: what the layer does not stand for has no say in what is in it."""


class Builder:
    """Installs, each time blocking its thread until the end. `stop` may be called from another one."""

    def __init__(self, boot: Boot, *, is_isolated: bool) -> None:
        self._settings: Layers = boot.settings.layers
        self._is_isolated = is_isolated
        self._data = os.path.realpath(boot.data)
        self._run = boot.run
        self._groups: Groups = NoGroups()
        if is_isolated:
            self._groups = open_groups(f"corral-{boot.name}", memory_mib=for_groups_mib())
        self._running: dict[str, Installer] = {}
        places.sweep(self._data)

    @property
    def running(self) -> Sequence[str]:
        """Names of the installations under way."""
        return tuple(self._running)

    def place(self, recipe: Recipe) -> Place:
        """To be closed by the caller. Raises SandboxFailed."""
        try:
            if self._is_isolated:
                return MountedPlace(self._data, recipe, self._settings)
            return FolderPlace(self._data, recipe, self._settings)
        except OSError as exc:
            raise SandboxFailed(f"no place to install dependencies: {exc}") from exc

    def build(self, recipe: Recipe, place: Place, heard: Callable[[bytes], None], is_wanted: Callable[[], bool]) -> str:
        """A sentence saying what went wrong; empty: all is in the place's `out`. `heard` gets what the installer
        writes, as it comes. `is_wanted` turns false before `stop` is called. Raises SandboxFailed when it could not be
        begun."""
        limits = Limits(self._settings.memory_mib, self._settings.cpu, PIDS_MAX)
        try:
            group = self._groups.make(recipe.name, limits)
        except OSError as exc:
            raise SandboxFailed(f"no group for an installation: {exc}") from exc
        try:
            installer = self._running[recipe.name] = self._start(recipe, place, group)
            if not is_wanted():
                installer.kill()  # `stop` came before there was anything to stop
            installer.listen(time.monotonic() + self._settings.timeout_s, heard)
            return self._judge(installer, group.toll())
        except OSError as exc:
            raise SandboxFailed(f"an installation could not be begun: {exc}") from exc
        finally:
            self._running.pop(recipe.name, None)
            _remove(group)

    def stop(self, name: str) -> None:
        """End it now, if it runs."""
        installer = self._running.get(name)
        if installer is not None:
            installer.kill()

    def _judge(self, installer: Installer, toll: Toll) -> str:
        settings = self._settings
        if installer.is_late:
            return f"it was not done after {settings.timeout_s:g} s (layers.timeout_s)"
        if installer.status == 0:
            return ""
        if toll.out_of_memory:
            return f"it needed more than {settings.memory_mib} MiB of memory (layers.memory_mib)"
        if toll.pids_refused:
            return f"it started more than {PIDS_MAX} processes and threads"
        if installer.status is None or os.WIFSIGNALED(installer.status):
            return "it was ended"
        return f"the installer ended with status {os.waitstatus_to_exitcode(installer.status)}"

    # -- what runs ------------------------------------------------------------------------------------------

    def _start(self, recipe: Recipe, place: Place, group: Group) -> Installer:
        with contextlib.ExitStack() as fds:
            report, report_end = _pipe(fds)
            output, output_end = _pipe(fds)
            plan = self._plan(recipe, place)
            plan["report"] = report_end
            plan["groups"] = list(group.entrances())
            for fd in plan["groups"]:
                fds.callback(os.close, fd)
            # What it becomes keeps none of these: an entrance would let it leave its limits.
            passed = [report_end, *plan["groups"], *place.complete(plan)]
            argv, [plan_fd] = enter_command(plan)
            fds.callback(os.close, plan_fd)
            process = subprocess.Popen(
                argv,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=output_end,
                stderr=output_end,
                pass_fds=[plan_fd, *passed],
                start_new_session=True,
            )
            return Installer(process, group, os.dup(report), os.dup(output))

    def _plan(self, recipe: Recipe, place: Place) -> dict[str, Any]:
        interpreter: list[Bind] = [(prefix, prefix, "ro") for prefix in recipe.interpreter.prefixes]
        plan = root_plan(
            staging=Path(self._run) / "root",
            argv=[
                "/bin/sh",
                "-c",
                _SCRIPT if recipe.requirements is None else _SCRIPT_ALONE,
                "sh",
                place.package,
                place.path,
                *_command(recipe, place),
            ],
            env=_environment(place, os.environ),
            binds=[*interpreter, *place.binds()],
            uid=recipe.uid,
            gid=recipe.uid,
            drop=True,
            proc="new",
            pdeathsig=signal.SIGKILL,
        )
        size_bytes = 2 * self._settings.size_mib * places.MIB
        return plan | {"limits": {"core": 0, "nofile": FILES_OPEN_MAX, "fsize": size_bytes}, "filter": True}


def _command(recipe: Recipe, place: Place) -> Sequence[str]:
    command = [
        place.uv, "pip", "install", "--config-file", place.settings, "--system-certs", "--no-python-downloads",
        "--python", recipe.interpreter.path, "--target", f"{place.path}/out", "--no-editable",
        "--compile-bytecode", "--link-mode", "hardlink", "--color", "never", "--no-progress",
    ]  # fmt: skip
    if recipe.wheels_only:
        command.append("--no-build")
    if recipe.requirements is None:
        return [*command, "-r", recipe.source]
    return [*command, "-r", place.requirements, "-c", place.constraints]


def proxies(environment: Mapping[str, str]) -> list[str]:
    """Addresses of the proxies that installers are told of; they may hold a password."""
    names = [name for name in PROXIES if name != "NO_PROXY"]
    found = (environment.get(spelled, "") for name in names for spelled in (name, name.lower()))
    # Without a scheme it is meant as a host, but would be read as a path.
    return [url if "://" in url else f"http://{url}" for url in found if url]


def _environment(place: Place, ours: Mapping[str, str]) -> dict[str, str]:
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": f"{place.path}/tmp",
        "TMPDIR": f"{place.path}/tmp",
        # Its own: what one tenant's installation left there, another one's would believe.
        "UV_CACHE_DIR": f"{place.path}/cache",
    }
    if place.certificates:
        environment["SSL_CERT_FILE"] = place.certificates
    names = [*PROXIES, *map(str.lower, PROXIES)]
    return environment | {name: ours[name] for name in names if name in ours}


def _pipe(fds: contextlib.ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    fds.callback(os.close, reader)
    fds.callback(os.close, writer)
    return reader, writer


def _remove(group: Group) -> None:
    """The kernel lets go of it some milliseconds after the last exit."""
    deadline = time.monotonic() + LEFT_MAX_S
    while not group.remove() and time.monotonic() < deadline:
        group.kill()
        time.sleep(0.01)
