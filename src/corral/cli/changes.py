"""What a new revision loses or changes against the one before it. A deployment says everything anew: what it leaves
out is back at its default, and that should not happen unseen."""

from collections.abc import Iterator, Mapping
from typing import Any

from corral.package.manifest import KEY_BY_FIELD

SCALING = ("scaling", "min", "max", "initial", "idle_s")
TIMES = ("timeout_s", "hold_s", "idle_s")


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A sentence for each setting. Both are specs as the API shows them, with the values of `env`. New variables are
    no loss, so nothing is said of them."""
    return [line for field in after for line in _of_field(field, before.get(field), after[field])]


def left_open(function: Mapping[str, Any]) -> list[str]:
    """Of a function whose new revision is private: a sentence for each other one that anybody may call."""
    specs = function.get("specs") or {}
    if not function["spec"]["private"]:
        return []
    return [
        f"revision {share['number']} stays open: {_reached(function['name'], share)}"
        for share in function["traffic"]
        if share["number"] != function["number"] and not specs[str(share["number"])]["private"]
    ]


def _reached(name: str, share: Mapping[str, Any]) -> str:
    if share["percent"]:
        return f"{share['percent']} % of the calls go to it"
    return "whoever reaches the port may call " + ", ".join(f"{name}@{tag}" for tag in share["tags"])


def differences(foremost: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """How a revision differs from the one with most calls, in a few words for each setting. The scaling does not
    count: it is the function's."""
    found: list[str] = []
    for field in other:
        if other[field] == foremost.get(field) or field in SCALING:
            continue
        if field == "env":
            found += _other_environment(foremost.get("env") or {}, other["env"])
        elif field == "private":
            found.append("private" if other[field] else "not private")
        else:
            found.append(f"{KEY_BY_FIELD.get(field, field)} {_shown(field, other[field])}")
    return found


def _other_environment(foremost: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*foremost, *other}):
        if name not in other:
            yield f"no env {name}"
        elif name not in foremost:
            yield f"env {name}"
        elif foremost[name] != other[name]:
            yield f"another value of env {name}"


def _of_field(field: str, old: Any, new: Any) -> Iterator[str]:
    if field == "env":
        yield from _of_environment(old or {}, new)
    elif old == new:
        return
    elif field == "private":
        yield "now private: calls need a token" if new else "no longer private: whoever reaches the port may call it"
    else:
        yield f"{KEY_BY_FIELD.get(field, field)}: {_shown(field, old)}, now {_shown(field, new)}"


def _of_environment(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name, value in old.items():
        if name not in new:
            yield f"env {name} is gone"
        elif value != new[name]:
            yield f"env {name} has another value"


def _shown(field: str, value: Any) -> str:
    if value is None:
        return "not set"
    if field == "scaling":
        return ",".join(f"{key}={each}" for key, each in value.items()) or "as the namespace has it"
    return f"{value:g} s" if field in TIMES else str(value)
