"""Zip archives. They say everything twice, at the end and before each member, and readers that believe different places
see different files: what is not said alike is refused. Only what every tool writes is read: stored or deflated members
below 4 GiB, on one disk, none over another.

The standard library's reader holds a record for each member before it can be asked how many there are, and
does not notice members that lie over each other in every version we run on."""

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from corral.errors import Invalid
from corral.package.member import CHUNK, Limits, Member, check_mode, checked_path

ZIP = (b"PK\3\4", b"PK\5\6")
"""How one begins: with a member, or with its end when there is none. A tar may begin with a file called PK…"""
_END = struct.Struct("<4s4H2LH")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_COMMENT_MAX = 65_535
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_SIZES_FOLLOW = 0x8
_IS_UTF8 = 0x800
_UNIX = 3
_FULL, _FULL_16 = 0xFFFF_FFFF, 0xFFFF
_FOLDER_OF_DOS = 0x10


class _Directory(NamedTuple):
    offset: int
    size: int
    members: int


class _Entry(NamedTuple):
    """As the central directory has it."""

    name: bytes
    path: str | None
    """None: the root itself."""
    is_folder: bool
    mode: int
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    """Of its local header."""


def zip_members(raw: BinaryIO, limits: Limits) -> Iterator[Member]:
    """In the order in which they lie in the archive. Raises Invalid."""
    directory = _find_directory(raw, limits)
    entries = sorted(_entries(raw, directory), key=lambda entry: entry.offset)
    free_from = 0
    for entry in entries:
        begin, end = _data_of(raw, entry)
        if entry.offset < free_from or end > directory.offset:
            raise Invalid(f"package member {_shown(entry.name)} lies over another one in the archive")
        free_from = end
        if entry.path is not None:
            yield Member(
                path=entry.path,
                is_folder=entry.is_folder,
                mode=entry.mode,
                size=entry.size,
                read=lambda begin=begin, entry=entry: _contents(raw, begin, entry),  # type: ignore[misc]
            )


def _find_directory(raw: BinaryIO, limits: Limits) -> _Directory:
    length = raw.seek(0, 2)
    begin = max(0, length - _END.size - _COMMENT_MAX)
    raw.seek(begin)
    tail = raw.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < _END.size:
        raise Invalid("package cannot be read as a zip: its end is missing, it was cut off")
    _, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(tail, place)
    if _FULL in (size, offset) or count == _FULL_16:
        raise Invalid("package is a zip64 archive, must be one with fewer than 65,535 members and 4 GiB")
    if disk or first_disk or here != count:
        raise Invalid("package is one part of a zip archive, must be the whole")
    if offset + size != begin + place or place + _END.size + comment != len(tail):
        raise Invalid("package cannot be read as a zip: its directory is not where its end says")
    if count > limits.members_max:
        raise Invalid(f"package holds more than {limits.members_max} files and folders")
    return _Directory(offset, size, count)


def _entries(raw: BinaryIO, directory: _Directory) -> Iterator[_Entry]:
    raw.seek(directory.offset)
    data, place = raw.read(directory.size), 0
    for _ in range(directory.members):
        if place + _CENTRAL.size > len(data) or not data.startswith(b"PK\1\2", place):
            raise Invalid("package cannot be read as a zip: its directory holds fewer members than it says")
        fields = _CENTRAL.unpack_from(data, place)
        end = place + _CENTRAL.size
        name = data[end : end + fields[10]]
        yield _entry(name, fields)
        place = end + fields[10] + fields[11] + fields[12]
    if place != len(data):
        raise Invalid("package cannot be read as a zip: its directory holds more than it says")


