"""Instances as forks of zygotes: what tiers T0 and T1 have in common. A tier says how its instances are kept apart."""

import asyncio
import contextlib
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec

from corral.config import Boot
from corral.errors import SandboxFailed
from corral.model import ExitCause, FunctionSpec, InstanceId, Revision, RevisionId, SlotId
from corral.ports import Exit, Keep, Launch, SandboxEvents
from corral.sandbox import processes, syscalls
from corral.sandbox.cgroups import Group, Limits, NoGroup, Toll
from corral.sandbox.exits import DRESS_FAILED, judge
from corral.sandbox.interpreters import DEFAULT, find_interpreter
from corral.sandbox.keeping import Keeping
from corral.sandbox.kept import KeptZygote
from corral.sandbox.leaving import Leaving
from corral.sandbox.parking import Parked
from corral.sandbox.parts import Parts
from corral.sandbox.running import Running
from corral.sandbox.slots import Slot, close_all
from corral.sandbox.spares import Spares
from corral.sandbox.tier import Tier
from corral.sandbox.weights import Weighing, Weights
from corral.sandbox.zygotes import Zygote

QUICK_S = 1.0
"""A zygote that ended sooner is started again only when it is needed."""
CLOSE_MAX_S = 0.8
"""For all instances to end. The parent gives the keeper 1.2 s, and groups are removed after it."""
HINT_MAX_S = 0.1
"""For the status of an instance that its function's own zygote has to collect."""
SWEEP_AFTER_S = 0.05
NOTHING = Toll()


