"""Tokens and what their holders may do."""

import pytest

from corral.auth.tokens import Keyring, bearer_of, digest_of, new_token
from corral.errors import Unauthenticated
from corral.ports import StoredToken


def stored(token: str, *namespaces: str, manage: bool = False, invoke: bool = True) -> StoredToken:
    return StoredToken(
        digest=digest_of(token), label="t", namespaces=namespaces, manage=manage, invoke=invoke, created_at=0.0
    )


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_no_bearer_token_is_unauthenticated(header: str | None) -> None:
    with pytest.raises(Unauthenticated, match="Bearer TOKEN"):
        bearer_of(header)


def test_the_scheme_is_known_in_any_case() -> None:
    assert bearer_of("bEARER abc") == "abc"


def test_tokens_are_recognisable_and_never_the_same() -> None:
    assert new_token().startswith("corral_")
    assert new_token() != new_token()


def test_the_administrator_may_do_everything() -> None:
    holder = Keyring(digest_of("admin")).holder("Bearer admin")
    assert holder.may_manage("anything")
    assert holder.may_invoke("anything")


def test_without_an_administrator_the_empty_token_opens_nothing() -> None:
    with pytest.raises(Unauthenticated):
        Keyring("").holder("Bearer x")


def test_rights_hold_in_the_named_namespaces_only() -> None:
    keyring = Keyring("")
    keyring.put(stored("a", "mine", manage=True, invoke=False))
    holder = keyring.holder("Bearer a")
    assert holder.may_manage("mine")
    assert not holder.may_manage("theirs")
    assert not holder.may_manage("*")
    assert not holder.may_invoke("mine")


def test_a_removed_token_is_not_known_and_the_administrator_cannot_be_removed() -> None:
    keyring = Keyring(digest_of("admin"))
    keyring.put(stored("a", "*"))
    keyring.remove(digest_of("a"))
    keyring.remove(digest_of("admin"))
    with pytest.raises(Unauthenticated, match="not known"):
        keyring.holder("Bearer a")
    assert keyring.holder("Bearer admin").manage