def _entry(raw_name: bytes, fields: tuple[int, ...]) -> _Entry:
    made_by, flags, method, crc, packed, size = fields[1], fields[3], fields[4], fields[7], fields[8], fields[9]
    mode = fields[15] >> 16 if made_by >> 8 == _UNIX else 0
    name = _decoded(raw_name, flags)
    is_folder = name.endswith("/")
    path = checked_path(name, is_folder=is_folder)
    shown = _shown(raw_name)
    if flags & _ENCRYPTED:
        raise Invalid(f"package member {shown} is encrypted, must not be")
    if method not in (_STORED, _DEFLATED):
        raise Invalid(f"package member {shown} is packed by method {method}, must be stored or deflated")
    if _FULL in (packed, size, fields[16]):
        raise Invalid(f"package member {shown} is one of zip64, must be below 4 GiB")
    if fields[13]:
        raise Invalid(f"package member {shown} lies on another disk, must be in this archive")
    _check_kind(shown, mode, fields[15], is_folder, size)
    check_mode(name, mode, is_folder=is_folder)
    return _Entry(raw_name, path, is_folder, mode, flags, method, crc, packed, size, fields[16])


def _decoded(name: bytes, flags: int) -> str:
    """Names outside ASCII are UTF-8, whether the archive says so or not: what else they may be nobody can know."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        said = "says it is UTF-8 and is not" if flags & _IS_UTF8 else "is neither ASCII nor UTF-8"
        raise Invalid(f"package member {_shown(name)} has a name that {said}: pack it anew with UTF-8 names") from None


def _check_kind(shown: str, mode: int, attributes: int, is_folder: bool, size: int) -> None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        raise Invalid(f"package member {shown} is a link, must be a regular file or a folder: put the file itself in")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Invalid(f"package member {shown} is a device or pipe, must be a regular file or a folder")
    says_folder = kind == stat.S_IFDIR or (kind == 0 and bool(attributes & _FOLDER_OF_DOS))
    if says_folder != is_folder and (kind or says_folder):
        raise Invalid(f"package member {shown} is both a file and a folder")
    if is_folder and size:
        raise Invalid(f"package member {shown} is a folder with contents")


def _data_of(raw: BinaryIO, entry: _Entry) -> tuple[int, int]:
    """Where its contents begin and end, after its own header was compared with the directory."""
    shown = _shown(entry.name)
    raw.seek(entry.offset)
    header = raw.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
        raise Invalid(f"package member {shown} is not where the archive's directory says")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
    if raw.read(name_length) != entry.name:
        raise Invalid(f"package member {shown} has another name in its own header")
    said = (method, flags & _ENCRYPTED, crc, packed, size)
    expected = (entry.method, 0, entry.crc, entry.packed, entry.size)
    # A writer that could not know the sizes yet wrote zeros, and the truth behind the contents.
    if said != expected and not (flags & _SIZES_FOLLOW and said[:2] == expected[:2] and not any(said[2:])):
        raise Invalid(f"package member {shown} says one thing in its own header and another in the directory")
    begin = entry.offset + _LOCAL.size + name_length + extra_length
    return begin, begin + entry.packed


def _contents(raw: BinaryIO, begin: int, entry: _Entry) -> Iterator[bytes]:
    raw.seek(begin)
    crc = written = 0
    for data in _inflated(raw, entry) if entry.method == _DEFLATED else _stored(raw, entry.packed):
        written += len(data)
        if written > entry.size:
            raise Invalid(f"package member {_shown(entry.name)} holds more than the {entry.size} bytes it says")
        crc = zlib.crc32(data, crc)
        yield data
    if written == entry.size and crc != entry.crc:
        raise Invalid(f"package member {_shown(entry.name)} is damaged: its checksum is wrong")


def _stored(raw: BinaryIO, left: int) -> Iterator[bytes]:
    while left and (data := raw.read(min(CHUNK, left))):
        left -= len(data)
        yield data


def _inflated(raw: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    """A chunk at a time, however much more is packed into it."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _stored(raw, entry.packed):
            while packed and not engine.eof:
                yield engine.decompress(packed, CHUNK)
                packed = engine.unconsumed_tail
            if engine.eof and (engine.unused_data or packed):
                break
        yield engine.flush()
    except zlib.error as exc:
        raise Invalid(f"package member {_shown(entry.name)} is damaged: {exc}") from exc
    if not engine.eof:
        raise Invalid(f"package member {_shown(entry.name)} is cut off")
    if engine.unused_data:
        raise Invalid(f"package member {_shown(entry.name)} has bytes behind its end")


def _shown(name: bytes) -> str:
    return ascii(name[:120].decode("utf-8", "backslashreplace"))
