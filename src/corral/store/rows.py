"""Rows of the schema <-> the nouns."""

import sqlite3
from typing import Any

import msgspec

from corral.model import FunctionSpec, Revision, Style, function_key, revision_id
from corral.ports import StoredFunction, StoredToken

LOAD_FUNCTIONS = "SELECT * FROM functions ORDER BY namespace, name"
PUT_FUNCTION = """
INSERT INTO functions (namespace, name, number, package, uid, spec, style, is_async, created_at, updated_at)
VALUES (:namespace, :name, :number, :package, :uid, :spec, :style, :is_async, :created_at, :updated_at)
ON CONFLICT (namespace, name) DO UPDATE SET
    number = excluded.number, package = excluded.package, uid = excluded.uid, spec = excluded.spec,
    style = excluded.style, is_async = excluded.is_async, created_at = excluded.created_at,
    updated_at = excluded.updated_at
"""
DELETE_FUNCTION = "DELETE FROM functions WHERE namespace = ? AND name = ?"
NEXT_NUMBER = """
INSERT INTO numbers (key, last) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET last = last + 1 RETURNING last
"""
LOAD_TOKENS = "SELECT * FROM tokens ORDER BY created_at, digest"
PUT_TOKEN = """
INSERT OR REPLACE INTO tokens (digest, label, namespaces, manage, invoke, created_at)
VALUES (:digest, :label, :namespaces, :manage, :invoke, :created_at)
"""
DELETE_TOKEN = "DELETE FROM tokens WHERE digest = ?"


def function_row(stored: StoredFunction) -> dict[str, Any]:
    revision = stored.revision
    return {
        "namespace": revision.namespace,
        "name": revision.name,
        "number": revision.number,
        "package": revision.package,
        "uid": revision.uid,
        "spec": msgspec.json.encode(revision.spec).decode(),
        "style": revision.style,
        "is_async": revision.is_async,
        "created_at": revision.created_at,
        "updated_at": stored.updated_at,
    }


def stored_function(row: sqlite3.Row) -> StoredFunction:
    """Raises msgspec.ValidationError when the row holds what this version does not know."""
    key = function_key(row["namespace"], row["name"])
    revision = Revision(
        id=revision_id(key, row["number"]),
        namespace=row["namespace"],
        name=row["name"],
        number=row["number"],
        package=row["package"],
        uid=row["uid"],
        spec=msgspec.json.decode(row["spec"], type=FunctionSpec),
        style=msgspec.convert(row["style"], Style | None),
        is_async=bool(row["is_async"]),
        created_at=row["created_at"],
    )
    return StoredFunction(revision=revision, updated_at=row["updated_at"])


def token_row(token: StoredToken) -> dict[str, Any]:
    return {
        "digest": token.digest,
        "label": token.label,
        "namespaces": msgspec.json.encode(list(token.namespaces)).decode(),
        "manage": token.manage,
        "invoke": token.invoke,
        "created_at": token.created_at,
    }


def stored_token(row: sqlite3.Row) -> StoredToken:
    return StoredToken(
        digest=row["digest"],
        label=row["label"],
        namespaces=msgspec.json.decode(row["namespaces"], type=list[str]),
        manage=bool(row["manage"]),
        invoke=bool(row["invoke"]),
        created_at=row["created_at"],
    )
