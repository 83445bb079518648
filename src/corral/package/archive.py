"""A package on its way in: an archive from outside, taken apart without trusting a word of it.

The standard library only reads member after member here; it never extracts. Its own filters were passed by in several
ways in the interpreters we run on (CVE-2025-4517, CVE-2025-4330, CVE-2025-8194)."""

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from corral.errors import Invalid
from corral.package.member import Limits, Member
from corral.package.tar import tar_members
from corral.package.zip import ZIP, zip_members

__all__ = ["Limits", "sync_folder", "unpack"]

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
"""Of files that are packages already."""
_OTHERS = {b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}


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
    """Write the files of `archive` (zip, or tar, plain or gzipped) into the empty `folder`; the sha256 of the contents,
    hex. Files have mode 0644, or 0755 when their owner may execute them; folders 0755. Everything is on disk on return.
    The hash is over sorted paths, the executable bit and contents: times, owners, order and the kind of archive do not
    matter. Raises Invalid; `folder` then holds a part and is to be thrown away."""
    tree = _Tree(limits.members_max)
    contents: list[str] = []
    left = limits.bytes_max
    with archive.open("rb") as raw:
        for member in _members(raw, limits):
            for new in tree.add(member.path, member.is_folder):
                (folder / new).mkdir()
            if member.is_folder:
                contents.append(f"{member.path}\0folder\0")
                continue
            left -= member.size
            if left < 0:
                raise Invalid(f"package unpacks to more than {limits.bytes_max} bytes: too large")
            contents.append(_write_file(member, folder / member.path))
    if not any(not line.endswith("\0folder\0") for line in contents):
        raise Invalid("package holds no file, must hold at least the function's module")
    _settle_folders(folder)
    return hashlib.sha256("\n".join(sorted(contents)).encode()).hexdigest()


def _members(raw: BinaryIO, limits: Limits) -> Iterator[Member]:
    magic = raw.read(8)
    raw.seek(0)
    for begin, name in _OTHERS.items():
        if magic.startswith(begin):
            raise Invalid(f"package is packed with {name}, must be a zip or a tar, plain or gzipped")
    return zip_members(raw, limits) if magic.startswith(ZIP) else tar_members(raw, limits)


def _write_file(member: Member, target: Path) -> str:
    """Write one member; its line for the hash."""
    executable = bool(member.mode & 0o100)
    digest = hashlib.sha256()
    written = 0
    with target.open("xb") as sink:
        for data in member.read():
            digest.update(data)
            written += sink.write(data)
        if written != member.size:
            raise Invalid(f"package member {member.path!r} ends after {written} of {member.size} bytes")
        os.fchmod(sink.fileno(), 0o755 if executable else 0o644)
        sink.flush()
        os.fsync(sink.fileno())
    return f"{member.path}\0{'executable' if executable else 'file'}\0{digest.hexdigest()}"


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
