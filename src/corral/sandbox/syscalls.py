"""The system calls of the keeper that Python's standard library lacks. Every one raises OSError."""

import ctypes
import fcntl
import os
from typing import Any

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
PR_SET_CHILD_SUBREAPER = 36

AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 1, 6
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 2, 4, 8

# Numbers of calls above 423 are the same on every architecture.
_NR_OPEN_TREE, _NR_FSOPEN, _NR_FSCONFIG, _NR_FSMOUNT = 428, 430, 431, 432
_NR_OPENAT2, _NR_MOUNT_SETATTR = 437, 442

_libc = ctypes.CDLL(None, use_errno=True)
_int, _long, _text, _pointer = ctypes.c_int, ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p
_unsigned, _word = ctypes.c_uint, ctypes.c_ulong


def _by_number(number: int, *arguments: Any) -> Any:
    """A call without a wrapper in every libc, with a prototype of its own."""
    found = ctypes.CFUNCTYPE(_long, _long, *arguments, use_errno=True)(("syscall", _libc))
    return lambda *values: found(number, *values)


_prctl = ctypes.CFUNCTYPE(_int, _int, _word, _word, _word, _word, use_errno=True)(("prctl", _libc))
_unshare = ctypes.CFUNCTYPE(_int, _int, use_errno=True)(("unshare", _libc))
_setns = ctypes.CFUNCTYPE(_int, _int, _int, use_errno=True)(("setns", _libc))
_open_tree = _by_number(_NR_OPEN_TREE, _int, _text, _unsigned)
_fsopen = _by_number(_NR_FSOPEN, _text, _unsigned)
_fsconfig = _by_number(_NR_FSCONFIG, _int, _unsigned, _text, _text, _int)
_fsmount = _by_number(_NR_FSMOUNT, _int, _unsigned, _unsigned)
_openat2 = _by_number(_NR_OPENAT2, _int, _text, _pointer, ctypes.c_size_t)
_mount_setattr = _by_number(_NR_MOUNT_SETATTR, _int, _text, _unsigned, _pointer, ctypes.c_size_t)


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class _MountAttributes(ctypes.Structure):
    _fields_ = [("set", ctypes.c_uint64), ("clear", ctypes.c_uint64), ("propagation", ctypes.c_uint64),
                ("userns_fd", ctypes.c_uint64)]  # fmt: skip


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int = 0) -> int:
    return _check(_prctl(option, value, 0, 0, 0), f"prctl {option}")


def unshare(flags: int) -> None:
    _check(_unshare(flags), f"unshare {flags:#x}")


def setns(fd: int, kind: int) -> None:
    _check(_setns(fd, kind), f"setns {kind:#x}")


def open_beneath(folder: int, path: str, flags: int) -> int:
    """Open `path` relative to the folder, following no symbolic link and never leaving it. Linux 5.6."""
    how = _OpenHow(flags=flags | os.O_CLOEXEC, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    return _check(_openat2(folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)), f"open {path}")


def open_tree(fd: int) -> int:
    """A detached copy of the mount at `fd`. Linux 5.2."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH
    return _check(_open_tree(fd, b"", flags), "open_tree")


def mount_setattr(fd: int, attributes: int) -> None:
    """Set attributes of the detached mount `fd` and all below it. Linux 5.12."""
    wanted = _MountAttributes(set=attributes)
    flags = AT_EMPTY_PATH | AT_RECURSIVE
    _check(_mount_setattr(fd, b"", flags, ctypes.byref(wanted), ctypes.sizeof(wanted)), "mount_setattr")


def mount_detached(kind: str, options: dict[str, str], attributes: int) -> int:
    """A new filesystem, mounted nowhere yet. Linux 5.2."""
    context = _check(_fsopen(kind.encode(), FSOPEN_CLOEXEC), f"fsopen {kind}")
    try:
        for name, value in options.items():
            _check(
                _fsconfig(context, FSCONFIG_SET_STRING, name.encode(), value.encode(), 0), f"{kind} {name} = {value}"
            )
        _check(_fsconfig(context, FSCONFIG_CMD_CREATE, None, None, 0), f"create {kind}")
        return _check(_fsmount(context, FSMOUNT_CLOEXEC, attributes), f"fsmount {kind}")
    finally:
        os.close(context)


_ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed_file(name: str, contents: bytes) -> int:
    """A descriptor at whose beginning they stand, for good: whoever gets it can but read them."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.pwrite(fd, contents, 0)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _ALL_SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd
