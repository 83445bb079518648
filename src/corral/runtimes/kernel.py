"""The system calls Python's standard library lacks, each prepared once. Every wrapper raises OSError."""

import ctypes
import os
from typing import Any, Optional

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x4_0000
MNT_DETACH = 2
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 4
CLOSE_RANGE_CLOEXEC = 4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_SYS_ADMIN = 6, 7, 8, 21

# Numbers of the calls above 423 are the same on every architecture.
_NR_MOVE_MOUNT = 429
_NR_CLOSE_RANGE = 436
_NR_MOUNT_SETATTR = 442

_libc = ctypes.CDLL(None, use_errno=True)
_int, _long, _text, _pointer = ctypes.c_int, ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p
_word = ctypes.c_ulong


def _function(name: str, *arguments: Any) -> Any:
    found = getattr(_libc, name)
    found.argtypes = arguments
    found.restype = _int
    return found


def _call(number: int, *arguments: Any) -> Any:
    """A system call without a wrapper in every libc, with its own prototype."""
    prototype = ctypes.CFUNCTYPE(_long, _long, *arguments, use_errno=True)
    found = prototype(("syscall", _libc))
    return lambda *values: found(number, *values)


_prctl = _function("prctl", _int, _word, _word, _word, _word)
_unshare = _function("unshare", _int)
_setns = _function("setns", _int, _int)
_mount = _function("mount", _text, _text, _text, _word, _text)
_umount2 = _function("umount2", _text, _int)
_pivot_root = _function("pivot_root", _text, _text)
_capset = _function("capset", _pointer, _pointer)
_move_mount = _call(_NR_MOVE_MOUNT, _int, _text, _int, _text, _word)
_close_range = _call(_NR_CLOSE_RANGE, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)
_mount_setattr = _call(_NR_MOUNT_SETATTR, _int, _text, ctypes.c_uint, _pointer, ctypes.c_size_t)


def _check(result: int, what: str, *about: Any) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what % about, os.strerror(number)))


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    result: int = _prctl(option, value, third, 0, 0)
    _check(result, "prctl %d", option)
    return result


def unshare(flags: int) -> None:
    _check(_unshare(flags), "unshare %#x", flags)


def setns(fd: int, kind: int) -> None:
    _check(_setns(fd, kind), "setns %#x", kind)


def mount(source: Optional[str], target: str, kind: Optional[str], flags: int, options: Optional[str] = None) -> None:
    result = _mount(_path(source), os.fsencode(target), _path(kind), flags, _path(options))
    _check(result, "mount %s on %s", source or kind, target)


def _path(text: Optional[str]) -> Optional[bytes]:
    return None if text is None else os.fsencode(text)


def unmount(target: str) -> None:
    """Detach: what still uses it keeps it."""
    _check(_umount2(os.fsencode(target), MNT_DETACH), "umount %s", target)


def pivot_root(new: str, old: str) -> None:
    _check(_pivot_root(os.fsencode(new), os.fsencode(old)), "pivot_root %s", new)


def move_mount(fd: int, target: str) -> None:
    """Attach the detached mount `fd` at `target`."""
    _check(_move_mount(fd, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH), "move_mount to %s", target)


class _MountAttributes(ctypes.Structure):
    _fields_ = [("set", ctypes.c_uint64), ("clear", ctypes.c_uint64), ("propagation", ctypes.c_uint64),
                ("userns_fd", ctypes.c_uint64)]  # fmt: skip


def restrict_mount(target: str, flags: int) -> None:
    """Add MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC to the mount at `target` and all below it. Linux 5.12."""
    attributes = _MountAttributes(set=flags)
    size = ctypes.sizeof(attributes)
    result = _mount_setattr(AT_FDCWD, os.fsencode(target), AT_RECURSIVE, ctypes.byref(attributes), size)
    _check(result, "mount_setattr %s", target)


def close_from(first: int, cloexec: bool = False) -> None:
    """Close (or mark to be closed on exec) every descriptor from `first` on."""
    if _close_range(first, 0xFFFF_FFFF, CLOSE_RANGE_CLOEXEC if cloexec else 0) == 0:
        return
    # Linux before 5.9 (5.11 for cloexec): one by one, those that are there.
    for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        if fd < first:
            continue
        try:
            os.set_inheritable(fd, False) if cloexec else os.close(fd)
        except OSError:
            continue  # the listing's own descriptor


_capabilities_header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)
_no_capabilities = (ctypes.c_uint32 * 6)()


def drop_bounding_set(keep: "frozenset[int]" = frozenset()) -> None:
    for capability in range(64):
        if capability not in keep and _prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            prctl(PR_CAPBSET_DROP, capability)


def drop_capabilities() -> None:
    """All of the permitted, effective, inheritable and ambient sets."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _check(_capset(_capabilities_header, _no_capabilities), "capset")


def keep_capabilities(keep: "frozenset[int]") -> None:
    """Drop all others from the permitted, effective, inheritable, ambient and bounding sets; needs SETPCAP."""
    drop_bounding_set(keep)
    hold_capabilities(keep)


def hold_capabilities(keep: "frozenset[int]") -> None:
    """The same without the bounding set, which says what an exec could give back."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    bits = sum(1 << capability for capability in keep)
    low, high = bits & 0xFFFF_FFFF, bits >> 32
    # Effective, permitted, inheritable; of the lower 32, then of the others.
    _check(_capset(_capabilities_header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)), "capset")
