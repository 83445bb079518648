"""Who is connected to the engine, and how they are told. To somebody away nothing is said: whoever connects is told
everything."""

from typing import Protocol

from corral.link import Message
from corral.model import GatewayId


class Peer(Protocol):
    """Where messages for a gateway or the keeper go."""

    def send(self, message: Message) -> None: ...


class Links:
    def __init__(self) -> None:
        self.gateways: dict[GatewayId, Peer] = {}
        self.keeper: Peer | None = None

    def tell_gateway(self, gateway: GatewayId | None, message: Message) -> None:
        peer = None if gateway is None else self.gateways.get(gateway)
        if peer is not None:
            peer.send(message)

    def tell_gateways(self, message: Message) -> None:
        for peer in self.gateways.values():
            peer.send(message)

    def tell_keeper(self, message: Message) -> None:
        if self.keeper is not None:
            self.keeper.send(message)
