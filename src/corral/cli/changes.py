"""What a new revision loses or changes against the one before it. A deployment says everything anew: what it leaves
out is back at its default, and that should not happen unseen."""

from collections.abc import Iterator, Mapping
from typing import Any

from corral.package.manifest import KEY_BY_FIELD

TIMES = ("timeout_s", "hold_s", "idle_s")


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A sentence for each setting. Both are specs as the API shows them, with the values of `env`. New variables are
    no loss, so nothing is said of them."""
    return [line for field in after for line in _of_field(field, before.get(field), after[field])]


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
