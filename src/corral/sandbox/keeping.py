"""Which functions have a zygote of their own, and how one is raised and given up."""

import asyncio
import collections
import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Protocol

from corral.model import InstanceId, Revision, RevisionId, SlotId
from corral.ports import Keep, SandboxEvents
from corral.sandbox.cgroups import Group, Groups, Limits
from corral.sandbox.kept import Household, KeptZygote
from corral.sandbox.slices import Slice
from corral.sandbox.slots import Slot, close_all
from corral.sandbox.zygotes import Zygote

Parts = Callable[[Keep, Slot, bool], dict[str, int]]
"""Descriptors of the function and its plan, for a zygote that lives in the slot; the caller's. True: of its layer."""

FAILED_MAX = 2
LOOK_AFTER_S = 0.1
LOOKS_MAX = 50
"""Enough for all that can be ended to be gone."""


class Housing(Protocol):
    """Of a tier, what zygotes need."""

    groups: Groups

    def make_slot(self, slot: SlotId, group: Group) -> Slot: ...


LayerKey = tuple[str, ...]
"""What must be the same for a revision to be forked from a process that has imported another one's dependencies."""


def layer_key(revision: Revision) -> LayerKey | None:
    """None: it has no layer. Imports may read the environment; and no function trusts another one's."""
    if revision.layer is None:
        return None
    spec = revision.spec
    env = (f"{name}={value}" for name, value in sorted(spec.env.items()))
    return (revision.key, str(revision.uid), revision.layer, spec.runtime, spec.network, *env)


