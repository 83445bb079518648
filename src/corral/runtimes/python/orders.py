"""What the keeper orders: packets of JSON with descriptors, to the zygote or to a child that was parked.

A packet says no more than the zygote has to know. What belongs to one function, its environment first of all, lies in
a file that only its own instance reads: what a zygote reads stays in its memory, which all later children inherit."""

import os
import socket
from typing import Any, Dict, NamedTuple, Optional

from . import jsontext

PACKET_MAX = 16 * 1024
"""Names alone are in it."""
FDS_MAX = 32


class Order(NamedTuple):
    message: Dict[str, Any]
    fds: Dict[str, int]
    """By the names in docs/zygote.md; the receiver's."""


def receive(keeper: socket.socket) -> Optional[Order]:
    """Waits for the next one. None: the keeper is gone."""
    try:
        packet, fds, _, _ = socket.recv_fds(keeper, PACKET_MAX, FDS_MAX)
    except ConnectionError:
        return None
    if not packet:
        return None
    message = jsontext.read(packet)
    return Order(message, {name: fds[place] for place, name in enumerate(message["fds"])})


def take(fds: Dict[str, int], name: str) -> bytes:
    """All that is in the file of that name, which is closed; nothing if it did not come."""
    if name not in fds:
        return b""
    fd = fds.pop(name)
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
