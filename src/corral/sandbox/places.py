"""Where one installation happens: a folder that nobody else writes to, the package beside it, and the installer with
its settings. Nothing of it is left when it is closed, or when we die."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import uv

from corral.config import Layers
from corral.sandbox import mounts, syscalls
from corral.sandbox.interpreters import Interpreter
from corral.sandbox.root import Bind

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PREFIX = ".installing-"
MIB = 1024 * 1024


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
    requirements: str | None
    """What to install, in the file's stead; None: the file says it."""
    constraints: str
    wheels_only: bool


class Place(Protocol):
    """All paths are as the installer sees them."""

    path: str
    """The folder it works in; `out` in it is to hold what was installed."""
    package: str
    uv: str
    settings: str
    """uv's settings file."""
    requirements: str
    """Where those of the recipe are written, if it has any."""
    constraints: str
    certificates: str
    """Empty: the system's."""

    def binds(self) -> Sequence[Bind]:
        """What it has to see, besides the interpreter."""
        ...

    def complete(self, plan: dict[str, Any]) -> list[int]:
        """Adapt the plan for enter.py to this place; the descriptors that enter.py needs for it. Raises OSError."""
        ...

    def open_out(self) -> int:
        """The folder of what was installed. Raises OSError."""
        ...

    def close(self) -> None: ...


class MountedPlace:
    """A filesystem in memory, mounted nowhere but in the sandbox: its size is exact, and it goes with us."""

    path, package, uv, settings = "/build", "/package", "/corral/uv", "/corral/uv.toml"
    requirements, constraints = "/corral/requirements.txt", "/corral/constraints.txt"

    def __init__(self, data: str, recipe: Recipe, limits: Layers) -> None:
        """Raises OSError."""
        self._files = {self.settings: uv_settings(limits), **_written(recipe, self)}
        self._certificates = os.path.realpath(limits.certificates) if limits.certificates else ""
        self.certificates = "/corral/certificates.pem" if limits.certificates else ""
        user = str(recipe.uid or 0)
        # Twice and more: while a package is built there is a copy of it, and uv keeps what it has fetched.
        options = {
            "size": f"{2 * limits.size_mib}m",
            "nr_inodes": str(4 * limits.files_max),
            "mode": "700",
            "uid": user,
            "gid": user,
        }
        folder = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._package = mounts.tree_beneath(folder, recipe.package)
        finally:
            os.close(folder)
        try:
            harmless = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
            self._space = syscalls.mount_detached("tmpfs", options, harmless)
        except OSError:
            os.close(self._package)
            raise

    def binds(self) -> Sequence[Bind]:
        certificates: list[Bind] = [(self._certificates, self.certificates, "ro")] if self.certificates else []
        return [(os.path.realpath(uv.find_uv_bin()), self.uv, "ro"), *certificates]

    def complete(self, plan: dict[str, Any]) -> list[int]:
        plan["files"] |= self._files
        plan["tmpfs"] = {"/tmp": "size=64m,mode=1777"}
        plan["mounts"] = {self.package: self._package, self.path: self._space}
        # Nothing it started outlives it.
        plan |= {"alone": True, "hostname": "build"}
        return [self._package, self._space]

    def open_out(self) -> int:
        return os.open("out", _FOLDER, dir_fd=self._space)

    def close(self) -> None:
        os.close(self._package)
        os.close(self._space)


class FolderPlace:
    """Where we may not mount. Each process is limited for itself, and the whole size is looked at when all is done."""

    def __init__(self, data: str, recipe: Recipe, limits: Layers) -> None:
        """Raises OSError."""
        self.path = tempfile.mkdtemp(prefix=_PREFIX, dir=_around(data))
        self.package = f"{data}/{recipe.package}"
        self.uv = uv.find_uv_bin()
        self.settings = f"{self.path}/uv.toml"
        self.requirements = f"{self.path}/requirements.txt"
        self.constraints = f"{self.path}/constraints.txt"
        self.certificates = limits.certificates
        self._memory_bytes = limits.memory_mib * MIB
        files = {self.settings: uv_settings(limits), **_written(recipe, self)}
        for path, text in files.items():
            Path(path).write_text(text)
        if recipe.uid is not None:
            for path in (self.path, *files):
                os.chown(path, recipe.uid, recipe.uid)

    def binds(self) -> Sequence[Bind]:
        return []

    def complete(self, plan: dict[str, Any]) -> list[int]:
        plan["root"] = None
        plan["limits"] |= {"data": self._memory_bytes}
        return []

    def open_out(self) -> int:
        return os.open(f"{self.path}/out", _FOLDER)

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _around(data: str) -> str:
    """Functions' users may pass there, and no engine can put anything in its place."""
    return f"{data}/builds"


def sweep(data: str) -> None:
    """Folders of a keeper that was killed."""
    with contextlib.suppress(OSError):
        for path in Path(_around(data)).glob(f"{_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)


def _written(recipe: Recipe, place: Place) -> dict[str, str]:
    """Path -> text of what the recipe says itself."""
    if recipe.requirements is None:
        return {}
    return {place.requirements: recipe.requirements, place.constraints: recipe.constraints}


def uv_settings(layers: Layers) -> str:
    """The index, in a file: what stands in the environment a requirement could name, and carry off in an address."""
    tables = [f"[[index]]\nurl = {_quoted(url)}\n" for url in layers.extra_index_url.split()]
    if layers.index_url:
        tables.append(f"[[index]]\nurl = {_quoted(layers.index_url)}\ndefault = true\n")
    return "\n".join(tables)


def _quoted(text: str) -> str:
    """JSON's strings are TOML's as well."""
    return msgspec.json.encode(text).decode()
