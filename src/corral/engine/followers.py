"""Who reads functions' logs live. The keeper says that a log has grown only while somebody does."""

import asyncio
import contextlib
from collections.abc import Iterator

from corral import link
from corral.engine.links import Links
from corral.model import FunctionKey


class Followers:
    def __init__(self, links: Links) -> None:
        self._links = links
        self._by_function: dict[FunctionKey, list[asyncio.Event]] = {}

    @contextlib.contextmanager
    def follow(self, key: FunctionKey) -> Iterator[asyncio.Event]:
        """An event that is set whenever the function's log has grown; the reader clears it."""
        grown = asyncio.Event()
        followers = self._by_function.setdefault(key, [])
        followers.append(grown)
        if len(followers) == 1:
            self._links.tell_keeper(link.Follow(key, True))
        try:
            yield grown
        finally:
            followers.remove(grown)
            if not followers:
                del self._by_function[key]
                self._links.tell_keeper(link.Follow(key, False))

    def keeper_up(self) -> None:
        """A new keeper knows of nobody."""
        for key in self._by_function:
            self._links.tell_keeper(link.Follow(key, True))

    def grew(self, message: link.LogGrew) -> None:
        for grown in self._by_function.get(message.key, ()):
            grown.set()
