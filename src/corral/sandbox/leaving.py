"""Groups whose processes have ended: the kernel lets go of them some milliseconds later."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from corral.sandbox.cgroups import Group

REMOVE_AGAIN_S = 0.02
REMOVE_AT_ONCE = 20
"""Groups, some 5 ms: making a slot waits for it in the same thread."""


class Leaving:
    def __init__(self, thread: Executor, removed: Callable[[], None]) -> None:
        """Groups are removed in `thread`; `removed` is told on the loop after each round."""
        self._thread, self._removed = thread, removed
        self._groups: list[Group] = []
        self._removing: asyncio.Task[None] | None = None

    def add(self, *groups: Group) -> None:
        """Remove groups, in the background."""
        self._groups += groups
        if self._removing is None or self._removing.done():
            self._removing = asyncio.create_task(self._remove(), name="remove groups")

    async def _remove(self) -> None:
        loop = asyncio.get_running_loop()
        while self._groups:
            # Asked at once it would refuse.
            await asyncio.sleep(REMOVE_AGAIN_S)
            groups, self._groups = self._groups, []
            for start in range(0, len(groups), REMOVE_AT_ONCE):
                some = groups[start : start + REMOVE_AT_ONCE]
                self._groups += await loop.run_in_executor(self._thread, _removed, some)
            self._removed()

    async def all_gone(self) -> None:
        if self._removing is not None:
            await self._removing


def _removed(groups: Sequence[Group]) -> list[Group]:
    """Those the kernel has not let go of yet. What still runs in them has no business there."""
    left = [group for group in groups if not group.remove()]
    for group in left:
        group.kill()
    return left