class ForkingSandbox:
    """Implements ports.Sandbox. Everything runs on the loop but the making of slots, which has a thread."""

    def __init__(self, tier: Tier, pids_max: int, mark: str, events: SandboxEvents, is_strict: bool = False) -> None:
        """`mark` stands in the environment of all our processes, so that the next keeper finds what we leave.
        `is_strict`: no revision gets a zygote of its own."""
        self.tier = tier.name
        self._tier = tier
        self._pids_max = pids_max
        self._mark = mark
        self._events = events
        self._slots: dict[SlotId, Slot] = {}
        self._weights = Weights()
        self._running: dict[InstanceId, Running] = {}
        self._bound: dict[SlotId, Running] = {}
        """Of those, the ones that were parked: their zygotes know them by their slot."""
        self._zygotes: dict[str, Zygote] = {}
        self._searches: dict[str, asyncio.Task[None]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._all_ended = asyncio.Event()
        self.runtimes: dict[str, str] = {}
        """Runtime -> interpreter version, of those that were up."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="slots")
        # Slots are made with the usual limits, so that most starts need not write any.
        spec = FunctionSpec()
        self._usual = Limits(spec.memory_mib, spec.cpu, pids_max)
        self.keeps_zygotes = tier.is_isolated and tier.groups.version != "none" and not is_strict
        self._parts = Parts(tier)
        self._leaving = Leaving(self._thread, self._groups_removed)
        self._spares = Spares(tier.open_tmp, self._thread, self._leaving.add)
        self._keeping = Keeping(tier, self._parts.of_kept, pids_max, self._thread, self, events)
        # Instances whose zygote died become our children: their ends stay visible to us.
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)

    # -- slots ------------------------------------------------------------------------------------------------

    async def prepare(self, slot: SlotId, is_bare: bool = False) -> str:
        loop = asyncio.get_running_loop()
        try:
            made = await loop.run_in_executor(self._thread, self._make_slot, slot, is_bare)
        except OSError as exc:
            raise SandboxFailed(f"slot {slot} could not be prepared: {exc}") from exc
        if self._is_closing:
            made.close()
            made.group.remove()
            raise SandboxFailed(f"slot {slot} came too late, everything ends")
        self._slots[slot] = made
        made.is_bare = is_bare
        if not is_bare:
            self._park(made)
        return made.address

    def _make_slot(self, slot: SlotId, is_bare: bool) -> Slot:
        # Zygotes of functions fork into groups in their slices.
        group = NoGroup() if is_bare else self._tier.groups.make(slot, self._usual)
        try:
            return self._tier.make_slot(slot, group)
        except OSError:
            group.remove()
            raise

    def _park(self, slot: Slot) -> None:
        """Have the default runtime's zygote fork a child into the slot. If it can't, the start will."""
        zygote = self._zygotes.get(DEFAULT)
        if zygote is None or self._is_closing:
            return
        fds: dict[str, int] = {}
        try:
            slot.parked = Parked(zygote)
            fds |= slot.lend()
            fds |= self._tier.open_tmp()
            fds["orders"] = slot.parked.take_end()
        except OSError:
            close_all(fds)
            slot.dismiss()
            return
        zygote.park(slot.id, self._tier.is_isolated, fds)

    def discard(self, slot: SlotId) -> None:
        """Give up a slot that was prepared and will not be used."""
        made = self._slots.pop(slot, None)
        if made is not None:
            made.close()
            self._leaving.add(made.group)

    def user_of(self, revision: Revision) -> int | None:
        """Whom its instances run as; None: as we do."""
        return self._tier.user_of(revision)

    # -- starting ---------------------------------------------------------------------------------------------

    def warm(self, runtime: str = DEFAULT) -> None:
        """Have the runtime's zygote ready before it is needed."""
        if runtime not in self._zygotes and runtime not in self._searches and not self._is_closing:
            self._searches[runtime] = asyncio.create_task(self._raise_zygote(runtime), name=f"zygote {runtime}")

    def start(self, launch: Launch) -> None:
        slot = self._slots.pop(launch.slot, None)
        if slot is None:
            detail = f"slot {launch.slot} is not there"
            self._events.ended(Exit(instance=launch.instance, cause=ExitCause.START_FAILED, detail=detail))
            return
        spec = launch.revision.spec
        running = Running(launch, slot, Limits(spec.memory_mib, spec.cpu, self._pids_max))
        self._running[launch.instance] = running
        kept = self._keeping.of(launch.revision.id) or self._keeping.layer_of(launch.revision)
        if kept is None or not self._start_kept(running, kept):
            self._start_plainly(running)

    def _start_plainly(self, running: Running) -> None:
        slot, runtime = running.slot, running.launch.revision.spec.runtime
        if self._is_parked_for(running) and self._bind(running):
            return
        slot.dismiss()
        zygote = self._zygotes.get(runtime)
        if zygote is None:
            self.warm(runtime)
        else:
            self._fork(running, zygote)

    def _start_kept(self, running: Running, kept: KeptZygote) -> bool:
        """By the function's own zygote, which has loaded its code, or that of its layer. False: it does not listen."""
        launch, slot = running.launch, running.slot
        slot.dismiss()
        # What it could join no other may be in.
        slot.is_bare = True
        if kept.spare is not None and kept.spare.is_waiting and self._start_spare(running, kept):
            return True
        fds: dict[str, int] = {}
        try:
            # The quota of processors takes the kernel longer than all the rest: it follows.
            limits = msgspec.structs.replace(running.limits, cpu=math.inf)
            self._house(slot, kept.slice.make(slot.id, limits))
            # Its network is the zygote's.
            fds |= slot.lend(without="netns")
            fds |= self._tier.open_tmp()
            if kept.is_layer:
                fds |= self._parts.of(running)
                os.close(fds.pop("layer_root"))
            else:
                fds["log"] = os.dup(launch.log_fd)
            kept.start(launch.instance, slot, fds, launch.stamps)
        except OSError:
            return False
        finally:
            close_all(fds)
        running.kept = kept
        self._thread.submit(_limit, slot.group, running.limits)
        self._spares.want(kept)
        return True

    def _start_spare(self, running: Running, kept: KeptZygote) -> bool:
        """By the child of the function's zygote that waits. False: it is dead, and another one does it."""
        launch, slot, spare = running.launch, running.slot, kept.spare
        assert spare is not None
        fds: dict[str, int] = {}
        try:
            fds |= slot.lend(without="netns")
            fds["log"] = os.dup(launch.log_fd)
            for name in [name for name in fds if name.startswith("tasks")]:
                os.close(fds.pop(name))
            kept.start_spare(launch.instance, slot, fds, launch.stamps)
        except OSError:
            self._spares.drop(kept)
            return False
        finally:
            close_all(fds)
        self._leaving.add(slot.settle(spare.group))
        running.kept = kept
        self._spares.want(kept)
        return True

    def _house(self, slot: Slot, group: Group) -> None:
        try:
            self._leaving.add(slot.move(group))
        except OSError:
            self._leaving.add(group)
            raise

    def _weigh_in(self, running: Running) -> None:
        """It is in the group it will stay in. One that its function's zygote forks is in a slice, which has a part of
        its own."""
        self._weigh(self._weights.add(running.launch.revision.key, running.instance, running.slot.group))

    def _weigh(self, due: Sequence[Weighing]) -> None:
        """In the background: nobody waits for a fair part."""
        if due and not self._is_closing:
            self._thread.submit(_weigh, due)

    def _is_parked_for(self, running: Running) -> bool:
        """A parked child runs the default interpreter, and is in a network namespace of its own already."""
        spec = running.launch.revision.spec
        return running.slot.parked is not None and spec.runtime == DEFAULT and spec.network != "host"

    def _bind(self, running: Running) -> bool:
        """The path of a cold start: nothing here waits, and nothing grows with the number of instances. False: the
        parked child died."""
        slot, parked = running.slot, running.slot.parked
        assert parked is not None
        fds: dict[str, int] = {}
        try:
            slot.group.limit(running.limits)
            fds |= self._parts.of(running)
            parked.order(fds)
        except ConnectionError:
            return False
        except OSError as exc:
            self._refuse(running, exc)
            return True
        finally:
            close_all(fds)
        self._weigh_in(running)
        running.zygote = parked.zygote
        self._bound[slot.id] = running
        slot.parked = None
        parked.close()
        close_all(slot.take())
        if parked.pid is not None and parked.pidfd is not None:
            self.was_started(running.instance, parked.pid, parked.pidfd)
        return True

    def _fork(self, running: Running, zygote: Zygote) -> None:
        """The start of what no parked child can become."""
        launch, slot = running.launch, running.slot
        running.zygote = zygote
        fds: dict[str, int] = {}
        try:
            if slot.is_bare:
                self._house(slot, self._tier.groups.make(f"{slot.id}-late", running.limits))
            else:
                slot.group.limit(running.limits)
            fds |= slot.take()
            if launch.revision.spec.network == "host" and "netns" in fds:
                os.close(fds.pop("netns"))
            fds |= self._tier.open_tmp()
            fds |= self._parts.of(running)
        except OSError as exc:
            close_all(fds)
            self._refuse(running, exc)
            return
        self._weigh_in(running)
        zygote.start(launch.instance, self._tier.is_isolated, fds)

    def _refuse(self, running: Running, exc: OSError) -> None:
        self._end(running, ExitCause.START_FAILED, f"a part of its sandbox was refused: {exc}")

    # -- ending -----------------------------------------------------------------------------------------------

    def stop(self, instance: InstanceId, cause: ExitCause) -> None:
        running = self._running.get(instance)
        if running is None:
            return
        running.stopped_as = running.stopped_as or cause
        if running.pidfd is not None and running.pid is not None:
            self._tier.kill(running.pid, running.pidfd)
        elif running.zygote is None and running.kept is None:
            self._end(running, cause, "ended by Corral before it was begun")
        # Else it is being forked: `was_started` kills it.

    def _pidfd_fired(self, running: Running) -> None:
        assert running.pidfd is not None
        asyncio.get_running_loop().remove_reader(running.pidfd)
        running.is_dead = True
        if running.kept is not None:
            self._await_hint(running, running.kept)
        elif running.zygote is not None and not running.zygote.is_running:
            self._collect(running)
        # Else its zygote, which is its parent, is about to tell the status.

    def _await_hint(self, running: Running, kept: KeptZygote) -> None:
        """It is the zygote's child, or the reaper's: the status is not ours to collect."""
        if running.hint is not None or running.stopped_as is not None or kept.is_gone:
            self._judge_fork(running, kept, running.hint)
        else:
            asyncio.get_running_loop().call_later(HINT_MAX_S, self._judge_unheard, running)

    def _judge_fork(self, running: Running, kept: KeptZygote, status: int | None) -> None:
        if status != DRESS_FAILED << 8 or running.stopped_as is not None:
            self._judge(running, status)
            return
        # It has taken no call yet, so another one may take its place.
        kept.distrust("it could not make the sandbox of an instance")
        if running.pidfd is not None:
            asyncio.get_running_loop().remove_reader(running.pidfd)
            os.close(running.pidfd)
        running.pid = running.pidfd = running.hint = None
        running.is_dead = False
        self.was_not_born(running.instance)

    def _judge_unheard(self, running: Running) -> None:
        if self._running.get(running.instance) is running:
            self._judge(running, None)

    def _collect(self, running: Running) -> None:
        """We are its parent: its zygote died before it."""
        assert running.pidfd is not None and running.pid is not None
        try:
            _, status = os.waitpid(running.pid, 0)
        except ChildProcessError:
            self._judge(running, None)
        else:
            self._judge(running, status)

    def _judge(self, running: Running, status: int | None) -> None:
        toll = Toll()
        with contextlib.suppress(OSError):  # a group somebody removed under us
            toll = running.slot.group.toll()
        cause, detail = judge(status, running.stopped_as, toll, running.limits)
        self._end(running, cause, detail, toll)

    def _end(self, running: Running, cause: ExitCause, detail: str, toll: Toll = NOTHING) -> None:
        del self._running[running.instance]
        self._weigh(self._weights.remove(running.launch.revision.key, running.instance))
        self._bound.pop(running.slot.id, None)
        if running.pidfd is not None:
            asyncio.get_running_loop().remove_reader(running.pidfd)
            os.close(running.pidfd)
        if running.pid is not None:
            self._tier.bury(running.pid)
        if running.pid is None or running.kept is not None:
            # A zygote that died before it could tell may have forked it; one with user code may have put more there.
            running.slot.group.kill()
        running.slot.close()
        self._leaving.add(running.slot.group)
        self._sweep_soon()
        self._events.ended(
            Exit(
                instance=running.instance,
                cause=cause,
                detail=detail,
                cpu_s=toll.cpu_s,
                memory_peak_mib=toll.memory_peak_mib,
            )
        )
        if not self._running:
            self._all_ended.set()

    def _groups_removed(self) -> None:
        if not self._is_closing:
            self._keeping.look()

    def _sweep_soon(self) -> None:
        if self._sweep is None and not self._is_closing:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_AFTER_S, self._reap_strays)

    def _reap_strays(self) -> None:
        """Children nobody knows: forked by a zygote that died, or gone from their instance (T0)."""
        self._sweep = None
        known = {zygote.pid for zygote in self._zygotes.values()} | self.known_pids()
        # A search for interpreters runs some, and a zygote that is being made is one: children that nobody here knows.
        if self._searches or self._keeping.is_making or not processes.reap_strays(known, self._mark):
            self._sweep_soon()

    # -- zygotes ----------------------------------------------------------------------------------------------

    async def _raise_zygote(self, runtime: str) -> None:
        try:
            interpreter = await asyncio.to_thread(find_interpreter, runtime)
            zygote = Zygote(
                runtime, partial(self._tier.zygote_command, interpreter), {processes.MARK: self._mark}, self
            )
        except (SandboxFailed, OSError) as exc:
            self._refuse_waiting(runtime, str(exc))
            return
        finally:
            del self._searches[runtime]
        self._zygotes[runtime] = zygote
        for running in self._of(None, runtime):
            self._fork(running, zygote)

    def _refuse_waiting(self, runtime: str, error: str) -> None:
        for running in self._of(None, runtime):
            self._end(running, ExitCause.START_FAILED, error)

    def _of(self, zygote: Zygote | None, runtime: str) -> list[Running]:
        found = self._running.values()
        return [
            it for it in found if it.zygote is zygote and it.kept is None and it.launch.revision.spec.runtime == runtime
        ]

    def zygote_pids(self) -> dict[str, int]:
        """Runtime -> pid, of the zygotes that are up."""
        return {runtime: zygote.pid for runtime, zygote in self._zygotes.items() if zygote.is_up}

    def is_up(self, zygote: Zygote, version: str) -> None:
        self.runtimes[zygote.runtime] = version
        self._events.zygote_up(zygote.runtime, zygote.pid)
        if zygote.runtime == DEFAULT:
            for slot in self._slots.values():
                if slot.parked is None and not slot.is_bare:
                    self._park(slot)

    def is_down(self, zygote: Zygote, detail: str) -> None:
        if self._zygotes.get(zygote.runtime) is zygote:
            del self._zygotes[zygote.runtime]
        for running in self._of(zygote, zygote.runtime):
            if running.pid is None:
                cause = running.stopped_as or ExitCause.START_FAILED
                self._end(running, cause, f"the {zygote.runtime} zygote that was to fork it {detail}")
            elif running.is_dead:
                self._collect(running)
        for slot in self._slots.values():
            if slot.parked is not None and slot.parked.zygote is zygote:
                # It is our child now, and ends. The next zygote that comes up forks another one into the slot.
                slot.dismiss()
                self._sweep_soon()
        self._keeping.runtime_ended(zygote.runtime, detail)
        if self._is_closing:
            return
        self._events.zygote_down(zygote.runtime, detail)
        if time.monotonic() - zygote.started_at > QUICK_S:
            self.warm(zygote.runtime)

    def was_parked(self, slot: SlotId, pid: int, pidfd: int) -> None:
        running, made = self._bound.get(slot), self._slots.get(slot)
        if running is not None:
            self.was_started(running.instance, pid, pidfd)
        elif made is not None and made.parked is not None:
            made.parked.was_forked(pid, pidfd)
        else:
            os.close(pidfd)

    def was_not_parked(self, slot: SlotId, error: str) -> None:
        running, made = self._bound.get(slot), self._slots.get(slot)
        if running is not None:
            self.was_refused(running.instance, error)
        elif made is not None:
            made.dismiss()

    def parked_exited(self, slot: SlotId, status: int) -> None:
        running, made = self._bound.get(slot), self._slots.get(slot)
        if running is not None:
            self._judge(running, status)
        elif made is not None:
            made.dismiss()

    def was_started(self, instance: InstanceId, pid: int, pidfd: int) -> None:
        running = self._running.get(instance)
        if running is None:
            os.close(pidfd)
            return
        running.pid, running.pidfd = pid, pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._pidfd_fired, running)
        self._events.started(instance, pid, running.slot.address)
        if running.stopped_as is not None:
            self._tier.kill(pid, pidfd)

    def was_refused(self, instance: InstanceId, error: str) -> None:
        running = self._running.get(instance)
        if running is not None:
            self._end(running, running.stopped_as or ExitCause.START_FAILED, error)

    def has_exited(self, instance: InstanceId, status: int) -> None:
        running = self._running.get(instance)
        if running is None:
            return
        if running.kept is None:
            self._judge(running, status)
        elif running.is_dead:
            self._judge_fork(running, running.kept, status)
        else:
            running.hint = status

    def has_exited_unseen(self, instance: InstanceId, status: int) -> None:
        running = self._running.get(instance)
        if running is not None and running.kept is not None:
            self._judge_fork(running, running.kept, status)

    # -- zygotes of functions ---------------------------------------------------------------------------------

    def keep(self, keep: Keep) -> bool:
        if self._keeping.is_known(keep.revision.id) or self._is_closing:
            return False
        zygote, why = self._zygotes.get(keep.revision.spec.runtime), ""
        if not self.keeps_zygotes:
            why = "on this server each instance loads its code by itself"
        elif zygote is None:
            self.warm(keep.revision.spec.runtime)
            why = "the zygote of its runtime is not up yet"
        if zygote is None or why:
            self._events.zygote_gone(keep.name, keep.revision.id, why, False)
        else:
            self._keeping.keep(keep, zygote)
        return True

    def drop(self, revision: RevisionId) -> None:
        self._keeping.drop(revision, "it was given up")

    def zygotes(self) -> dict[RevisionId, float]:
        """May be called from another thread."""
        return self._keeping.used_mib()

    def was_not_raised(self, zygote: InstanceId, why: str) -> None:
        kept = self._keeping.named(zygote)
        if kept is not None:
            kept.was_not_raised(why)

    def was_kept(self, kept: KeptZygote) -> None:
        if not kept.is_layer:
            load_s = kept.load_s + self._keeping.imports_s(kept.revision)
            self._spares.want(kept)
            self._events.zygote_kept(kept.revision.id, self._keeping.memory_mib(kept), load_s)

    def has_no_spare(self, kept: KeptZygote) -> None:
        self._spares.drop(kept)

    def is_gone(self, kept: KeptZygote, why: str, is_unsafe: bool) -> None:
        self._spares.drop(kept)
        self._keeping.forget(kept)
        if not kept.is_layer:
            is_unsafe = self._keeping.has_failed_again(kept) or is_unsafe
            self._events.zygote_gone(kept.name, kept.revision.id, why, is_unsafe)

    def is_empty(self, kept: KeptZygote) -> None:
        self._leaving.add(self._keeping.forget_wholly(kept))
        self._sweep_soon()

    def is_running(self, instance: InstanceId) -> bool:
        return instance in self._running

    def known_pids(self) -> set[int]:
        known = set(self._keeping.pids())
        return known | {running.pid for running in self._running.values() if running.pid is not None}

    def was_born(self, instance: InstanceId, pid: int, pidfd: int) -> None:
        self.was_started(instance, pid, pidfd)

    def spare_has_ended(self, instance: InstanceId) -> None:
        """Its zygote forks another child, as if there had been no spare."""
        running = self._running.get(instance)
        kept = None if running is None or running.stopped_as is not None else running.kept
        if running is None or kept is None or not kept.is_loaded or not self._start_kept(running, kept):
            self.was_not_born(instance)

    def was_not_born(self, instance: InstanceId) -> None:
        """No start is lost by a zygote: the slot still has all it needs."""
        running = self._running.get(instance)
        if running is None:
            return
        running.kept = None
        if running.stopped_as is not None:
            self._end(running, running.stopped_as, "ended by Corral before it was begun")
        else:
            self._start_plainly(running)

    # -- the whole --------------------------------------------------------------------------------------------

    def usage(self) -> dict[InstanceId, tuple[float, float]]:
        """May be called from another thread: it reads two files for each instance."""
        found = {}
        for running in list(self._running.values()):
            if running.pid is not None:
                with contextlib.suppress(OSError):  # it ended meanwhile
                    found[running.instance] = self._tier.used(running.pid, running.slot.group)
        return found

    def usage_of(self, instance: InstanceId) -> tuple[float, float] | None:
        running = self._running.get(instance)
        if running is None or running.pid is None:
            return None
        with contextlib.suppress(OSError):  # it ended meanwhile
            return self._tier.used(running.pid, running.slot.group)
        return None

    async def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        for search in list(self._searches.values()):
            search.cancel()
        self._all_ended.clear()
        for instance in list(self._running):
            self.stop(instance, ExitCause.KEEPER_LOST)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_MAX_S):
                while self._running:
                    self._all_ended.clear()
                    await self._all_ended.wait()
                await self._spares.close()
                await self._keeping.close()
        for zygote in list(self._zygotes.values()):
            zygote.kill()
            await zygote.ended.wait()
        for slot in self._slots.values():
            slot.close()
        self._leaving.add(*(slot.group for slot in self._slots.values()))
        self._slots.clear()
        if self._sweep is not None:
            self._sweep.cancel()
        self._reap_strays()
        await self._leaving.all_gone()
        # Nothing runs any more, so this only removes what is empty.
        await asyncio.get_running_loop().run_in_executor(self._thread, self._tier.sweep)
        self._thread.shutdown()


def open_forking(tier: Tier, boot: Boot, events: SandboxEvents) -> ForkingSandbox:
    """The backend of `tier`, after what an earlier keeper left under the same name was removed."""
    tier.sweep()
    keeper = boot.settings.keeper
    return ForkingSandbox(tier, keeper.pids_max, boot.name, events, is_strict=keeper.isolation == "strict")


def _limit(group: Group, limits: Limits) -> None:
    with contextlib.suppress(OSError):  # it is over already
        group.limit(limits)


def _weigh(due: Sequence[Weighing]) -> None:
    for group, weight in due:
        with contextlib.suppress(OSError):  # removed meanwhile
            group.weigh(weight)
