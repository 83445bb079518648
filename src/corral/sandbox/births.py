"""Starts that a function's own zygote was asked for and has not answered."""

import asyncio
from collections.abc import Callable

from corral.model import InstanceId
from corral.sandbox.slots import Slot

BIRTH_MAX_S = 1.0
"""A zygote that has not forked by then is ended, and the start goes another way. It takes 3 ms."""


class Birth:
    def __init__(self, instance: InstanceId, slot: Slot, is_of_spare: bool, late: asyncio.TimerHandle) -> None:
        self.instance = instance
        self.slot = slot
        self.is_of_spare = is_of_spare
        self.late = late
        self.is_quick = False
        """It was told of, and on its way out by then: a call waited for it, and may have ended it."""


class Births:
    def __init__(self, is_late: Callable[[], None]) -> None:
        """`is_late` is called when one was not taken in time."""
        self._is_late = is_late
        self._by_serial: dict[int, Birth] = {}

    def expect(self, serial: int, instance: InstanceId, slot: Slot, is_of_spare: bool) -> None:
        late = asyncio.get_running_loop().call_later(BIRTH_MAX_S, self._is_late)
        self._by_serial[serial] = Birth(instance, slot, is_of_spare, late)

    def __contains__(self, serial: int) -> bool:
        return serial in self._by_serial

    def __getitem__(self, serial: int) -> Birth:
        return self._by_serial[serial]

    def take(self, serial: int) -> Birth:
        """It is answered, or will not be."""
        birth = self._by_serial.pop(serial)
        birth.late.cancel()
        return birth

    def take_all(self) -> list[Birth]:
        return [self.take(serial) for serial in list(self._by_serial)]
