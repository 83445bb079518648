"""A deployment's code proves that it loads: so many instances must say they are ready, or one says why not."""

import asyncio

from corral.errors import CorralError


class Verification:
    """Counts up to `needed`; waited for by one deployment."""

    def __init__(self, needed: int) -> None:
        self._left = needed
        self._done = asyncio.Event()
        self._fault: CorralError | None = None

    def ready(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self._done.set()

    def failed(self, fault: CorralError) -> None:
        """The first fault stands; once enough were ready, none counts."""
        if not self._done.is_set():
            self._fault = fault
            self._done.set()

    async def wait(self) -> None:
        """Raises the fault."""
        await self._done.wait()
        if self._fault is not None:
            raise self._fault
