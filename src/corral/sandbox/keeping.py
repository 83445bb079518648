"""Which functions have a zygote of their own, and how one is raised and given up."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

from corral.model import InstanceId, RevisionId, SlotId
from corral.ports import Keep, SandboxEvents
from corral.sandbox.cgroups import Group, Limits
from corral.sandbox.kept import Household, KeptZygote
from corral.sandbox.slots import Slot, close_all
from corral.sandbox.zygotes import Zygote

Parts = Callable[[Keep, Slot], dict[str, int]]
"""Descriptors of the function and its plan, for a zygote that lives in the slot; the caller's."""


class Keeping:
    """Everything runs on the loop but the making of slots, which is given to `thread`."""

    def __init__(
        self,
        make_slot: Callable[[SlotId], Slot],
        open_parts: Parts,
        pids_max: int,
        thread: Executor,
        household: Household,
        events: SandboxEvents,
    ) -> None:
        self._make_slot, self._open_parts = make_slot, open_parts
        self._pids_max = pids_max
        self._thread = thread
        self._household, self._events = household, events
        self._raising: dict[RevisionId, InstanceId] = {}
        """Those asked for of which there is nothing yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_empty = asyncio.Event()
        self._kept: dict[RevisionId, KeptZygote] = {}
        self._all: dict[InstanceId, KeptZygote] = {}
        """By name; those too that are gone and whose instances live on."""

    def of(self, revision: RevisionId) -> KeptZygote | None:
        """One that has loaded its code and forks."""
        kept = self._kept.get(revision)
        return kept if kept is not None and kept.is_loaded else None

    def is_known(self, revision: RevisionId) -> bool:
        return revision in self._kept or revision in self._raising

    def named(self, name: InstanceId) -> KeptZygote | None:
        return self._all.get(name)

    @property
    def is_making(self) -> bool:
        """Whether a sandbox is being made, whose processes we don't know yet."""
        return any(kept.reaper_pid is None for kept in self._all.values())

    def pids(self) -> Iterator[int]:
        """Of children of ours."""
        return (kept.reaper_pid for kept in self._all.values() if kept.reaper_pid is not None)

    def used_mib(self) -> dict[RevisionId, float]:
        return {revision: kept.used_mib() for revision, kept in list(self._kept.items()) if kept.is_loaded}

    # -- raising ----------------------------------------------------------------------------------------------

    def keep(self, order: Keep, zygote: Zygote) -> None:
        """Raise one from the zygote of the function's runtime."""
        self._raising[order.revision.id] = order.name
        raising = asyncio.create_task(self._raise(order, zygote), name=f"zygote of {order.revision.id}")
        self._tasks.add(raising)
        raising.add_done_callback(self._tasks.discard)

    async def _raise(self, order: Keep, zygote: Zygote) -> None:
        revision = order.revision
        loop = asyncio.get_running_loop()
        try:
            slot = await loop.run_in_executor(self._thread, self._make_slot, SlotId(order.name))
        except OSError as exc:
            self._raising.pop(revision.id, None)
            self._events.zygote_gone(order.name, revision.id, f"a part of its sandbox was refused: {exc}", False)
            return
        is_wanted = self._raising.get(revision.id) == order.name
        kept = KeptZygote(order.name, revision, slot, self._household)
        self._all[order.name] = kept
        if not is_wanted:
            kept.was_not_raised("it was given up")
            return
        del self._raising[revision.id]
        self._kept[revision.id] = kept
        fds: dict[str, int] = {}
        try:
            slot.group.limit(Limits(revision.spec.memory_mib, revision.spec.cpu, self._pids_max))
            fds |= slot.take()
            os.close(fds.pop("listen"))
            if revision.spec.network == "host" and "netns" in fds:
                os.close(fds.pop("netns"))
            fds |= self._open_parts(order, slot)
            fds["orders"] = kept.take_end()
        except OSError as exc:
            close_all(fds)
            kept.was_not_raised(f"a part of its sandbox was refused: {exc}")
            return
        zygote.raise_kept(order.name, fds)

    def drop(self, revision: RevisionId, why: str) -> None:
        self._raising.pop(revision, None)
        kept = self._kept.get(revision)
        if kept is not None:
            kept.end(why)

    def runtime_ended(self, runtime: str, detail: str) -> None:
        """What its zygote has not made by now it never will."""
        for kept in list(self._all.values()):
            if kept.reaper_pid is None and kept.revision.spec.runtime == runtime:
                kept.was_not_raised(f"the {runtime} zygote {detail}")

    async def close(self) -> None:
        """Give all up; their instances are gone already. Returns when nothing of them is left."""
        for revision in [*self._raising, *self._kept]:
            self.drop(revision, "everything ends")
        while self._all or self._tasks:
            self._is_empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_empty.wait(), 0.02)

    # -- its end ----------------------------------------------------------------------------------------------

    def forget(self, kept: KeptZygote) -> None:
        """It forks no more."""
        if self._kept.get(kept.revision.id) is kept:
            del self._kept[kept.revision.id]

    def forget_wholly(self, kept: KeptZygote) -> Group:
        """Nothing of it is left. Its group, to be removed."""
        self.forget(kept)
        self._all.pop(kept.name, None)
        self._is_empty.set()
        kept.slot.close()
        return kept.slot.group
