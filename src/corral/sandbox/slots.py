"""The parts of a sandbox that cost time, made before they are needed."""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence

from corral.model import SlotId
from corral.sandbox.cgroups import Group
from corral.sandbox.parking import Parked

BACKLOG = 8
"""Connections waiting for an instance: one gateway, and its successors after quick restarts."""


class Slot:
    """A listening socket, what its instance will live in, and mostly the child that is to become it."""

    def __init__(self, slot: SlotId, path: str, group: Group, owner: int | None) -> None:
        """`owner`: the only user that may connect; None: our own."""
        self.id = slot
        self.path = path
        self.group = group
        self._fds: dict[str, int] = {}
        self.is_bare = False
        """No child shall wait in it, and it gets a group when it is known who is to live there."""
        self.parked: Parked | None = None
        """The child that waits in it; None: one is forked when it is needed."""
        listener = listen(path, owner)
        self._fds["listen"] = listener.detach()

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    def add(self, name: str, make: Callable[[], int]) -> None:
        self._fds[name] = make()

    def add_entrances(self) -> None:
        self._keep_entrances(self.group.entrances())

    def move(self, group: Group) -> Group:
        """Have the next child live in that group, and nothing in the one there was, which is returned. Raises OSError;
        then all is as it was."""
        entrances = group.entrances()
        before = self.settle(group)
        self._keep_entrances(entrances)
        return before

    def settle(self, group: Group) -> Group:
        """Its instance lives in that group already. The one there was, into which nothing comes any more."""
        self.dismiss()
        for name in [name for name in self._fds if name.startswith("tasks")]:
            os.close(self._fds.pop(name))
        before, self.group = self.group, group
        return before

    def _keep_entrances(self, entrances: Sequence[int]) -> None:
        for number, fd in enumerate(entrances):
            self._fds[f"tasks{number}"] = fd

    def lend(self, without: str = "") -> dict[str, int]:
        """Copies of the descriptors, the caller's. Ours stay, for another child should the first one die unused."""
        copies: dict[str, int] = {}
        try:
            for name, fd in self._fds.items():
                if name != without:
                    copies[name] = os.dup(fd)
        except OSError:
            close_all(copies)
            raise
        return copies

    def take(self) -> dict[str, int]:
        """Name -> descriptor, now the caller's."""
        fds, self._fds = self._fds, {}
        return fds

    def dismiss(self) -> None:
        """Have no child wait in it any more."""
        parked, self.parked = self.parked, None
        if parked is not None:
            parked.dismiss()

    def close(self) -> None:
        """All but the group, which takes the kernel some time."""
        self.dismiss()
        close_all(self.take())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def close_all(fds: Mapping[str, int]) -> None:
    for fd in fds.values():
        os.close(fd)


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
