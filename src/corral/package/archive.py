"""A package on its way in: an archive from outside, taken apart without trusting a word of it.

The standard library only reads member after member here; it never extracts. Its own filters were passed by in several
ways in the interpreters we run on (CVE-2025-4517, CVE-2025-4330, CVE-2025-8194)."""

import gzip
import hashlib
import io
import os
import re
import tarfile
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from corral.errors import Invalid

CHUNK = 256 * 1024
NAME_MAX_BYTES = 255
PATH_MAX_BYTES = 1000
DEPTH_MAX = 32
"""Names of a path: folders inside folders cost time for each file in them."""
DRIVE = re.compile(r"[A-Za-z]:")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    bytes_max: int
    """All files together, unpacked."""
    members_max: int
    """Files and folders, those that are only parts of a path included."""


class _Bounded(io.RawIOBase):
    """Reads `source` up to `most` bytes, counted after decompression: a bomb goes off in here."""

    def __init__(self, source: BinaryIO, most: int) -> None:
        self._source, self._left, self._most = source, most, most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(CHUNK if size < 0 else size)
        self._left -= len(data)
        if self._left < 0:
            raise Invalid(f"package unpacks to more than {self._most} bytes, headers included: too large")
        return data


class _Tree:
    """The paths taken so far, as a case-insensitive file system would tell them apart."""

    def __init__(self, members_max: int) -> None:
        self._spelling_by_folded: dict[str, str] = {}
        self._folders: set[str] = set()
        self._named: set[str] = set()
        self._members_max = members_max

    def add(self, path: str, is_folder: bool) -> Sequence[str]:
        """The folders that are new by it, the outermost first. Raises Invalid."""
        if path in self._named:
            raise Invalid(f"package member {path!r} is there twice, must be there once")
        new: list[str] = []
        around = path if is_folder else path.rpartition("/")[0]
        while around and around not in self._folders:
            new.append(around)
            around = around.rpartition("/")[0]
        new.reverse()
        for each in new:
            self._place(each, True)
        if not is_folder:
            self._place(path, False)
        self._named.add(path)
        return new

    def _place(self, path: str, is_folder: bool) -> None:
        folded = unicodedata.normalize("NFC", path).casefold()
        spelling = self._spelling_by_folded.setdefault(folded, path)
        if spelling != path:
            raise Invalid(f"package members {spelling!r} and {path!r} differ only in case or accents: rename one")
        if len(self._spelling_by_folded) > self._members_max:
            raise Invalid(f"package holds more than {self._members_max} files and folders")
        if path in self._folders and not is_folder:
            raise Invalid(f"package member {path!r} is both a file and a folder")
        if is_folder:
            if path in self._named and path not in self._folders:
                raise Invalid(f"package member {path!r} is both a file and a folder")
            self._folders.add(path)


def unpack(archive: Path, folder: Path, limits: Limits) -> str:
    """Write the files of `archive` (tar, also gzipped) into the empty `folder`; the sha256 of the contents, hex.
    Files have mode 0644, or 0755 when their owner may execute them; folders 0755. Everything is on disk on return.
    The hash is over sorted paths, the executable bit and contents: times, owners and order do not matter.
    Raises Invalid; `folder` then holds a part and is to be thrown away."""
    tree = _Tree(limits.members_max)
    contents: list[str] = []
    left = limits.bytes_max
    with archive.open("rb") as raw, _readable(raw, limits) as tar:
        for member in tar:
            path = _checked_path(member)
            if path is None:
                continue
            _check_kind(member, path)
            for new in tree.add(path, member.isdir()):
                (folder / new).mkdir()
            if member.isdir():
                contents.append(f"{path}\0folder\0")
                continue
            left -= member.size
            if left < 0:
                raise Invalid(f"package unpacks to more than {limits.bytes_max} bytes: too large")
            contents.append(_write_file(tar, member, folder / path, path))
    if not any(not line.endswith("\0folder\0") for line in contents):
        raise Invalid("package holds no file, must hold at least the function's module")
    _settle_folders(folder)
    return hashlib.sha256("\n".join(sorted(contents)).encode()).hexdigest()


@contextmanager
def _readable(raw: BinaryIO, limits: Limits) -> Iterator[tarfile.TarFile]:
    """The archive as a forward-only tar; what can go wrong in reading it becomes Invalid."""
    magic = raw.read(4)
    raw.seek(0)
    if magic.startswith(b"PK"):
        raise Invalid("package is a zip archive, must be a tar, plain or gzipped")
    # A member costs its header and the filling up of its last block besides its contents.
    most = limits.bytes_max + limits.members_max * 2048 + 1024 * 1024
    source = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if magic.startswith(b"\x1f\x8b") else raw
    try:
        with tarfile.open(fileobj=cast(BinaryIO, _Bounded(source, most)), mode="r|") as tar:
            yield tar
    except RecursionError as exc:
        raise Invalid("package cannot be read as a tar: its long names are nested too deeply") from exc
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as exc:
        raise Invalid(f"package cannot be read as a tar, plain or gzipped: {exc}") from exc


def _checked_path(member: tarfile.TarInfo) -> str | None:
    """The member's path without `.` parts; None for the root itself. Raises Invalid."""
    name = member.name
    shown = ascii(name[:120])
    if not name.isprintable():
        raise Invalid(f"package member {shown} has control characters or bytes that are not UTF-8 in its name")
    if name.startswith("/") or "\\" in name or DRIVE.match(name):
        raise Invalid(f"package member {shown} must be a relative path with / between its parts")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Invalid(f"package member {shown} leads out of the package by ..")
    path = "/".join(parts)
    if len(path.encode()) > PATH_MAX_BYTES or any(len(part.encode()) > NAME_MAX_BYTES for part in parts):
        raise Invalid(
            f"package member {shown} has too long a path: at most {PATH_MAX_BYTES} bytes, {NAME_MAX_BYTES} in each part"
        )
    if len(parts) > DEPTH_MAX:
        raise Invalid(f"package member {shown} lies {len(parts)} names deep, must be at most {DEPTH_MAX}")
    if not parts and not member.isdir():
        raise Invalid(f"package member {shown} has no name")
    return path or None


def _check_kind(member: tarfile.TarInfo, path: str) -> None:
    if member.issym() or member.islnk():
        raise Invalid(f"package member {path!r} is a link, must be a regular file or a folder: put the file itself in")
    if member.issparse():
        raise Invalid(f"package member {path!r} is a sparse file, must be a regular file")
    if not (member.isreg() or member.isdir()):
        raise Invalid(f"package member {path!r} is a device or pipe, must be a regular file or a folder")
    if member.size < 0:
        raise Invalid(f"package member {path!r} says it has {member.size} bytes")


def _write_file(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, path: str) -> str:
    """Write one member; its line for the hash."""
    source = tar.extractfile(member)
    assert source is not None, "a regular file has contents"
    executable = bool(member.mode & 0o100)
    digest = hashlib.sha256()
    written = 0
    with target.open("xb") as sink:
        while data := source.read(CHUNK):
            digest.update(data)
            written += sink.write(data)
        if written != member.size:
            raise Invalid(f"package member {path!r} ends after {written} of {member.size} bytes")
        os.fchmod(sink.fileno(), 0o755 if executable else 0o644)
        sink.flush()
        os.fsync(sink.fileno())
    return f"{path}\0{'executable' if executable else 'file'}\0{digest.hexdigest()}"


def _settle_folders(folder: Path) -> None:
    for root, _, _ in os.walk(folder):
        os.chmod(root, 0o755)
        sync_folder(Path(root))


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
