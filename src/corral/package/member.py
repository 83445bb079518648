"""One file or folder of an archive, whatever its kind; and the names we let in."""

import re
from collections.abc import Callable, Iterator

import msgspec

from corral.errors import Invalid

CHUNK = 256 * 1024
NAME_MAX_BYTES = 255
PATH_MAX_BYTES = 1000
DEPTH_MAX = 32
"""Names of a path: folders inside folders cost time for each file in them."""
_DRIVE = re.compile(r"[A-Za-z]:")
_SETID = 0o6000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    bytes_max: int
    """All files together, unpacked."""
    members_max: int
    """Files and folders, those that are only parts of a path included."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    """Checked, without `.` parts."""
    is_folder: bool
    mode: int
    size: int
    """As the archive says, in bytes; what `read` gives is counted against it."""
    read: Callable[[], Iterator[bytes]]
    """Its contents, in order of the archive: to be called before the next member is asked for, at most once."""


def checked_path(name: str, *, is_folder: bool) -> str | None:
    """`name` without `.` parts; None for the root itself. Raises Invalid."""
    shown = ascii(name[:120])
    if not name.isprintable():
        raise Invalid(f"package member {shown} has control characters or bytes that are not UTF-8 in its name")
    if name.startswith("/") or "\\" in name or _DRIVE.match(name):
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
    if not parts and not is_folder:
        raise Invalid(f"package member {shown} has no name")
    return path or None


def check_mode(path: str, mode: int, *, is_folder: bool) -> None:
    """Folders shared by a group have the bit without meaning harm; it is dropped."""
    if mode & _SETID and not is_folder:
        raise Invalid(f"package member {path!r} has a setuid or setgid bit, must be without")
