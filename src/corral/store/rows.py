"""Rows of the schema <-> the nouns."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import msgspec

from corral.model import FunctionSpec, Revision, ScalingValue, Share, function_key, revision_id
from corral.ports import StoredFunction, StoredToken, Tuning

LOAD_FUNCTIONS = "SELECT * FROM functions ORDER BY namespace, name"
LOAD_REVISIONS = "SELECT * FROM revisions ORDER BY namespace, name, number"
PUT_FUNCTION = """
INSERT INTO functions (namespace, name, uid, traffic, updated_at, tuning)
VALUES (:namespace, :name, :uid, :traffic, :updated_at, :tuning)
ON CONFLICT (namespace, name) DO UPDATE SET
    uid = excluded.uid, traffic = excluded.traffic, updated_at = excluded.updated_at, tuning = excluded.tuning
"""
# Of a revision only what its code has shown can change; what stands as it is is not written again.
PUT_REVISION = """
INSERT INTO revisions (namespace, name, number, package, layer, spec, style, is_async, created_at, proven)
VALUES (:namespace, :name, :number, :package, :layer, :spec, :style, :is_async, :created_at, :proven)
ON CONFLICT (namespace, name, number) DO UPDATE SET
    style = excluded.style, is_async = excluded.is_async, proven = excluded.proven
WHERE style IS NOT excluded.style OR is_async IS NOT excluded.is_async OR proven IS NOT excluded.proven
"""
KEEP_REVISIONS = """
DELETE FROM revisions WHERE namespace = :namespace AND name = :name
    AND number NOT IN (SELECT value FROM json_each(:numbers))
"""
DELETE_FUNCTION = "DELETE FROM functions WHERE namespace = ? AND name = ?"
DELETE_REVISIONS = "DELETE FROM revisions WHERE namespace = ? AND name = ?"
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
    newest = stored.revisions[-1]
    return {
        "namespace": newest.namespace,
        "name": newest.name,
        "uid": newest.uid,
        "traffic": msgspec.json.encode(stored.traffic).decode(),
        "updated_at": stored.updated_at,
        "tuning": msgspec.json.encode(stored.tuning).decode(),
        "numbers": msgspec.json.encode([revision.number for revision in stored.revisions]).decode(),
    }


def revision_rows(stored: StoredFunction) -> Iterator[dict[str, Any]]:
    place_by_number = {number: place for place, number in enumerate(stored.proven)}
    for revision in stored.revisions:
        yield {
            "namespace": revision.namespace,
            "name": revision.name,
            "number": revision.number,
            "package": revision.package,
            "layer": revision.layer,
            "spec": msgspec.json.encode(revision.spec).decode(),
            "style": revision.style,
            "is_async": revision.is_async,
            "created_at": revision.created_at,
            "proven": place_by_number.get(revision.number),
        }


def stored_functions(functions: Iterable[sqlite3.Row], revisions: Iterable[sqlite3.Row]) -> Iterator[StoredFunction]:
    """Both in order of namespace and name. Raises Unreadable."""
    rest = iter(revisions)
    row = next(rest, None)
    for function in functions:
        own = []
        while row is not None and (row["namespace"], row["name"]) <= (function["namespace"], function["name"]):
            if row["namespace"] == function["namespace"] and row["name"] == function["name"]:
                own.append(row)
            row = next(rest, None)
        yield _stored_function(function, own)


def _stored_function(row: sqlite3.Row, revisions: Sequence[sqlite3.Row]) -> StoredFunction:
    key = function_key(row["namespace"], row["name"])
    with _naming(f"function {key}"):
        places = [(each["proven"], each["number"]) for each in revisions if each["proven"] is not None]
        stored = StoredFunction(
            revisions=tuple(_revision(row, each) for each in revisions),
            traffic=msgspec.json.decode(row["traffic"], type=tuple[Share, ...]),
            proven=tuple(number for _, number in sorted(places)),
            updated_at=row["updated_at"],
            tuning=msgspec.json.decode(row["tuning"], type=Tuning),
        )
        missing = {share.number for share in stored.traffic} - {each.number for each in stored.revisions}
        if missing or not stored.traffic:
            raise TypeError(f"its calls go to {sorted(missing) or 'no revision'}, which is not there")
        return stored


def _revision(function: sqlite3.Row, row: sqlite3.Row) -> Revision:
    fields = {
        "id": revision_id(function_key(function["namespace"], function["name"]), row["number"]),
        # Of the function's row, so that its revisions share them: there may be a hundred thousand.
        "namespace": function["namespace"],
        "name": function["name"],
        "number": row["number"],
        "package": row["package"],
        "layer": row["layer"],
        "uid": function["uid"],
        "spec": _spec(row["spec"]),
        "style": row["style"],
        "is_async": bool(row["is_async"]),
        "created_at": row["created_at"],
    }
    return msgspec.convert(fields, Revision)


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
