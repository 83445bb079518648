"""One function's own zygote from the keeper's side (docs/zygote.md). It has run user code, so what it says is believed
only where the kernel confirms it, and no start depends on it: whatever it does not do is done without it."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from corral.model import InstanceId, Revision
from corral.sandbox import processes
from corral.sandbox.births import BIRTH_MAX_S, Births
from corral.sandbox.cgroups import Group, Limits
from corral.sandbox.exits import DRESS_FAILED
from corral.sandbox.slices import Slice
from corral.sandbox.slots import Slot
from corral.sandbox.spares import Spare
from corral.sandbox.words import KINDS, Improper, Said, Word, hear, open_pair, unsafe_sentence

LOAD_MAX_S = 120.0
"""A zygote that has not loaded the code by then is ended."""
SETTLE_S, SETTLE_TRIES = 0.01, 20
"""Between two looks at what is ending."""
AT_ONCE = 64
"""Packets read before others have their turn."""


class Process(NamedTuple):
    pid: int
    pidfd: int

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Household(Protocol):
    """Who is told what becomes of a zygote and its children."""

    def was_kept(self, kept: "KeptZygote") -> None: ...
    def is_gone(self, kept: "KeptZygote", why: str, is_unsafe: bool) -> None:
        """It forks no more. Every birth it owed was told as `was_not_born` before."""
        ...

    def is_empty(self, kept: "KeptZygote") -> None:
        """Nothing of it is left, its instances included."""
        ...

    def was_born(self, instance: InstanceId, pid: int, pidfd: int) -> None:
        """`pidfd` is the receiver's."""
        ...

    def was_not_born(self, instance: InstanceId) -> None: ...
    def spare_has_ended(self, instance: InstanceId) -> None:
        """The one that was to become that instance, before it did."""
        ...

    def has_no_spare(self, kept: "KeptZygote") -> None:
        """Its spare ended, or was not made in time."""
        ...

    def is_running(self, instance: InstanceId) -> bool: ...
    def known_pids(self) -> set[int]:
        """Of all instances, and of the reapers of all zygotes."""
        ...

    def has_exited(self, instance: InstanceId, status: int) -> None:
        """As the zygote says: a hint."""
        ...

    def has_exited_unseen(self, instance: InstanceId, status: int) -> None:
        """The same of one that was not told to be born."""
        ...


