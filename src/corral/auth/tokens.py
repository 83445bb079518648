"""Tokens: what their holders may do. Only their SHA-256 is kept; a look-up by hash tells nothing by its timing."""

import hashlib
import secrets
from collections.abc import Sequence

from corral.errors import Unauthenticated
from corral.ports import Holder, StoredToken

PREFIX = "corral_"


def new_token() -> str:
    """256 random bits, recognisable by scanners for leaked secrets."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def bearer_of(header: str | None) -> str:
    """The token in an Authorization header. Raises Unauthenticated."""
    if header is None:
        raise Unauthenticated("no token was sent, must be sent as Authorization: Bearer TOKEN")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(f"Authorization has scheme {scheme[:20]!r}, must be Bearer TOKEN")
    return token.strip()


class Keyring:
    """The tokens known, by digest. The administrator's may do everything and is not listed."""

    def __init__(self, admin_digest: str) -> None:
        self._stored: dict[str, StoredToken] = {}
        self._holders: dict[str, Holder] = {}
        if admin_digest:
            self._holders[admin_digest] = Holder(label="administrator", namespaces=("*",), manage=True, invoke=True)

    def put(self, token: StoredToken) -> None:
        self._stored[token.digest] = token
        self._holders[token.digest] = Holder(
            label=token.label, namespaces=tuple(token.namespaces), manage=token.manage, invoke=token.invoke
        )

    def remove(self, digest: str) -> None:
        if self._stored.pop(digest, None) is not None:
            del self._holders[digest]

    def holder(self, header: str | None) -> Holder:
        """Who sent this Authorization header. Raises Unauthenticated."""
        holder = self._holders.get(digest_of(bearer_of(header)))
        if holder is None:
            raise Unauthenticated("the token is not known: it may have been removed, or be of another server")
        return holder

    @property
    def stored(self) -> Sequence[StoredToken]:
        return tuple(self._stored.values())
