"""The engine's end of the links: who may connect, and which message goes to which method of the Fleet."""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping

from corral import link
from corral.engine.fleet import Fleet
from corral.link import Hello, Link, Message
from corral.model import GatewayId

log = logging.getLogger("corral.engine.peers")


class Peers:
    """Accepts on the listening link socket. `uid_base` is the gateway's user; the keeper is root. Our own user is
    always allowed: without root all processes are of one user, and with it nobody else is ours."""

    def __init__(self, listener: socket.socket, fleet: Fleet, own_id: str, uid_base: int) -> None:
        self._listener, self._fleet = listener, fleet
        self._hello = Hello("engine", own_id)
        self._users = {"keeper": {0, os.getuid()}, "gateway": {uid_base, os.getuid()}}
        self._connections: dict[Link[Message], Connection] = {}
        self.pids: dict[str, int] = {"engine": os.getpid()}
        """Role -> process, of those connected."""

    async def run(self) -> None:
        """Ends only by cancellation; then every link is closed."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        try:
            while True:
                accepted, _ = await loop.sock_accept(self._listener)
                pid, uid = credentials(accepted)
                await loop.connect_accepted_socket(lambda pid=pid, uid=uid: self._make(pid, uid), accepted)  # type: ignore[misc]
        finally:
            self._listener.close()
            for open_link in list(self._connections):
                open_link.close()

    def _make(self, pid: int, uid: int) -> Link[Message]:
        types = link.FromGateway | link.FromKeeper
        made: Link[Message] = Link(
            types,
            hello=self._hello,
            opened=lambda own, hello: self._opened(own, hello, pid, uid),
            receive=lambda own, message: self._connections[own].take(message),
            closed=self._closed,
        )
        return made

    def _opened(self, own: Link[Message], hello: Hello, pid: int, uid: int) -> None:
        if uid not in self._users.get(hello.role, ()):
            raise link.LinkBroken(f"user {uid} came as {hello.role!r}, must be keeper or gateway under its own user")
        self._replace(hello.role)
        self._connections[own] = Connection(self._fleet, hello, own)
        self.pids[hello.role] = pid
        log.info("connected", extra={"peer": hello.role, "pid": pid})

    def _replace(self, role: str) -> None:
        """One gateway, one keeper: a newcomer is the successor of one whose end we have not noticed yet."""
        for own, connection in list(self._connections.items()):
            if connection.role == role:
                own.close()
                self._closed(own)

    def _closed(self, own: Link[Message]) -> None:
        connection = self._connections.pop(own, None)
        if connection is not None:
            self.pids.pop(connection.role, None)
            connection.end()
            # Whether that is a fault the parent knows, and says.
            log.info("disconnected", extra={"peer": connection.role})


class Connection:
    """One link that said Hello. Its first message must be its whole state; then anything its role may say."""

    def __init__(self, fleet: Fleet, hello: Hello, peer: Link[Message]) -> None:
        self.role = hello.role
        self._fleet, self._peer = fleet, peer
        self._gateway = GatewayId(hello.id)
        self._is_up = False
        self._handlers = self._of_gateway() if hello.role == "gateway" else self._of_keeper()

    def take(self, message: Message) -> None:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise link.LinkBroken(f"{self.role} sent {type(message).__name__}, which is not for it to say")
        if not self._is_up and not isinstance(message, link.Holding | link.Inventory):
            raise link.LinkBroken(f"{self.role} sent {type(message).__name__} before its whole state")
        handler(message)

    def end(self) -> None:
        if not self._is_up:
            return
        if self.role == "gateway":
            self._fleet.gateway_down(self._gateway)
        else:
            self._fleet.keeper_down()

    def _of_gateway(self) -> Mapping[type[Message], Callable[..., None]]:
        fleet, gateway = self._fleet, self._gateway
        return {
            link.Holding: self._holding,
            link.Want: lambda message: fleet.want(gateway, message),
            link.Observed: lambda message: fleet.observed(gateway, message),
            link.Ready: fleet.ready,
            link.Failed: fleet.failed,
            link.Released: fleet.released,
            link.Overrun: fleet.overrun,
            link.Dropped: fleet.dropped,
            link.CallLost: fleet.call_lost,
            link.CallEnded: fleet.followers.ended,
            link.CallsSeen: fleet.recorder.ended,
        }

    def _of_keeper(self) -> Mapping[type[Message], Callable[..., None]]:
        fleet = self._fleet
        return {
            link.Inventory: self._inventory,
            link.SlotReady: fleet.node.slot_ready,
            link.Started: fleet.started,
            link.Exited: fleet.exited,
            link.Used: fleet.used,
            link.Measured: fleet.measured,
            link.ZygoteUp: fleet.node.zygote_up,
            link.ZygoteDown: fleet.node.zygote_down,
            link.ZygoteKept: fleet.zygote_kept,
            link.ZygoteGone: fleet.zygote_gone,
            link.LogGrew: fleet.followers.grew,
            link.Built: fleet.layers.built,
        }

    def _holding(self, message: link.Holding) -> None:
        self._is_up = True
        self._fleet.gateway_up(self._gateway, self._peer, message)

    def _inventory(self, message: link.Inventory) -> None:
        self._is_up = True
        self._fleet.keeper_up(self._peer, message)


def credentials(connected: socket.socket) -> tuple[int, int]:
    """(pid, uid) of the process at the other end, as the kernel knows them."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid
