"""The instances that run, as the engine finds them: in which slot, and who holds them."""

from corral.model import GatewayId, RevisionId


class Running:
    """An instance, from its Start until everything of it is gone."""

    __slots__ = ("address", "gateway", "has_failed", "is_ready", "revision")

    def __init__(self, revision: RevisionId, address: str | None, is_ready: bool) -> None:
        self.revision = revision
        self.address = address
        """None: in no prepared slot, and not forked yet."""
        self.gateway: GatewayId | None = None
        self.is_ready = is_ready
        self.has_failed = False
