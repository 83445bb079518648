"""Layers on disk: DATA/layers/NAMESPACE/<sha256>, each whole, never changed, and root's, so that neither the engine nor
whoever installed it can reach into what functions import. Everything here blocks, and is called from one thread at a
time for each layer."""

import contextlib
import ctypes
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from corral.errors import BuildFailed, SandboxFailed
from corral.keeper.homes import FOLDER, open_home
from corral.model import DNS_LABEL

SHA256 = re.compile(r"[0-9a-f]{64}\Z")
CHUNK = 1024 * 1024


class Bounds(msgspec.Struct, frozen=True):
    bytes_max: int
    files_max: int


class Layers:
    def __init__(self, data: Path, bounds: Bounds) -> None:
        self._home = data / "layers"
        self._bounds = bounds

    def has(self, namespace: str, layer: str) -> bool:
        return (self._home / namespace / layer).is_dir()

    def copy(self, namespace: str, installed: int) -> str:
        """The name of a copy of the folder `installed`, which is no layer until `put` makes it one. Raises BuildFailed
        when something in it may not be in a layer, SandboxFailed when the disk refuses."""
        try:
            with open_home(self._home, namespace, 0o755) as home:
                incoming = f".incoming-{secrets.token_hex(8)}"
                try:
                    _Copy(self._bounds).folder(installed, home, incoming, "")
                    # Whole before it has its name: what has the name is believed after a crash.
                    _sync_filesystem(home)
                    return incoming
                except BaseException:
                    shutil.rmtree(incoming, ignore_errors=True, dir_fd=home)
                    raise
        except OSError as exc:
            raise SandboxFailed(f"what was installed could not be kept: {exc.strerror or exc}") from exc

    def put(self, namespace: str, layer: str, incoming: str) -> None:
        """What was copied is the layer from now on. Does not wait for the disk: `sync` does. Raises SandboxFailed."""
        try:
            with open_home(self._home, namespace, 0o755) as home:
                try:
                    os.rename(incoming, layer, src_dir_fd=home, dst_dir_fd=home)
                except OSError:
                    shutil.rmtree(incoming, ignore_errors=True, dir_fd=home)
                    raise
        except OSError as exc:
            raise SandboxFailed(f"what was installed could not be kept: {exc.strerror or exc}") from exc

    def sync(self, namespace: str) -> None:
        """What is a layer stays one if the machine stops now. Raises OSError."""
        with open_home(self._home, namespace, 0o755) as home:
            os.fsync(home)

    def set_aside(self, namespace: str, layer: str) -> None:
        """From now on it is not there; `clear` removes it. No instance has it any more."""
        with contextlib.suppress(OSError), open_home(self._home, namespace, 0o755) as home:
            os.rename(layer, f".gone-{secrets.token_hex(8)}", src_dir_fd=home, dst_dir_fd=home)

    def keep_only(self, kept: AbstractSet[tuple[str, str | None]]) -> None:
        """Set aside every layer but these, by namespace and name."""
        for namespace, names in self._listed():
            for name in names:
                if SHA256.match(name) and (namespace, name) not in kept:
                    self.set_aside(namespace, name)

    def clear(self, *, with_unfinished: bool = False) -> None:
        """Remove what was set aside, and what an earlier keeper left unfinished."""
        left = (".gone-", ".incoming-") if with_unfinished else (".gone-",)
        for namespace, names in self._listed():
            with contextlib.suppress(OSError), open_home(self._home, namespace, 0o755) as home:
                for name in names:
                    if name.startswith(left):
                        shutil.rmtree(name, ignore_errors=True, dir_fd=home)

    def _listed(self) -> Iterator[tuple[str, list[str]]]:
        with contextlib.suppress(OSError):
            for namespace in os.listdir(self._home):
                if DNS_LABEL.match(namespace):
                    yield namespace, os.listdir(self._home / namespace)


class _Copy:
    """From a tree that others made to one of ours. They are gone, so it holds still; but it may hold anything."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._bytes = self._files = 0

    def folder(self, source: int, around: int, name: str, path: str) -> None:
        os.mkdir(name, 0o755, dir_fd=around)
        target = os.open(name, FOLDER, dir_fd=around)
        try:
            for entry in sorted(os.listdir(source)):
                self._entry(source, target, entry, f"{path}{entry}")
            os.fchmod(target, 0o755)
        finally:
            os.close(target)

    def _entry(self, source: int, target: int, name: str, path: str) -> None:
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        self._count(found, path)
        if stat.S_ISDIR(found.st_mode):
            inner = os.open(name, FOLDER, dir_fd=source)
            try:
                self.folder(inner, target, name, f"{path}/")
            finally:
                os.close(inner)
        else:
            self._file(source, target, name, found)

    def _count(self, found: os.stat_result, path: str) -> None:
        shown = ascii(path[:200])
        self._files += 1
        if self._files > self._bounds.files_max:
            raise BuildFailed(f"it installed more than {self._bounds.files_max} files and folders (layers.files_max)")
        if stat.S_ISDIR(found.st_mode):
            return
        if stat.S_ISLNK(found.st_mode):
            raise BuildFailed(f"it installed {shown}, a symbolic link; must be a file or folder")
        if not stat.S_ISREG(found.st_mode):
            raise BuildFailed(f"it installed {shown}, a device, pipe or socket; must be a file or folder")
        if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
            raise BuildFailed(f"it installed {shown} with a setuid or setgid bit; must be without")
        self._bytes += found.st_size
        if self._bytes > self._bounds.bytes_max:
            size_mib = self._bounds.bytes_max // (1024 * 1024)
            raise BuildFailed(f"it installed more than {size_mib} MiB (layers.size_mib)")

    def _file(self, source: int, target: int, name: str, found: os.stat_result) -> None:
        reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
        try:
            writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
            try:
                while data := os.read(reader, CHUNK):
                    _write_all(writer, data)
                os.fchmod(writer, 0o555 if found.st_mode & 0o100 else 0o444)
                # Compiled modules are believed by the time of their source.
                os.utime(writer, ns=(found.st_mtime_ns, found.st_mtime_ns))
            finally:
                os.close(writer)
        finally:
            os.close(reader)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_filesystem(fd: int) -> None:
    """One wait for the disk, not one for each of some thousand files."""
    if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
