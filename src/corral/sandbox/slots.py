"""The parts of a sandbox that cost time, made before they are needed."""

import contextlib
import os
import socket
from collections.abc import Callable

from corral.model import SlotId
from corral.sandbox.cgroups import Group

BACKLOG = 8
"""Connections waiting for an instance: one gateway, and its successors after quick restarts."""


class Slot:
    """A listening socket and what its instance will live in. Descriptors are handed over once, by `take`."""

    def __init__(self, slot: SlotId, path: str, group: Group, owner: int | None) -> None:
        """`owner`: the only user that may connect; None: our own."""
        self.id = slot
        self.path = path
        self.group = group
        self._fds: dict[str, int] = {}
        listener = listen(path, owner)
        self._fds["listen"] = listener.detach()

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    def add(self, name: str, make: Callable[[], int]) -> None:
        self._fds[name] = make()

    def add_entrances(self) -> None:
        for number, fd in enumerate(self.group.entrances()):
            self._fds[f"tasks{number}"] = fd

    def take(self) -> dict[str, int]:
        """Name -> descriptor, now the caller's."""
        fds, self._fds = self._fds, {}
        return fds

    def close(self) -> None:
        """All but the group, which takes the kernel some time."""
        for fd in self.take().values():
            os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def listen(path: str, owner: int | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        os.chmod(path, 0o600)
        if owner is not None:
            os.chown(path, owner, owner)
        # Only now can anybody connect.
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
