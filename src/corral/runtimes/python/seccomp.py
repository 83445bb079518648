"""The system calls a function may not make, as a filter program for the kernel.

A deny-list: what reaches beyond the sandbox, or into parts of the kernel no function needs. Capabilities and
namespaces already forbid most of it; the filter is the second lock. Calls newer than the list do not exist (ENOSYS)."""

import ctypes
import errno
import platform
import struct
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

from .. import kernel

SECCOMP_MODE_FILTER = 2
ALLOW = 0x7FFF_0000
KILL_PROCESS = 0x8000_0000
_ERRNO = 0x0005_0000

FIRST_UNKNOWN = 463
"""The lowest number this list has not judged."""
_NAMESPACES = 0x7E02_0000
"""CLONE_NEW* of mount, cgroup, uts, ipc, user, pid and network."""
_NEW_TIME = 0x80
_RAISING = ("mount", "move_mount", "setns")
"""Calls a function's own zygote needs besides, to dress its children. It may not change a mount that is there: it could
make its package writable."""
_RAISING_NAMESPACES = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID
_FAMILIES = (1, 2, 10, 16)
"""unix, inet, inet6, netlink. Others are not held by a network namespace (vsock) or only open the kernel (alg)."""


class Architecture(NamedTuple):
    audit: int
    clone: int
    unshare: int
    socket: int
    socketpair: int
    personality: int
    denied: Dict[str, int]


_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "process_madvise": 440,
    "mount_setattr": 442, "quotactl_fd": 443, "process_mrelease": 448, "statmount": 457, "listmount": 458,
    "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461,
}  # fmt: skip

_X86_64 = {
    "syslog": 103, "ptrace": 101, "uselib": 134, "sysfs": 139, "vhangup": 153, "modify_ldt": 154, "pivot_root": 155,
    "_sysctl": 156, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
    "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173,
    "init_module": 175, "delete_module": 176, "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212,
    "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256,
    "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
}  # fmt: skip

_AARCH64 = {
    "lookup_dcookie": 18, "umount2": 39, "mount": 40, "pivot_root": 41, "nfsservctl": 42, "chroot": 51, "vhangup": 58,
    "quotactl": 60, "acct": 89, "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112,
    "syslog": 116, "ptrace": 117, "reboot": 142, "sethostname": 161, "setdomainname": 162, "settimeofday": 170,
    "adjtimex": 171, "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224, "swapoff": 225,
    "migrate_pages": 238, "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
    "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271,
    "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
}  # fmt: skip

_CLONE3 = 435

ARCHITECTURES = {
    "x86_64": Architecture(0xC000_003E, 56, 272, 41, 53, 135, {**_X86_64, **_EVERYWHERE}),
    "aarch64": Architecture(0xC000_00B7, 220, 97, 198, 199, 92, {**_AARCH64, **_EVERYWHERE}),
}

# Classic BPF: load a word of struct seccomp_data; compare it; return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARGUMENT = 0, 4, 16

Step = Union[str, Tuple[int, int, str, str]]
"""A label, or (code, k, label if true, label if false); an empty label means the next step."""


def program(architecture: Architecture, is_wide: bool = False) -> bytes:
    """The filter, as an array of struct sock_filter. `is_wide`: for a function's own zygote; each of its children adds
    the other one on top."""
    denied = sorted(number for name, number in architecture.denied.items() if not (is_wide and name in _RAISING))
    unshared = (_NAMESPACES | _NEW_TIME) & ~(_RAISING_NAMESPACES if is_wide else 0)
    steps: List[Step] = [
        (_LOAD, _ARCH, "", ""),
        (_EQUAL, architecture.audit, "", "kill"),
        (_LOAD, _NR, "", ""),
        (_AT_LEAST, FIRST_UNKNOWN, "missing", ""),  # x32 calls carry a high bit and end here too
        (_EQUAL, _CLONE3, "missing", ""),  # libc then falls back to clone, whose flags a filter can read
        (_EQUAL, architecture.clone, "clone", ""),
        (_EQUAL, architecture.unshare, "unshare", ""),
        (_EQUAL, architecture.socket, "socket", ""),
        (_EQUAL, architecture.socketpair, "socket", ""),
        (_EQUAL, architecture.personality, "personality", ""),
    ]
    if is_wide:
        steps += [(_EQUAL, architecture.denied["mount"], "mount", "")]
    steps += [(_EQUAL, number, "deny", "") for number in denied]
    steps += [(_RETURN, ALLOW, "", "")]
    steps += ["mount", (_LOAD, _ARGUMENT + 3 * 8, "", ""), (_ANY_BIT, kernel.MS_REMOUNT, "deny", "allow")]
    steps += ["clone", (_LOAD, _ARGUMENT, "", ""), (_ANY_BIT, _NAMESPACES, "deny", "allow")]
    steps += ["unshare", (_LOAD, _ARGUMENT, "", ""), (_ANY_BIT, unshared, "deny", "allow")]
    steps += ["socket", (_LOAD, _ARGUMENT, "", "")]
    steps += [(_EQUAL, family, "allow", "") for family in _FAMILIES]
    steps += [(_RETURN, _ERRNO | errno.EAFNOSUPPORT, "", "")]
    # 0 is Linux as it is; all ones only asks.
    steps += [
        "personality",
        (_LOAD, _ARGUMENT, "", ""),
        (_EQUAL, 0, "allow", ""),
        (_EQUAL, 0xFFFF_FFFF, "allow", "deny"),
    ]
    steps += ["allow", (_RETURN, ALLOW, "", ""), "deny", (_RETURN, _ERRNO | errno.EPERM, "", "")]
    steps += ["missing", (_RETURN, _ERRNO | errno.ENOSYS, "", ""), "kill", (_RETURN, KILL_PROCESS, "", "")]
    return _assemble(steps)


def _assemble(steps: List[Step]) -> bytes:
    places: Dict[str, int] = {}
    instructions: List[Tuple[int, int, str, str]] = []
    for step in steps:
        if isinstance(step, str):
            places[step] = len(instructions)
        else:
            instructions.append(step)
    assembled = b""
    for place, (code, k, if_true, if_false) in enumerate(instructions):
        jumps = [places[label] - place - 1 if label else 0 for label in (if_true, if_false)]
        assembled += struct.pack("=HBBI", code, jumps[0], jumps[1], k)
    return assembled


def find_filter(is_wide: bool = False) -> "Optional[Filter]":
    """None: this kernel takes no filters, or we have none for its machine. The keeper says so (sandbox/probe.py)."""
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None or not _is_offered():
        return None
    return Filter(program(architecture, is_wide))


def _is_offered() -> bool:
    """Asked with a filter that lies nowhere, which is noticed only by a kernel that would look at one."""
    try:
        kernel.prctl(kernel.PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 0)
    except OSError as exc:
        return exc.errno == errno.EFAULT
    return True


class Filter:
    """A program ready to be installed: made once in the zygote."""

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        self._header = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(self._code)))
        self._address = ctypes.addressof(self._header)

    def install(self) -> None:
        """For this thread and all it will start. Needs no_new_privs."""
        kernel.prctl(kernel.PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self._address)
