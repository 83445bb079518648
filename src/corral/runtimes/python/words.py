"""What a function's own zygote says to the keeper: packets of one size, because the keeper trusts none of them and
reads no more of them than these three numbers. Who sends one it is told by the kernel."""

import os
import struct

PACKET = struct.Struct(">BIQ")
"""Word, serial, number."""

REAPER = 1
"""I am pid 1."""
LOADED = 2
"""I have loaded the code; number: in so many microseconds."""
UNSAFE = 3
"""Loading left something that a fork would break; serial: what (safety.KINDS), number: how many. Before LOADED."""
FAILED = 4
"""The code could not be loaded. The sender ends."""
BORN = 5
"""I am the instance of the start with this serial, and in its groups."""
EXITED = 6
"""The instance with this serial has ended; number: its wait status."""
REFUSED = 7
"""No process for the start with this serial; number: errno."""
WAITING = 8
"""I am the spare with this serial, in its groups, and take an order."""


def say(fd: int, word: int, serial: int = 0, number: int = 0) -> None:
    os.write(fd, PACKET.pack(word, serial, number))
