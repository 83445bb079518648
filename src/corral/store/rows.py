"""Rows of the schema <-> the nouns."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import msgspec

from corral.model import FunctionSpec, ScalingValue, function_key, revision_id
from corral.ports import StoredFunction, StoredToken

LOAD_FUNCTIONS = "SELECT * FROM functions ORDER BY namespace, name"
PUT_FUNCTION = """
INSERT INTO functions (namespace, name, number, package, uid, spec, style, is_async, created_at, updated_at,
    tuning)
VALUES (:namespace, :name, :number, :package, :uid, :spec, :style, :is_async, :created_at, :updated_at, :tuning)
ON CONFLICT (namespace, name) DO UPDATE SET
    number = excluded.number, package = excluded.package, uid = excluded.uid, spec = excluded.spec,
    style = excluded.style, is_async = excluded.is_async, created_at = excluded.created_at,
    updated_at = excluded.updated_at, tuning = excluded.tuning
"""
DELETE_FUNCTION = "DELETE FROM functions WHERE namespace = ? AND name = ?"
NEXT_NUMBER = """
INSERT INTO numbers (key, last) VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET last = last + 1 RETURNING last
"""
LOAD_DEFAULTS = "SELECT * FROM scaling_defaults"
PUT_DEFAULT = "INSERT OR REPLACE INTO scaling_defaults (namespace, scaling) VALUES (?, ?)"
DELETE_DEFAULT = "DELETE FROM scaling_defaults WHERE namespace = ?"
LOAD_TOKENS = "SELECT * FROM tokens ORDER BY created_at, digest"
PUT_TOKEN = """
INSERT OR REPLACE INTO tokens (digest, label, namespaces, manage, invoke, created_at)
VALUES (:digest, :label, :namespaces, :manage, :invoke, :created_at)
"""
DELETE_TOKEN = "DELETE FROM tokens WHERE digest = ?"


class Unreadable(Exception):
    """A row is damaged, or in a form that this version does not know. The text names it."""


@contextmanager
def _naming(record: str) -> Iterator[None]:
    try:
        yield
    except (msgspec.MsgspecError, TypeError, UnicodeError) as exc:
        raise Unreadable(f"{record}: {exc}") from exc


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
        "tuning": msgspec.json.encode(stored.tuning).decode(),
    }


def stored_function(row: sqlite3.Row) -> StoredFunction:
    """Raises Unreadable."""
    key = function_key(row["namespace"], row["name"])
    with _naming(f"function {key}"):
        fields = {
            "id": revision_id(key, row["number"]),
            "namespace": row["namespace"],
            "name": row["name"],
            "number": row["number"],
            "package": row["package"],
            "uid": row["uid"],
            "spec": _spec(row["spec"]),
            "style": row["style"],
            "is_async": bool(row["is_async"]),
            "created_at": row["created_at"],
        }
        tuning = msgspec.json.decode(row["tuning"])
        return msgspec.convert({"revision": fields, "updated_at": row["updated_at"], "tuning": tuning}, StoredFunction)


def default_scaling(row: sqlite3.Row) -> tuple[str, dict[str, ScalingValue]]:
    """(namespace, its scaling). Raises Unreadable."""
    with _naming(f"namespace {row['namespace']}"):
        return row["namespace"], msgspec.json.decode(row["scaling"], type=dict[str, ScalingValue])


@lru_cache(maxsize=256)
def _spec(stored: str) -> FunctionSpec:
    """Fields that a newer patch version added are left out; what people send may hold none that is not known. Equal
    ones are one object: of thousands of functions most have the same settings."""
    found = msgspec.json.decode(stored, type=dict[str, Any])
    known = {name: value for name, value in found.items() if name in FunctionSpec.__struct_fields__}
    return msgspec.convert(known, FunctionSpec)


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
    """Raises Unreadable."""
    with _naming(f"token {row['digest']}"):
        return StoredToken(
            digest=row["digest"],
            label=row["label"],
            namespaces=msgspec.json.decode(row["namespaces"], type=list[str]),
            manage=bool(row["manage"]),
            invoke=bool(row["invoke"]),
            created_at=row["created_at"],
        )
