"""A child forked before it is needed, from the keeper's side (runtimes/python/parking.py is its own). It ends when its
`orders` are closed: by us, or with us."""

import os
import socket
from collections.abc import Mapping

import msgspec

from corral.sandbox.zygotes import Zygote


class Parked:
    def __init__(self, zygote: Zygote) -> None:
        self.zygote = zygote
        self.pid: int | None = None
        """None: it was asked for and is not forked yet. An order may be sent all the same: it waits in the socket."""
        self.pidfd: int | None = None
        self._orders, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.setblocking(False)

    def take_end(self) -> int:
        """The child's end of `orders`, now the caller's."""
        return self._theirs.detach()

    def was_forked(self, pid: int, pidfd: int) -> None:
        self.pid, self.pidfd = pid, pidfd

    def order(self, fds: Mapping[str, int]) -> None:
        """Bind it to an instance. The descriptors stay ours. Raises OSError: a ConnectionError when it is dead."""
        packet = msgspec.json.encode({"op": "start", "fds": list(fds)})
        socket.send_fds(self._orders, [packet], list(fds.values()))

    def close(self) -> None:
        """What is ours of it but the pidfd: without an order it ends, with one it goes on."""
        self._orders.close()
        self._theirs.close()

    def dismiss(self) -> None:
        self.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
