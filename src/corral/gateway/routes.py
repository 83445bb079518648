"""Which lanes a function's calls go to, and whose token may call it: what the engine told, ready to be looked up."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial

from corral.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from corral.gateway.activator import Activator
from corral.gateway.lane import Lane
from corral.gateway.stats import Stats
from corral.gateway.turns import turns
from corral.link import RevisionDrop, RevisionPut, RouteDrop, RoutePut, TokenPut
from corral.model import FunctionKey, RevisionId, tagged_key


class Routes:
    """The engine's messages are a difference against what is here; what it has not named again when it says Synced
    is gone. `find` never says that a function is unknown before the first Synced."""

    def __init__(self, activator: Activator, stats: Stats, admin_token_sha256: str, everything_private: bool) -> None:
        self._activator = activator
        activator.find = self.find
        self._stats = stats
        self._lanes: dict[FunctionKey, Lane] = {}
        """Where all calls of that name go to one revision; names with a tag as well."""
        self._splits: dict[FunctionKey, Split] = {}
        """Functions whose calls are shared."""
        self._tags: dict[FunctionKey, Iterable[str]] = {}
        """Of functions that have any."""
        self._namespaces_by_token: dict[str, frozenset[str]] = {}
        self._admin = admin_token_sha256
        self._named_lanes: set[RevisionId] = set()
        self._named_routes: set[FunctionKey] = set()
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
        split = self._splits.get(key)
        if split is not None:
            return next(split.turns)
        if not self.is_synced:
            raise Unavailable(f"function {key} cannot be looked up: the engine has not connected yet")
        function, _, tag = key.partition("@")
        if tag and (function in self._lanes or function in self._splits):
            raise NotFound(f"function {function} has no tag {tag!r}")
        raise NotFound(f"function {function} does not exist")

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
        self._named_routes.clear()
        self._named_tokens.clear()

    def put_revision(self, message: RevisionPut) -> None:
        self._named_lanes.add(message.served.id)
        lane = self._activator.lane(message.served)
        lane.closing = False

    def drop_revision(self, message: RevisionDrop) -> None:
        lane = self._activator.lanes.get(message.revision)
        if lane is not None and not lane.closing:
            self._activator.drop(lane, NotFound(f"revision {message.revision} takes no calls any more"))

    def put(self, message: RoutePut) -> None:
        self._named_routes.add(message.key)
        before = self._of(message.key)
        self._forget(message.key)
        lanes = self._activator.lanes
        if len(message.shares) == 1:
            self._lanes[message.key] = lanes[message.shares[0][0]]
        else:
            self._splits[message.key] = Split({lanes[revision]: percent for revision, percent in message.shares})
        for tag, revision in message.tags.items():
            self._lanes[tagged_key(message.key, tag)] = lanes[revision]
        if message.tags:
            self._tags[message.key] = tuple(message.tags)
        for lane in self._of(message.key):
            lane.stats = self._stats.of(lane.key)  # those it was made with went if the function was deleted meanwhile
        for lane in before:
            lane.move_waiting(partial(self._elsewhere, lane))

    def drop(self, message: RouteDrop) -> None:
        """Only what calls go to: a later deployment of that name may be under verification, and one that is not to be
        is dropped by its own message."""
        lanes = self._of(message.key)
        self._forget(message.key)
        for lane in lanes:
            self._activator.drop(lane, NotFound(f"function {message.key} was deleted"))
        self._stats.forget(message.key)

    def _of(self, key: FunctionKey) -> set[Lane]:
        """All that calls of the function go to, whether by share or by tag."""
        split = self._splits.get(key)
        lanes = set(split.lanes) if split is not None else set()
        names = (key, *(tagged_key(key, tag) for tag in self._tags.get(key, ())))
        return lanes | {self._lanes[name] for name in names if name in self._lanes}

    def _elsewhere(self, lane: Lane, key: FunctionKey) -> Lane | None:
        """Where a call of this name goes; None when this lane is as good as any."""
        split = self._splits.get(key)
        if self._lanes.get(key) is lane or (split is not None and lane in split.lanes):
            return None
        return self.find(key)

    def _forget(self, key: FunctionKey) -> None:
        self._lanes.pop(key, None)
        self._splits.pop(key, None)
        for tag in self._tags.pop(key, ()):
            del self._lanes[tagged_key(key, tag)]

    def put_token(self, message: TokenPut) -> None:
        self._named_tokens.add(message.digest)
        if message.invoke:
            self._namespaces_by_token[message.digest] = frozenset(message.namespaces)
        else:
            self._namespaces_by_token.pop(message.digest, None)

    def synced(self) -> None:
        self.is_synced = True
        for key in {lane.key for lane in self._activator.lanes.values()} - self._named_routes:
            if key in self._lanes or key in self._splits:
                self.drop(RouteDrop(key))
        for lane in list(self._activator.lanes.values()):
            if lane.id not in self._named_lanes:
                self.drop_revision(RevisionDrop(lane.id))
        for digest in self._namespaces_by_token.keys() - self._named_tokens:
            del self._namespaces_by_token[digest]


class Split:
    """Several lanes share the calls, each by its percent."""

    __slots__ = ("lanes", "turns")

    def __init__(self, lanes: dict[Lane, int]) -> None:
        self.lanes = lanes
        self.turns: Iterator[Lane] = turns(lanes)


def _bearer_digest(authorization: bytes) -> str:
    """SHA-256 (hex) of the token in an Authorization header; empty when it holds none."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        return ""
    return hashlib.sha256(token.strip()).hexdigest()