class KeptZygote:
    def __init__(
        self,
        name: InstanceId,
        revision: Revision,
        slot: Slot,
        around: Slice,
        limits: Limits,
        household: Household,
        is_layer: bool = False,
    ) -> None:
        """`slot` is what it lives in; ours until `is_empty`. `around` holds its group, and is to hold those of all it
        forks, each within `limits`. `is_layer`: it imports the dependencies alone, for any revision of the function
        that has the same."""
        self.slice = around
        self.is_layer = is_layer
        self.limits = limits
        self.forks_spares = not is_layer
        """Not any more once one was not made, or ended before its order came."""
        self.spare: Spare | None = None
        self.settled = asyncio.Event()
        """It has loaded, or is gone."""
        self.name = name
        self.revision = revision
        self.slot = slot
        self.is_loaded = False
        self.load_s = 0.0
        """What loading took."""
        self.is_gone = False
        self._has_borne = False
        self.failed_at_once = False
        """It ended with a child to fork, and has never forked one."""
        self._household = household
        self._loop = asyncio.get_running_loop()
        self._ours, self._theirs = open_pair()
        self._reaper: Process | None = None
        self._zygote: Process | None = None
        self._why = ""
        self._is_unsafe = False
        self._unsafe: dict[int, int] = {}
        self._serials = itertools.count(1)
        self._births = Births(self._is_late)
        self._lost: Spare | None = None
        """The one that was given up, until it says that that has ended."""
        self._children: dict[int, InstanceId] = {}
        """Serial -> instance, of those born whose end it has not told."""
        self._late = self._loop.call_later(LOAD_MAX_S, self.end, f"it has not loaded its code within {LOAD_MAX_S:g} s")
        self._loop.add_reader(self._ours, self._read)

    @property
    def reaper_pid(self) -> int | None:
        """None: it is still being made."""
        return None if self._reaper is None else self._reaper.pid

    @property
    def uncollected(self) -> int:
        """Instances, and a spare, that have ended, of which it has not said so. Its reaper is not late."""
        if self.is_gone:
            return 0
        ended = sum(not self._household.is_running(instance) for instance in self._children.values())
        return ended + (self._lost is not None)

    def take_end(self) -> int:
        """The other end of its socket, now the caller's."""
        return self._theirs.detach()

    def used_mib(self) -> float:
        """With its spare."""
        spare, used_mib = self.spare, 0.0
        with contextlib.suppress(OSError):
            used_mib = self.slot.group.used()[1]
            if spare is not None:
                used_mib += spare.group.used()[1]
        return used_mib

    # -- what it is told --------------------------------------------------------------------------------------

    def start(self, instance: InstanceId, slot: Slot, fds: Mapping[str, int], stamps: Mapping[str, float]) -> None:
        """Ask for an instance in `slot`. The descriptors stay ours. Raises OSError: it does not listen."""
        serial = next(self._serials)
        packet = msgspec.json.encode({"op": "start", "serial": serial, "fds": list(fds), "stamps": stamps})
        socket.send_fds(self._ours, [packet], list(fds.values()))
        self._births.expect(serial, instance, slot, is_of_spare=False)

    def start_spare(
        self, instance: InstanceId, slot: Slot, fds: Mapping[str, int], stamps: Mapping[str, float]
    ) -> None:
        """Have its spare become an instance; `slot` has its group. The descriptors stay ours. Raises OSError: it is
        dead."""
        spare = self.spare
        assert spare is not None
        spare.order(fds, stamps)
        self.spare = None
        spare.close()
        self._births.expect(spare.serial, instance, slot, is_of_spare=True)

    def _is_late(self) -> None:
        self.distrust(f"it forked no instance within {BIRTH_MAX_S:g} s")

    def fork_spare(self, group: Group, fds: Mapping[str, int]) -> None:
        """Have it fork a child that waits in `group`, which is ours from now on. The descriptors stay the caller's.
        Raises OSError: it does not listen, and the group stays the caller's."""
        spare = Spare(next(self._serials), group)
        theirs = spare.take_end()
        packet = {"op": "spare", "serial": spare.serial, "fds": [*fds, "orders"]}
        try:
            socket.send_fds(self._ours, [msgspec.json.encode(packet)], [*fds.values(), theirs])
        except OSError:
            spare.close()
            raise
        finally:
            os.close(theirs)
        self.spare = spare
        self._loop.call_later(BIRTH_MAX_S, self._look_for, spare)

    def _look_for(self, spare: Spare) -> None:
        if self.spare is spare and not spare.is_waiting:
            self._household.has_no_spare(self)

    def give_up_spare(self) -> Spare | None:
        """The caller's from now on, to be ended; and the last: whatever ended it would end the next one."""
        spare, self.spare = self.spare, None
        if spare is not None:
            self._lost, self.forks_spares = spare, False
        return spare

    def raise_kept(self, fds: Mapping[str, int]) -> None:
        """Have it fork a zygote that loads the code of a revision; it has imported the dependencies. The descriptors
        stay ours. Raises OSError: it does not listen. Else that zygote speaks for itself, or its socket is closed."""
        socket.send_fds(self._ours, [msgspec.json.encode({"op": "raise", "fds": list(fds)})], list(fds.values()))

    def end(self, why: str) -> None:
        """Its instances go on."""
        self._why = self._why or why
        if self._zygote is not None:
            self._zygote.kill()
        if self._reaper is None or self._zygote is None:
            # Not begun, or nobody knows which of them is it: there are no instances yet.
            self.slot.group.kill()
        if self._reaper is None:
            self._gone()

    def distrust(self, why: str) -> None:
        """It does not do what ours do: user code is in its way, and would be next time."""
        self._is_unsafe = True
        self.end(why)
        self._kill_rest()
        self.end_strangers()

    def end_strangers(self) -> None:
        """What it forked besides instances, in whatever group that is."""
        if self._reaper is not None:
            for pid in processes.strangers(self._reaper.pid, self._household.known_pids()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def was_not_raised(self, why: str) -> None:
        """The process that was to make its sandbox failed."""
        if self._reaper is None and not self.is_gone:
            self._why = self._why or why
            self._gone()

    # -- what it says -----------------------------------------------------------------------------------------

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            try:
                said = hear(self._ours)
                if said is None:
                    # It ended; or it lives on without hearing us, of no use.
                    self._loop.remove_reader(self._ours)
                    self.end("it ended by itself")
                    return
                self._take(said)
            except BlockingIOError:
                return
            except Improper as exc:
                self._loop.remove_reader(self._ours)
                self.distrust(exc.message)
                return

    def _take(self, said: Said) -> None:
        match said.word:
            case Word.REAPER if self._reaper is None:
                self._reaper = self._open(said.pid)
                self._loop.add_reader(self._reaper.pidfd, self._is_empty)
            case Word.LOADED if self._reaper is not None and self._zygote is None:
                self._has_loaded(said)
            case Word.UNSAFE if not self.is_loaded and said.serial < len(KINDS) and said.serial not in self._unsafe:
                self._unsafe[said.serial] = said.number
            case Word.FAILED if not self.is_loaded:
                self.end("its code could not be loaded")
            case Word.BORN if said.serial in self._births:
                self._was_born(said)
            case Word.EXITED if said.serial in self._children and said.number < 0x10000:
                self._household.has_exited(self._children.pop(said.serial), said.number)
            case Word.WAITING if (
                self.spare is not None and said.serial == self.spare.serial and not self.spare.is_waiting
            ):
                self.spare.is_waiting = self._has_borne = True
            case Word.EXITED | Word.REFUSED if self.spare is not None and said.serial == self.spare.serial:
                self._household.has_no_spare(self)
                self._lost = None
            case Word.WAITING if (
                self._lost is not None and said.serial == self._lost.serial and not self._lost.is_waiting
            ):
                # It had not heard that it was given up.
                self._lost.is_waiting = True
            case Word.EXITED | Word.REFUSED if self._lost is not None and said.serial == self._lost.serial:
                self._lost = None
            case Word.EXITED if said.serial in self._births and said.number < 0x10000:
                self._has_ended_early(said)
            case Word.REFUSED if said.serial in self._births:
                self._was_refused(said.serial)
            case _:
                raise Improper(f"it said {said.word.name} out of turn")

    def _open(self, pid: int) -> Process:
        """Raises Improper unless the process is in our group: opened first, so that it can't be another one by then."""
        try:
            process = Process(pid, os.pidfd_open(pid))
        except OSError:
            raise Improper(f"it spoke of process {pid}, which is not there") from None
        if not self._is_in(process, self.slot):
            os.close(process.pidfd)
            raise Improper(f"it spoke of process {pid}, which is not its own")
        return process

    def _is_in(self, process: Process, slot: Slot) -> bool:
        try:
            return slot.group.holds(process.pid) and _is_alive(process)
        except OSError:
            return False

    def _has_loaded(self, said: Said) -> None:
        self._zygote = self._open(said.pid)
        self._loop.add_reader(self._zygote.pidfd, self._zygote_ended)
        self._count_threads(said.number / 1e6, SETTLE_TRIES)

    def _count_threads(self, load_s: float, tries: int) -> None:
        """Its own count may be a lie, or its threads not Python's: the kernel has one, too. The process that made the
        sandbox may still be on its way out."""
        assert self._reaper is not None and self._zygote is not None
        if self.is_gone:
            return
        strangers = set(self.slot.group.threads()) - {self._reaper.pid, self._zygote.pid}
        if strangers and tries and not self._unsafe:
            self._loop.call_later(SETTLE_S, self._count_threads, load_s, tries - 1)
            return
        if strangers and not self._unsafe:
            self._unsafe[0] = len(strangers)
        if self._unsafe or self._why:
            # No instance is there yet, so all in it goes.
            self.slot.group.kill()
            return
        self._late.cancel()
        self.is_loaded, self.load_s = True, load_s
        self.settled.set()
        self._household.was_kept(self)

    def _was_born(self, said: Said) -> None:
        birth = self._births[said.serial]
        try:
            process = Process(said.pid, os.pidfd_open(said.pid))
        except OSError:
            # It ended at once: the zygote tells, or the time is up.
            birth.is_quick = True
            return
        known = {each.pid for each in (self._reaper, self._zygote) if each is not None}
        if process.pid in known or not self._is_in(process, birth.slot):
            os.close(process.pidfd)
            if processes.is_ending(process.pid):
                birth.is_quick = True
                return
            raise Improper(f"it spoke of process {said.pid}, which is not in the groups of the instance")
        self._has_borne = True
        self._births.take(said.serial)
        self._children[said.serial] = birth.instance
        self._household.was_born(birth.instance, *process)

    def _was_refused(self, serial: int) -> None:
        birth = self._births.take(serial)
        # Its spare lives if that is a lie, and is not to come between.
        birth.slot.group.kill()
        self._household.was_not_born(birth.instance)

    def _has_ended_early(self, said: Said) -> None:
        birth = self._births.take(said.serial)
        if birth.is_quick:
            self._household.has_exited_unseen(birth.instance, said.number)
            return
        # It has not said that it was born, so it has taken no call.
        birth.slot.group.kill()
        if birth.is_of_spare:
            self.forks_spares = False
            self._household.spare_has_ended(birth.instance)
            return
        self._household.was_not_born(birth.instance)
        if said.number == DRESS_FAILED << 8:
            self.distrust("it could not make the sandbox of an instance")

    # -- its end ----------------------------------------------------------------------------------------------

    def _zygote_ended(self) -> None:
        assert self._zygote is not None
        self._loop.remove_reader(self._zygote.pidfd)
        if not self.is_gone:
            self._read()
            self._gone()

    def _is_empty(self) -> None:
        """The reaper ended, and with it all that was below it."""
        assert self._reaper is not None
        self._loop.remove_reader(self._reaper.pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._reaper.pid, os.WNOHANG)
        if not self.is_gone:
            self._read()
            self._gone()
        os.close(self._reaper.pidfd)
        if self._zygote is not None:
            self._loop.remove_reader(self._zygote.pidfd)
            os.close(self._zygote.pidfd)
        self._household.is_empty(self)

    def _gone(self) -> None:
        self.is_gone, self.is_loaded = True, False
        self.settled.set()
        self._late.cancel()
        self._loop.remove_reader(self._ours)
        self._ours.close()
        self._theirs.close()
        self._kill_rest()
        births = self._births.take_all()
        was_asked = bool(births) or (self.spare is not None and not self.spare.is_waiting)
        self.failed_at_once = was_asked and not self._has_borne
        for birth in births:
            # One that was forked and has not said so is not to come between.
            birth.slot.group.kill()
            self._household.was_not_born(birth.instance)
        self._household.is_gone(self, self._reason(), self._is_unsafe or bool(self._unsafe))
        if self._reaper is None:
            self._household.is_empty(self)

    def _kill_rest(self) -> None:
        """What it started besides its instances, and children not yet in their groups."""
        with contextlib.suppress(OSError):
            for pid in self.slot.group.threads():
                if pid != self.reaper_pid and pid > 0:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _reason(self) -> str:
        if self._unsafe:
            return unsafe_sentence(self._unsafe)
        with contextlib.suppress(OSError):
            if self.slot.group.toll().out_of_memory:
                return f"it used more than the function's {self.revision.spec.memory_mib} MiB"
        return self._why or "it ended by itself"


def _is_alive(process: Process) -> bool:
    try:
        signal.pidfd_send_signal(process.pidfd, 0)
    except ProcessLookupError:
        return False
    return True
