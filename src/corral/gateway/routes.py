"""Which lane serves a function, and whose token may call it: what the engine told, ready to be looked up."""

import hashlib

from corral.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from corral.gateway.activator import Activator
from corral.gateway.lane import Lane
from corral.gateway.stats import Stats
from corral.link import RevisionDrop, RouteDrop, RoutePut, TokenPut
from corral.model import FunctionKey, RevisionId


class Routes:
    """The engine's messages are a difference against what is here; what it has not named again when it says Synced
    is gone. `find` never says that a function is unknown before the first Synced."""

    def __init__(self, activator: Activator, stats: Stats, admin_token_sha256: str, everything_private: bool) -> None:
        self._activator = activator
        self._stats = stats
        self._lanes: dict[FunctionKey, Lane] = {}
        self._namespaces_by_token: dict[str, frozenset[str]] = {}
        self._admin = admin_token_sha256
        self._named_lanes: set[RevisionId] = set()
        self._named_tokens: set[str] = set()
        self.everything_private = everything_private
        """server.auth = "all"."""
        self.is_synced = False

    # -- looked up by calls ---------------------------------------------------------------------------------

    def find(self, key: FunctionKey) -> Lane:
        """Raises NotFound, or Unavailable while it cannot be known."""
        lane = self._lanes.get(key)
        if lane is not None:
            return lane
        if not self.is_synced:
            raise Unavailable(f"function {key} cannot be looked up: the engine has not connected yet")
        raise NotFound(f"function {key} does not exist")

    def admit(self, authorization: bytes, namespace: str) -> None:
        """Whether the bearer of this Authorization header may call in the namespace. Tokens are found by their
        SHA-256, so the time a look-up takes tells nothing of them. Raises Unauthenticated or Forbidden."""
        digest = _bearer_digest(authorization)
        if digest and digest == self._admin:
            return
        allowed = self._namespaces_by_token.get(digest)
        if allowed is None:
            what = "the token is not known" if digest else "no token was sent"
            raise Unauthenticated(f"{what}: send Authorization: Bearer and a token that may invoke in {namespace}")
        if namespace not in allowed and "*" not in allowed:
            raise Forbidden(f"this token may not invoke in the namespace {namespace}")

    def admit_any(self, authorization: bytes) -> None:
        """For what belongs to no namespace: any known token. Raises Unauthenticated."""
        digest = _bearer_digest(authorization)
        if not digest or (digest != self._admin and digest not in self._namespaces_by_token):
            raise Unauthenticated("no known token was sent: send Authorization: Bearer and a token")

    # -- told by the engine ---------------------------------------------------------------------------------

    def opened(self) -> None:
        """A connection to the engine begins: it names everything again."""
        self._named_lanes.clear()
        self._named_tokens.clear()

    def put(self, message: RoutePut) -> None:
        self._named_lanes.add(message.served.id)
        lane = self._activator.lane(message.served)
        if not message.serving:
            return
        lane.closing = False
        lane.stats = self._stats.of(lane.key)  # those it was made with went if the function was deleted meanwhile
        before = self._lanes.get(lane.key)
        self._lanes[lane.key] = lane
        if before is not None and before is not lane:
            self._activator.supersede(before, lane)

    def drop_revision(self, message: RevisionDrop) -> None:
        lane = self._activator.lanes.get(message.revision)
        if lane is not None and self._lanes.get(lane.key) is not lane:
            self._activator.drop(lane)

    def drop(self, message: RouteDrop) -> None:
        """Only what serves: a later deployment of that name may be under verification, and one that is not to be is
        dropped by its own message."""
        lane = self._lanes.pop(message.key, None)
        if lane is not None:
            self._activator.drop(lane)
        self._stats.forget(message.key)

    def put_token(self, message: TokenPut) -> None:
        self._named_tokens.add(message.digest)
        if message.invoke:
            self._namespaces_by_token[message.digest] = frozenset(message.namespaces)
        else:
            self._namespaces_by_token.pop(message.digest, None)

    def synced(self) -> None:
        self.is_synced = True
        for lane in list(self._activator.lanes.values()):
            if lane.id in self._named_lanes or lane.closing:
                continue
            if self._lanes.get(lane.key) is lane:
                self.drop(RouteDrop(lane.key))
            else:
                self._activator.drop(lane)
        for digest in self._namespaces_by_token.keys() - self._named_tokens:
            del self._namespaces_by_token[digest]


def _bearer_digest(authorization: bytes) -> str:
    """SHA-256 (hex) of the token in an Authorization header; empty when it holds none."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        return ""
    return hashlib.sha256(token.strip()).hexdigest()
