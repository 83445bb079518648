"""The journal: every event of a Roster, with the actions it led to. Replayed, it leads to the same ones."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from corral.errors import Invalid
from corral.roster.actions import Action, Block
from corral.roster.frozen import freeze, thaw
from corral.roster.roster import Roster

UNSAID = "not recorded"
"""In place of why a start failed: a function's own words, which may hold anything."""


class Entry(msgspec.Struct, frozen=True):
    """One event, frozen."""

    event: str
    """The Roster's method."""
    args: Any
    named: Any
    """Its arguments by name, among them `now` where that is given so."""
    actions: Any
    """What it answered, in order."""


def _is_event(name: str, member: object) -> bool:
    return not name.startswith("_") and inspect.isfunction(member) and "now" in inspect.signature(member).parameters


EVENTS = tuple(name for name, member in vars(Roster).items() if _is_event(name, member))
"""What has a moment is an event; all else only looks."""


class Journal:
    """While it is open, `tell` gets each event of `plan`. While it is not, an event costs what it always did: the
    Roster's own methods stand where the recording ones stood."""

    def __init__(self, plan: Roster, tell: Callable[[Entry], None]) -> None:
        self._plan, self._tell = plan, tell

    def open(self) -> None:
        for name in EVENTS:
            vars(self._plan)[name] = self._told(name, getattr(self._plan, name))

    def close(self) -> None:
        for name in EVENTS:
            vars(self._plan).pop(name, None)

    def _told(self, name: str, event: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        def told(*args: Any, **named: Any) -> Sequence[Any]:
            # Before it happens: what it was told may be a mapping that goes on changing.
            said = _without_words(name, args, named)
            actions = event(*args, **named)
            self._tell(Entry(name, freeze(said[0]), freeze(said[1]), freeze(list(_unsaid(actions)))))
            return actions

        return told


def _without_words(name: str, args: Sequence[Any], named: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    if name != "failed":
        return list(args), dict(named)
    at = list(inspect.signature(Roster.failed).parameters).index("error") - 1
    said = [UNSAID if place == at else each for place, each in enumerate(args)]
    return said, {key: UNSAID if key == "error" else each for key, each in named.items()}


def _unsaid(actions: Sequence[Action]) -> Iterator[Action]:
    for action in actions:
        is_said = isinstance(action, Block) and action.error
        yield msgspec.structs.replace(action, error=UNSAID) if is_said else action


def state_of(plan: Roster) -> Any:
    """All it knows, frozen: a replay begins with it. Raises CannotFreeze. Not while a Journal is open."""
    return freeze(plan, shares=True)


def roster_of(state: Any) -> Roster:
    """As it was. Raises Invalid."""
    plan = thaw(state)
    if not isinstance(plan, Roster):
        raise Invalid(f"the state is a {type(plan).__name__}, must be a Roster")
    return plan


def replay(plan: Roster, entry: Entry) -> Any:
    """What the event leads to now, frozen. Raises Invalid when there is no such event."""
    if entry.event not in EVENTS:
        raise Invalid(f"event {entry.event[:80]!r} is unknown, must be one of {', '.join(EVENTS)}")
    args, named = thaw(entry.args), thaw(entry.named)
    if not isinstance(args, Sequence) or not isinstance(named, Mapping):
        raise Invalid(f"event {entry.event} has no arguments")
    try:
        return freeze(list(getattr(plan, entry.event)(*args, **named)))
    except (TypeError, AttributeError, KeyError) as exc:
        raise Invalid(f"event {entry.event} cannot be replayed by this version: {exc}") from exc