class Keeping:
    """Everything runs on the loop but the making of slots, which is given to `thread`."""

    def __init__(
        self,
        tier: Housing,
        open_parts: Parts,
        pids_max: int,
        thread: Executor,
        household: Household,
        events: SandboxEvents,
    ) -> None:
        self._tier, self._open_parts = tier, open_parts
        self._pids_max = pids_max
        self._thread = thread
        self._household, self._events = household, events
        self._raising: dict[RevisionId, InstanceId] = {}
        """Those asked for of which there is nothing yet."""
        self._failed: collections.Counter[RevisionId] = collections.Counter()
        """How many of its zygotes, one after the other, died of their first start."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks: dict[Slice, asyncio.Task[None]] = {}
        self._is_empty = asyncio.Event()
        self._kept: dict[RevisionId, KeptZygote] = {}
        self._layers: dict[LayerKey, KeptZygote] = {}
        self._holders: dict[LayerKey, set[RevisionId]] = {}
        """Revisions that have, or are to have, a zygote."""
        self._all: dict[InstanceId, KeptZygote] = {}
        """By name; those too that are gone and whose instances live on."""

    def has_failed_again(self, kept: KeptZygote) -> bool:
        """Whether it died of its first start as the one before it did: so would the next."""
        before = self._failed.pop(kept.revision.id, 0)
        if kept.failed_at_once:
            self._failed[kept.revision.id] = before + 1
        return kept.failed_at_once and before + 1 >= FAILED_MAX

    def of(self, revision: RevisionId) -> KeptZygote | None:
        """One that has loaded its code and forks."""
        kept = self._kept.get(revision)
        return kept if kept is not None and kept.is_loaded else None

    def layer_of(self, revision: Revision) -> KeptZygote | None:
        """One that has imported the revision's dependencies, and not its code."""
        key = layer_key(revision)
        layer = self._layers.get(key) if key is not None else None
        return layer if layer is not None and layer.is_loaded else None

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
        """That of a layer's zygote counts for each revision that has one besides."""
        return {revision: self.memory_mib(kept) for revision, kept in list(self._kept.items()) if kept.is_loaded}

    def imports_s(self, revision: Revision) -> float:
        """What importing its dependencies took the zygote of its layer, if there is one."""
        layer = self.layer_of(revision)
        return 0.0 if layer is None else layer.load_s

    def memory_mib(self, kept: KeptZygote) -> float:
        layer = self.layer_of(kept.revision)
        return kept.used_mib() + (0.0 if layer is None else layer.used_mib())

    # -- raising ----------------------------------------------------------------------------------------------

    def keep(self, order: Keep, zygote: Zygote) -> None:
        """Raise one: from the zygote of the function's layer if it has a layer, from that of its runtime if not."""
        self._raising[order.revision.id] = order.name
        raising = asyncio.create_task(self._raise(order, zygote), name=f"zygote of {order.revision.id}")
        self._tasks.add(raising)
        raising.add_done_callback(self._tasks.discard)

    async def _raise(self, order: Keep, zygote: Zygote) -> None:
        revision = order.revision
        layer = await self._layer_for(order, zygote)
        try:
            kept = await self._make(order.name, order, layer, is_layer=False)
        except OSError as exc:
            self._raising.pop(revision.id, None)
            self._leave_layer(revision)
            self._events.zygote_gone(order.name, revision.id, f"a part of its sandbox was refused: {exc}", False)
            return
        if self._raising.get(revision.id) != order.name:
            kept.was_not_raised("it was given up")
            return
        del self._raising[revision.id]
        self._kept[revision.id] = kept
        self._order(kept, order, zygote, layer)

    async def _layer_for(self, order: Keep, zygote: Zygote) -> KeptZygote | None:
        """The zygote that has imported the revision's dependencies, raised if there is none yet; None: there is nothing
        to import, or it can't be had."""
        key = layer_key(order.revision)
        if key is None:
            return None
        self._holders.setdefault(key, set()).add(order.revision.id)
        layer = self._layers.get(key)
        if layer is None:
            try:
                layer = await self._make(InstanceId(f"{order.name}-layer"), order, None, is_layer=True)
            except OSError:
                return None
            self._layers[key] = layer
            self._order(layer, order, zygote, None)
        await layer.settled.wait()
        return layer if layer.is_loaded else None

    async def _make(self, name: InstanceId, order: Keep, layer: KeptZygote | None, is_layer: bool) -> KeptZygote:
        """Where one is to live: with the one that is to fork it, which holds the entrance of its group. Raises
        OSError."""
        spec = order.revision.spec
        limits = Limits(spec.memory_mib, spec.cpu, self._pids_max)
        loop = asyncio.get_running_loop()
        there = None if layer is None else layer.slice
        slot, around = await loop.run_in_executor(self._thread, self._make_slot, SlotId(name), limits, there)
        kept = self._all[name] = KeptZygote(name, order.revision, slot, around, limits, self._household, is_layer)
        return kept

    def _make_slot(self, name: SlotId, limits: Limits, around: Slice | None) -> tuple[Slot, Slice]:
        if around is None:
            around = Slice(self._tier.groups, f"slice-{name}")
        group = around.make(name, limits)
        try:
            return self._tier.make_slot(name, group), around
        except OSError:
            group.remove()
            raise

    def _order(self, kept: KeptZygote, order: Keep, zygote: Zygote, layer: KeptZygote | None) -> None:
        spec, slot = kept.revision.spec, kept.slot
        fds: dict[str, int] = {}
        try:
            # The zygote, the largest in there, and not its reaper, on which instances depend.
            slot.group.part()
            fds |= slot.take()
            os.close(fds.pop("listen"))
            fds |= self._open_parts(order, slot, kept.is_layer)
            fds["orders"] = kept.take_end()
            if layer is None:
                if spec.network == "host":
                    os.close(fds.pop("netns"))
                zygote.raise_kept(kept.name, fds)
                return
            # What both have is the layer's: its network and its mounts.
            for name in ("netns", "layer_root"):
                os.close(fds.pop(name))
            layer.raise_kept(fds)
        except OSError as exc:
            kept.was_not_raised(f"a part of its sandbox was refused: {exc}")
        close_all(fds)

    def drop(self, revision: RevisionId, why: str) -> None:
        self._raising.pop(revision, None)
        kept = self._kept.get(revision)
        if kept is not None:
            kept.end(why)

    def _leave_layer(self, revision: Revision) -> None:
        """The zygote of a layer ends with the last revision that has one."""
        key = layer_key(revision)
        holders = self._holders.get(key) if key is not None else None
        if key is None or holders is None:
            return
        holders.discard(revision.id)
        if not holders:
            del self._holders[key]
            layer = self._layers.get(key)
            if layer is not None:
                layer.end("no revision needs it")

    def runtime_ended(self, runtime: str, detail: str) -> None:
        """What its zygote has not made by now it never will."""
        for kept in list(self._all.values()):
            if kept.reaper_pid is None and kept.revision.spec.runtime == runtime:
                kept.was_not_raised(f"the {runtime} zygote {detail}")

    async def close(self) -> None:
        """Give all up; their instances are gone already. Returns when nothing of them is left."""
        for look in self._looks.values():
            look.cancel()
        for revision in [*self._raising, *self._kept]:
            self.drop(revision, "everything ends")
        for layer in list(self._layers.values()):
            layer.end("everything ends")
        while self._all or self._tasks:
            self._is_empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_empty.wait(), 0.02)

    # -- what is left behind ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Groups of instances were removed: see that nothing of those is left."""
        for around in {kept.slice for kept in self._all.values() if kept.slice.has_lost} - self._looks.keys():
            self._looks[around] = asyncio.create_task(self._look(around), name="look for what is left")

    async def _look(self, around: Slice) -> None:
        loop = asyncio.get_running_loop()
        try:
            looks = itertools.count(1)
            while around.has_lost or (around.is_suspect and next(looks) < LOOKS_MAX):
                await asyncio.sleep(LOOK_AFTER_S)
                uncollected = sum(kept.uncollected for kept in self._all.values() if kept.slice is around)
                why = await loop.run_in_executor(self._thread, around.stray, uncollected)
                for kept in [kept for kept in self._all.values() if kept.slice is around]:
                    if why:
                        kept.distrust(why)
                    elif kept.is_gone:
                        kept.end_strangers()
        finally:
            del self._looks[around]

    # -- its end ----------------------------------------------------------------------------------------------

    def forget(self, kept: KeptZygote) -> None:
        """It forks no more."""
        key = layer_key(kept.revision)
        if kept.is_layer:
            if key is not None and self._layers.get(key) is kept:
                del self._layers[key]
            return
        if self._kept.get(kept.revision.id) is kept:
            del self._kept[kept.revision.id]
        if not self.is_known(kept.revision.id):
            self._leave_layer(kept.revision)

    def forget_wholly(self, kept: KeptZygote) -> Group:
        """Nothing of it is left. Its group, to be removed."""
        self.forget(kept)
        self._all.pop(kept.name, None)
        self._is_empty.set()
        kept.slot.close()
        return kept.slot.group
