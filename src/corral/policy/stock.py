"""The part of the Reserve seam that belongs to no function yet: instances started before anybody knows for what
(OpenWhisk's stem cells, Fission's generic pools). A start that takes one only has to load its code.

One Stock serves all functions of a rule on a host. Whoever holds the instances tells it what becomes of them, asks
`decide` after each word and at `next_at`, and makes or ends as many as the answer lacks or has too many."""

import random
from collections.abc import Mapping
from typing import Protocol

import msgspec

from corral.policy.settings import Settings


class Kind(msgspec.Struct, frozen=True, order=True):
    """What a start asks for, and what an unbound instance was made as."""

    runtime: str
    memory_mib: int
    """The limit that it runs under."""


class StockTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a stock is made with."""

    rng: random.Random
    """Seeded, for rules that draw."""
    runtimes: tuple[str, ...] = ("python3",)
    """Those that functions are deployed with."""
    settings: Settings | None = None
    """Of the rule's own type, that all functions on the host have; None: they differ, and its defaults count."""


class Supply(msgspec.Struct, frozen=True):
    wanted: Mapping[Kind, int]
    """Unbound instances that should stand, those being made included; of a kind that is not named: none. Where there
    are more, the oldest is ended first, and the stock counts it as gone."""
    next_at: float | None
    """When to ask again though nothing happened; None: not before something does."""


class Stock(Protocol):
    """Every method is O(kinds) at worst. `now` never goes back."""

    def take(self, kind: Kind, now: float) -> Kind | None:
        """A start of this kind begins: the kind of the unbound instance it uses, the oldest that stands of it; None:
        none fits, and it begins from nothing."""
        ...

    def made(self, kind: Kind, now: float) -> None:
        """One of those wanted stands, and can be taken."""
        ...

    def lost(self, kind: Kind, now: float) -> None:
        """The oldest one that stands ended by itself."""
        ...

    def decide(self, now: float) -> Supply: ...
