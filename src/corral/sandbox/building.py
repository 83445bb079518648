"""Installing a function's dependencies: other people's code, fetched and sometimes run, so it is done in a sandbox.

What is installed comes to be in a place of its own (`Place`), which nothing else sees and of which nothing is left when
it is closed, or when we die. It has this machine's network, the package, the interpreter and uv, and nothing more."""

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import uv

from corral.config import Boot, Layers
from corral.errors import SandboxFailed
from corral.sandbox import mounts, processes, syscalls
from corral.sandbox.cgroups import Group, Groups, Limits, NoGroups, Toll, open_groups
from corral.sandbox.interpreters import Interpreter
from corral.sandbox.root import Bind, enter_command, root_plan

PIDS_MAX = 256
FILES_OPEN_MAX = 4096
INSIDE = "/build"
PACKAGE_INSIDE = "/package"
_SETTINGS = "/corral/uv.toml"
_UV = "/corral/uv"
_CERTIFICATES = "/corral/certificates.pem"
_SCRIPT = 'cp -r "$1" "$2/package" && mkdir "$2/tmp" "$2/out" && cd "$2/package" && shift 2 && exec "$@"'
"""A copy, because building a package writes into its folder, and the function's own is nobody's to change."""
_LEFT_MAX_S = 5.0
"""For what was killed to be gone."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be installed."""

    name: str
    """Unique among all builds of this keeper."""
    uid: int | None
    """As whom; None: as we are."""
    interpreter: Interpreter
    package: str
    """The function's folder, relative to the data folder."""
    source: str
    """The file in it that names the dependencies."""
    wheels_only: bool


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    error: str
    """A sentence; empty: all is in the place's `out`."""


class Place(Protocol):
    """Where one installation happens."""

    path: str
    """As the installer sees it."""

    def open_out(self) -> int:
        """The folder of what was installed. Raises OSError."""
        ...

    def close(self) -> None:
        """Remove it with everything in it."""
        ...


class _Mounted:
    """A filesystem in memory, mounted nowhere but in the sandbox: its size is exact, and it goes with us."""

    path = INSIDE

    def __init__(self, size_mib: int, files_max: int, user: int) -> None:
        options = {
            "size": f"{size_mib}m",
            "nr_inodes": str(files_max),
            "mode": "700",
            "uid": str(user),
            "gid": str(user),
        }
        harmless = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
        self.fd = syscalls.mount_detached("tmpfs", options, harmless)

    def open_out(self) -> int:
        return os.open("out", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)

    def close(self) -> None:
        os.close(self.fd)


