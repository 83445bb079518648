"""Tar archives, plain or gzipped, read forwards member after member."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from corral.errors import Invalid
from corral.package.member import CHUNK, Limits, Member, check_mode, checked_path

GZIP = b"\x1f\x8b"


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


def tar_members(raw: BinaryIO, limits: Limits) -> Iterator[Member]:
    """Raises Invalid."""
    with _readable(raw, limits) as tar:
        for member in tar:
            path = checked_path(member.name, is_folder=member.isdir())
            if path is None:
                continue
            _check_kind(member, path)
            check_mode(path, member.mode, is_folder=member.isdir())
            yield Member(
                path=path,
                is_folder=member.isdir(),
                mode=member.mode,
                size=member.size,
                read=lambda member=member: _contents(tar, member),  # type: ignore[misc]
            )


@contextmanager
def _readable(raw: BinaryIO, limits: Limits) -> Iterator[tarfile.TarFile]:
    magic = raw.read(2)
    raw.seek(0)
    # A member costs its header and the filling up of its last block besides its contents.
    most = limits.bytes_max + limits.members_max * 2048 + 1024 * 1024
    source = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if magic == GZIP else raw
    with _read_faults(), tarfile.open(fileobj=cast(BinaryIO, _Bounded(source, most)), mode="r|") as tar:
        yield tar


@contextmanager
def _read_faults() -> Iterator[None]:
    """What can go wrong in reading becomes Invalid."""
    try:
        yield
    except RecursionError as exc:
        raise Invalid("package cannot be read as a tar: its long names are nested too deeply") from exc
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as exc:
        raise Invalid(f"package cannot be read as a zip or a tar, plain or gzipped: {exc}") from exc


def _check_kind(member: tarfile.TarInfo, path: str) -> None:
    if member.issym() or member.islnk():
        raise Invalid(f"package member {path!r} is a link, must be a regular file or a folder: put the file itself in")
    if member.issparse():
        raise Invalid(f"package member {path!r} is a sparse file, must be a regular file")
    if not (member.isreg() or member.isdir()):
        raise Invalid(f"package member {path!r} is a device or pipe, must be a regular file or a folder")
    if member.size < 0:
        raise Invalid(f"package member {path!r} says it has {member.size} bytes")


def _contents(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    source = tar.extractfile(member)
    assert source is not None, "a regular file has contents"
    while True:
        with _read_faults():
            data = source.read(CHUNK)
        if not data:
            return
        yield data
