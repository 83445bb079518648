"""The tokens that are kept: on disk, in the keyring and with the gateways, in this order."""

from collections.abc import Sequence

from corral.auth.tokens import Keyring, digest_of, new_token
from corral.clock import Clock
from corral.engine.fleet import Fleet
from corral.errors import Conflict, Invalid, NotFound
from corral.model import check_name
from corral.ports import Holder, Store, StoredToken

LABEL_MAX = 100
NAMESPACES_MAX = 1000


class Tokens:
    def __init__(self, store: Store, keyring: Keyring, fleet: Fleet, clock: Clock) -> None:
        self._store, self._keyring, self._fleet, self._clock = store, keyring, fleet, clock
        fleet.tokens = lambda: self._keyring.stored

    def restore(self, tokens: Sequence[StoredToken]) -> None:
        """At start: what the store holds."""
        for token in tokens:
            self._keyring.put(token)

    def holder(self, authorization: str | None) -> Holder:
        """Who sent this Authorization field. Raises Unauthenticated."""
        return self._keyring.holder(authorization)

    @property
    def stored(self) -> Sequence[StoredToken]:
        return self._keyring.stored

    async def make(self, label: str, namespaces: Sequence[str], manage: bool, invoke: bool) -> tuple[str, StoredToken]:
        """(the token, shown this once; what is kept of it). Raises Invalid with every mistake."""
        problems = _problems(label, namespaces)
        if not (manage or invoke):
            problems.append("manage and invoke are both false, must not be: the token could do nothing")
        if problems:
            raise Invalid(*problems)
        token = new_token()
        stored = StoredToken(
            digest=digest_of(token),
            label=label,
            namespaces=tuple(namespaces),
            manage=manage,
            invoke=invoke,
            created_at=self._clock.wall(),
        )
        await self._store.put_token(stored)
        self._keyring.put(stored)
        self._fleet.put_token(stored)
        return token, stored

    async def remove(self, digest: str) -> None:
        """`digest` may be its beginning. Raises NotFound; Conflict when it is the beginning of several."""
        found = [token.digest for token in self._keyring.stored if digest and token.digest.startswith(digest)]
        if not found:
            raise NotFound(f"no token whose SHA-256 begins with {digest[:80]!r}")
        if len(found) > 1:
            raise Conflict(f"{len(found)} tokens' SHA-256 begin with {digest!r}, must be one: give more digits")
        await self._store.delete_token(found[0])
        self._keyring.remove(found[0])
        self._fleet.drop_token(found[0])


def _problems(label: str, namespaces: Sequence[str]) -> list[str]:
    problems = []
    if not 0 < len(label) <= LABEL_MAX or not label.isprintable():
        problems.append(f"label = {label[:120]!a}, must be 1 to {LABEL_MAX} printable characters")
    if not 0 < len(namespaces) <= NAMESPACES_MAX:
        problems.append(f"namespaces names {len(namespaces)}, must name 1 to {NAMESPACES_MAX}, or *")
    for namespace in namespaces:
        try:
            namespace == "*" or check_name("namespaces", namespace)
        except Invalid as fault:
            problems += fault.problems
    return problems