class _Folder:
    """Where we may not mount. Its size is looked at only when all is done."""

    def __init__(self, around: str, user: int | None) -> None:
        self.path = tempfile.mkdtemp(prefix="corral-build-", dir=around)
        if user is not None:
            os.chown(self.path, user, user)

    def open_out(self) -> int:
        return os.open(f"{self.path}/out", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Builder:
    """Installs, each time blocking its thread until the end. `stop` may be called from another one."""

    def __init__(self, boot: Boot, *, is_isolated: bool) -> None:
        self._settings: Layers = boot.settings.layers
        self._is_isolated = is_isolated
        self._data = os.path.realpath(boot.data)
        self._run = boot.run
        self._groups: Groups = open_groups(f"corral-{boot.name}") if is_isolated else NoGroups()
        self._running: dict[str, Running] = {}

    def place(self, recipe: Recipe) -> Place:
        """Raises SandboxFailed."""
        settings = self._settings
        try:
            if self._is_isolated:
                # Twice: while a package is built there is a copy of it.
                return _Mounted(2 * settings.size_mib, 4 * settings.files_max, recipe.uid or 0)
            return _Folder(self._run, recipe.uid)
        except OSError as exc:
            raise SandboxFailed(f"no place to install dependencies: {exc}") from exc

    def build(self, recipe: Recipe, place: Place, heard: Callable[[bytes], None]) -> Outcome:
        """`heard` gets what the installer writes, as it comes. Raises SandboxFailed when it could not be begun."""
        limits = Limits(self._settings.memory_mib, self._settings.cpu, PIDS_MAX)
        try:
            group = self._groups.make(recipe.name, limits)
        except OSError as exc:
            raise SandboxFailed(f"no group for an installation: {exc}") from exc
        try:
            running = self._running[recipe.name] = self._start(recipe, place, group)
            running.listen(time.monotonic() + self._settings.timeout_s, heard)
            return Outcome(error=self._judge(running, group.toll()))
        except OSError as exc:
            raise SandboxFailed(f"an installation could not be begun: {exc}") from exc
        finally:
            self._running.pop(recipe.name, None)
            _remove(group)

    def stop(self, name: str) -> None:
        """End it now, if it runs."""
        running = self._running.get(name)
        if running is not None:
            running.kill()

    def _judge(self, running: "Running", toll: Toll) -> str:
        settings = self._settings
        if running.is_late:
            return f"it was not done after {settings.timeout_s:g} s (layers.timeout_s)"
        if running.status == 0:
            return ""
        if toll.out_of_memory:
            return f"it needed more than {settings.memory_mib} MiB of memory (layers.memory_mib)"
        if toll.pids_refused:
            return f"it started more than {PIDS_MAX} processes and threads"
        if running.status is None or os.WIFSIGNALED(running.status):
            return "it was ended"
        return f"the installer ended with status {os.waitstatus_to_exitcode(running.status)}"

    # -- what runs ------------------------------------------------------------------------------------------

    def _start(self, recipe: Recipe, place: Place, group: Group) -> "Running":
        with contextlib.ExitStack() as fds:
            report, report_end = _pipe(fds)
            output, output_end = _pipe(fds)
            plan, passed = self._plan(recipe, place, group, report_end, fds)
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
            return Running(process, group, os.dup(report), os.dup(output))

    def _plan(
        self, recipe: Recipe, place: Place, group: Group, report: int, fds: contextlib.ExitStack
    ) -> tuple[dict[str, Any], list[int]]:
        """For enter.py, and the descriptors it needs; what it becomes keeps none of them."""
        staging = Path(self._run) / "root"
        argv, environment = self._command(recipe, place), self._environment(place)
        plan = root_plan(
            staging=staging,
            argv=argv,
            env=environment,
            binds=self._binds(recipe),
            uid=recipe.uid,
            gid=recipe.uid,
            drop=True,
            proc="new",
            pdeathsig=signal.SIGKILL,
        )
        size_bytes = 2 * self._settings.size_mib * 1024 * 1024
        limits = {"core": 0, "nofile": FILES_OPEN_MAX, "fsize": size_bytes}
        entrances = list(group.entrances())
        for fd in entrances:
            fds.callback(os.close, fd)
        plan |= {"report": report, "groups": entrances, "limits": limits, "filter": True}
        if isinstance(place, _Mounted):
            package = self._package(recipe)
            fds.callback(os.close, package)
            plan["files"] |= {_SETTINGS: self._uv_settings()}
            plan["tmpfs"] = {"/tmp": "size=64m,mode=1777"}
            plan |= {"alone": True, "hostname": "build", "mounts": {PACKAGE_INSIDE: package, INSIDE: place.fd}}
            passed = [report, *entrances, package, place.fd]
        else:
            Path(place.path, "uv.toml").write_text(self._uv_settings())
            plan |= {"root": None, "limits": limits | {"data": self._settings.memory_mib * 1024 * 1024}}
            passed = [report]
        return plan, passed

    def _package(self, recipe: Recipe) -> int:
        data = os.open(self._data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return mounts.tree_beneath(data, recipe.package)
        finally:
            os.close(data)

    def _binds(self, recipe: Recipe) -> list[Bind]:
        binds: list[Bind] = [(prefix, prefix, "ro") for prefix in recipe.interpreter.prefixes]
        binds.append((os.path.realpath(uv.find_uv_bin()), _UV, "ro"))
        if self._settings.certificates:
            binds.append((os.path.realpath(self._settings.certificates), _CERTIFICATES, "ro"))
        return binds

    def _command(self, recipe: Recipe, place: Place) -> Sequence[str]:
        is_mounted = isinstance(place, _Mounted)
        program, settings = (_UV, _SETTINGS) if is_mounted else (uv.find_uv_bin(), f"{place.path}/uv.toml")
        package = PACKAGE_INSIDE if is_mounted else f"{self._data}/{recipe.package}"
        install = [
            program, "pip", "install", "--config-file", settings, "--system-certs", "--no-python-downloads",
            "--python", recipe.interpreter.path, "--target", f"{place.path}/out", "--no-editable",
            "--compile-bytecode", "--link-mode", "hardlink", "--color", "never", "--no-progress",
        ]  # fmt: skip
        if recipe.wheels_only:
            install.append("--no-build")
        return ["/bin/sh", "-c", _SCRIPT, "sh", package, place.path, *install, "-r", recipe.source]

    def _environment(self, place: Place) -> dict[str, str]:
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": f"{place.path}/tmp",
            "TMPDIR": f"{place.path}/tmp",
            "UV_CACHE_DIR": f"{place.path}/cache",
        }
        if self._settings.certificates:
            is_mounted = isinstance(place, _Mounted)
            environment["SSL_CERT_FILE"] = _CERTIFICATES if is_mounted else self._settings.certificates
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
        names = [*proxies, *map(str.lower, proxies)]
        return environment | {name: os.environ[name] for name in names if name in os.environ}

    def _uv_settings(self) -> str:
        """In a file and not in the environment, whose variables a requirement could name."""
        settings = self._settings
        urls = [(url, False) for url in settings.extra_index_url.split()]
        urls += [(settings.index_url, True)] if settings.index_url else []
        tables = [
            f"[[index]]\nurl = {msgspec.json.encode(url).decode()}\n" + "default = true\n" * last for url, last in urls
        ]
        return "\n".join(tables)


class Running:
    """An installation under way, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], group: Group, report: int, output: int) -> None:
        self._process, self._group = process, group
        self._report, self._output = report, output
        self._lock = threading.Lock()
        """Held while it is killed: another thread may do that, and must not hit a process that came after it."""
        self._has_ended = False
        self.status: int | None = None
        """Wait status; None: none was told."""
        self.is_late = False

    def listen(self, until: float, heard: Callable[[bytes], None]) -> None:
        """Until its end, or until the moment `until`, when it is killed."""
        told = b""
        try:
            with selectors.DefaultSelector() as selector:
                for fd in (self._report, self._output):
                    selector.register(fd, selectors.EVENT_READ)
                while selector.get_map():
                    ready = selector.select(max(0.0, until - time.monotonic()))
                    if not ready:
                        if self.is_late:
                            break  # something it left holds its output open
                        self.is_late, until = True, time.monotonic() + _LEFT_MAX_S
                        self.kill()
                    for key, _ in ready:
                        data = os.read(key.fd, 65_536)
                        if not data:
                            selector.unregister(key.fd)
                        elif key.fd == self._output:
                            heard(data)
                        else:
                            told += data
        finally:
            self.kill()
            with self._lock:
                self._has_ended = True
                self._process.wait()
            for fd in (self._report, self._output):
                os.close(fd)
        self.status = int(told) if told else None

    def kill(self) -> None:
        """Its first process takes all others of its namespace with it; where it has none, they are one session."""
        with self._lock:
            if not self._has_ended:
                processes.kill_family(self._process.pid)
                self._group.kill()


def _pipe(fds: contextlib.ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    fds.callback(os.close, reader)
    fds.callback(os.close, writer)
    return reader, writer


def _remove(group: Group) -> None:
    """The kernel lets go of it some milliseconds after the last exit."""
    deadline = time.monotonic() + _LEFT_MAX_S
    while not group.remove() and time.monotonic() < deadline:
        group.kill()
        time.sleep(0.01)
