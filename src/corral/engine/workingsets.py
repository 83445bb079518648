"""What instances were seen to use, remembered for the next engine: it admits by that from its first start on."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress

from corral.errors import StoreFailed
from corral.model import RevisionId
from corral.ports import Store

WRITE_EVERY_S = 5.0
"""Between two writes: behind the calls, and few. A crash loses what the next start shows again."""


class WorkingSets:
    """`run` writes what `learned` was told; it ends only by cancellation."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._learned: dict[RevisionId, int] = {}
        self._has_work = asyncio.Event()

    async def load(self, deployed: Collection[RevisionId]) -> Mapping[RevisionId, int]:
        """Those of deployed revisions, in MiB; what is stored of others is removed. Raises StoreFailed."""
        stored = await self._store.load_working_sets()
        gone = [revision for revision in stored if revision not in deployed]
        if gone:
            await self._store.drop_working_sets(gone)
        return {revision: mib for revision, mib in stored.items() if revision in deployed}

    def learned(self, revision: RevisionId, memory_mib: int) -> None:
        self._learned[revision] = memory_mib
        self._has_work.set()

    async def run(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            learned, self._learned = self._learned, {}
            with suppress(StoreFailed):
                await self._store.put_working_sets(learned)
            await asyncio.sleep(WRITE_EVERY_S)
