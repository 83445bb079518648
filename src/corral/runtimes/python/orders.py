"""What the keeper orders: packets of JSON with descriptors, to the zygote or to a child that was parked."""

import socket
from typing import Any, Dict, NamedTuple, Optional

from . import jsontext

PACKET_MAX = 512 * 1024
"""An environment of 65,536 characters fits, however they are encoded."""
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
