"""Several functions' scaling set over the API: of all of them, or of none."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from corral.errors import CorralError, NotFound

Manage = Callable[[str, str, Any], Any]
"""(method, path, value) -> the answer. Raises the fault that the server names."""


class Change(msgspec.Struct, frozen=True):
    path: str
    wanted: Mapping[str, Any]
    before: Mapping[str, Any]
    """What sets it back: the same keys, as they were set live; None: as deployed."""


def apply(manage: Manage, changes: Sequence[Change]) -> int:
    """How many were set: a function that was deleted meanwhile is left out. When one fails, those set before it are set
    back, and the fault says so."""
    done: list[Change] = []
    try:
        for change in changes:
            try:
                manage("PUT", change.path, change.wanted)
            except NotFound:
                continue
            done.append(change)
    except CorralError as fault:
        raise CorralError(f"{fault.message}; {_undone(manage, done)}") from fault
    except BaseException:  # as an interrupt from the keyboard: what was begun is taken back
        _undone(manage, done)
        raise
    return len(done)


def _undone(manage: Manage, done: Sequence[Change]) -> str:
    """What came of setting them back, as the end of a sentence."""
    stuck: list[str] = []
    for change in reversed(done):
        try:
            manage("PUT", change.path, change.before)
        except NotFound:
            continue
        except CorralError:
            stuck.append(change.path)
    if not done:
        return "nothing was set"
    if not stuck:
        many = f"{len(done)} functions set before it are as they were"
        return "1 function set before it is as it was" if len(done) == 1 else many
    return f"still set, as they could not be set back: {', '.join(stuck)}"
