"""A deployment's code proves that it loads: so many instances must say they are ready, or one says why not."""

import asyncio

from corral.errors import CorralError


class Verification:
    """Counts up to `needed`, from those there are; waited for by one change. The first `least` of them are its proof,
    those beyond are there so that nothing waits when calls come."""

    def __init__(self, needed: int, least: int, ready: int = 0) -> None:
        self._left = needed - ready
        self._beyond = needed - least
        self._done = asyncio.Event()
        if self._left <= 0:
            self._done.set()
        self._fault: CorralError | None = None

    @property
    def suffices(self) -> bool:
        """As many as prove it are ready."""
        return self._left <= self._beyond

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
