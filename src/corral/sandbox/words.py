"""What a function's own zygote may say, from the keeper's side (runtimes/python/words.py is the other). It has run
user code: whatever is not exactly one of these packets is a reason to end it."""

import enum
import socket
import struct
from typing import NamedTuple

from corral.errors import CorralError

PACKET = struct.Struct(">BIQ")
_CREDENTIALS = struct.Struct("3i")
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size)
"""Room for the credentials alone: descriptors that come along are closed by the kernel."""

KINDS = ("thread", "socket", "child process", "open file", "file in /tmp")
"""What UNSAFE counts, by the serial it comes with."""
PLURALS = {"child process": "child processes", "file in /tmp": "files in /tmp"}


class Word(enum.IntEnum):
    REAPER = 1
    LOADED = 2
    UNSAFE = 3
    FAILED = 4
    BORN = 5
    EXITED = 6
    REFUSED = 7
    WAITING = 8


class Improper(CorralError):
    """It said what no zygote of ours says."""


class Said(NamedTuple):
    word: Word
    serial: int
    number: int
    pid: int
    """Of the sender, by the kernel; but one with rights over its pid namespace may name another process of it."""


def open_pair() -> tuple[socket.socket, socket.socket]:
    """(ours, theirs)"""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    ours.setblocking(False)
    return ours, theirs


def hear(ours: socket.socket) -> Said | None:
    """The next packet; None: everybody at the other end has closed it. Raises BlockingIOError when there is none now,
    and Improper."""
    try:
        data, ancillary, flags, _ = ours.recvmsg(PACKET.size + 1, _ANCILLARY)
    except ConnectionError:
        return None
    if not data and not ancillary:
        return None
    if len(data) != PACKET.size or flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC) or len(ancillary) != 1:
        raise Improper(f"it sent a packet of {len(data)} bytes or with descriptors, must be {PACKET.size} without any")
    word, serial, number = PACKET.unpack(data)
    pid, _, _ = _CREDENTIALS.unpack(ancillary[0][2][: _CREDENTIALS.size])
    try:
        return Said(Word(word), serial, number, pid)
    except ValueError:
        raise Improper(f"it sent word {word}, must be one of 1 to {len(Word)}") from None


def unsafe_sentence(found: dict[int, int]) -> str:
    """`found`: place in KINDS -> how many."""
    parts = [f"{count} {KINDS[kind] if count == 1 else PLURALS.get(KINDS[kind], KINDS[kind] + 's')}"
             for kind, count in sorted(found.items())]  # fmt: skip
    return (
        f"loading its code leaves behind {', '.join(parts)}: that can't be forked, so each instance loads it by itself"
    )
