"""The Rollout: brings a function's calls from one state to the next without losing one. What takes calls is readied
beside what serves; then it is written down; only then calls move, and what none goes to any more is drained."""

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from corral.clock import Clock
from corral.engine import traffic
from corral.engine.changes import Change, Changes
from corral.engine.fleet import Fleet
from corral.engine.holdings import Holdings
from corral.engine.verification import Verification
from corral.errors import BuildFailed, Conflict, CorralError, LoadFailed, Unavailable
from corral.model import FunctionKey, Revision, RevisionId
from corral.ports import Store, StoredFunction

log = logging.getLogger("corral.engine.rollout")

READIED_AT_ONCE = 16
"""Changes of one request whose instances start at the same time: enough to keep the cores busy."""


class Rollout:
    """Of all functions; `functions` is what is deployed, as it stands on disk."""

    def __init__(self, store: Store, fleet: Fleet, holdings: Holdings, clock: Clock) -> None:
        self._store, self._fleet, self._holdings, self._clock = store, fleet, holdings, clock
        self.functions: dict[FunctionKey, StoredFunction] = {}
        self.changes = Changes()
        self._locks: weakref.WeakValueDictionary[FunctionKey, asyncio.Lock] = weakref.WeakValueDictionary()

    async def carry_out(
        self, changes: Sequence[Change], timeout_s: float
    ) -> tuple[Sequence[StoredFunction], Mapping[FunctionKey, float]]:
        """All or none of these changes, which are under way. What stands now, and the seconds that readying took where
        it was needed. Raises what a plan raises; LoadFailed when code does not load; Conflict when a later change or
        a deletion overtook one."""
        prepared: list[tuple[RevisionId, Verification]] = []
        try:
            took_s = await self._ready(changes, prepared, timeout_s)
            return await self._commit(changes), took_s
        finally:
            for revision, verification in prepared:
                self._fleet.lifecycle.give_up(revision, verification)

    @asynccontextmanager
    async def locked(self, keys: Iterable[FunctionKey]) -> AsyncIterator[None]:
        """What is on disk of these functions does not change meanwhile. In one order, so that two who want the same
        cannot wait for each other."""
        async with AsyncExitStack() as stack:
            for key in sorted(set(keys)):
                await stack.enter_async_context(self._locks.setdefault(key, asyncio.Lock()))
            yield

    # -- readying -------------------------------------------------------------------------------------------

    async def _ready(
        self, changes: Sequence[Change], prepared: list[tuple[RevisionId, Verification]], timeout_s: float
    ) -> Mapping[FunctionKey, float]:
        took_s: dict[FunctionKey, float] = {}
        faults: list[tuple[FunctionKey, CorralError]] = []
        at_once = asyncio.Semaphore(READIED_AT_ONCE)

        async def ready(change: Change) -> None:
            async with at_once:
                begun = self._clock.monotonic()
                try:
                    change.check()  # it may have waited for its turn
                    needed = self._needed(change)
                    for revision, least, count in needed:
                        verification = self._fleet.lifecycle.prepare(revision, count, least)
                        prepared.append((revision.id, verification))
                        change.verifications.append(verification)
                    await self._wait(change, timeout_s)
                    if needed:
                        took_s[change.key] = self._clock.monotonic() - begun
                except CorralError as fault:
                    faults.append((change.key, fault))

        async with asyncio.TaskGroup() as group:
            for change in changes:
                group.create_task(ready(change), name=f"ready {change.key}")
        if faults:
            raise together(faults, len(changes))
        return took_s

    def _needed(self, change: Change) -> Sequence[tuple[Revision, int, int]]:
        """(revision, instances it must prove itself by, those it must have): max(initial, min, its part of those
        that work now), but never more than its max."""
        before = self.functions.get(change.key)
        after = change.plan(before)
        shares = {} if before is None else traffic.percents(before.traffic)
        there = {number: self._fleet.have(revision.id) for number, revision in _by_number(before, shares)}
        counts = traffic.needed(shares, traffic.percents(after.traffic), there)
        if change.new is not None:
            counts.setdefault(change.new.number, 0)
        needed = []
        for number, revision in _by_number(after, counts):
            scaling = self._fleet.scalings.of(revision, initial=revision.spec.initial)
            least = min(max(scaling.initial, scaling.min), scaling.max)
            count = min(max(least, counts[number]), scaling.max)
            if count:
                needed.append((revision, least, count))
        return needed

    async def _wait(self, change: Change, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                for verification in change.verifications:
                    await verification.wait()
        except TimeoutError as exc:
            if not self._fleet.has_keeper or not self._fleet.gateways:
                raise Unavailable("the keeper or the gateway is away, so the code could not be loaded") from exc
            if all(verification.suffices for verification in change.verifications):
                # The machine has no room for more: calls find those there are, and wait for the others.
                log.warning("calls move with fewer instances than worked before", extra={"function": change.key})
                return
            shortages = filter(None, (self._fleet.shortage(revision.id) for revision, _, _ in self._needed(change)))
            if (shortage := next(shortages, None)) is not None:
                raise Unavailable(f"no instance could load the code within {timeout_s:g} s: {shortage}") from exc
            raise LoadFailed(
                f"the code did not finish loading within {timeout_s:g} s: what runs when it is imported must end"
            ) from exc

    # -- writing down, and moving ---------------------------------------------------------------------------

    async def _commit(self, changes: Sequence[Change]) -> Sequence[StoredFunction]:
        """The store decides: only what is on disk counts."""
        async with self.locked(change.key for change in changes):
            for change in changes:
                change.check()
            stored = [self._planned(change) for change in changes]
            await self._store.put_functions(stored)
            for change, function in zip(changes, stored, strict=True):
                self._put(change, function)
        return stored

    def _planned(self, change: Change) -> StoredFunction:
        planned = change.plan(self.functions.get(change.key))
        proven = traffic.proven(planned.proven, planned.traffic)
        gone = traffic.collected([revision.number for revision in planned.revisions], planned.traffic, proven)
        kept = tuple(self._fleet.lifecycle.known(each) for each in planned.revisions if each.number not in gone)
        known = tuple(each for each in proven if each not in gone)
        return msgspec.structs.replace(planned, revisions=kept, proven=known, updated_at=self._clock.wall())

    def _put(self, change: Change, function: StoredFunction) -> None:
        before = self.functions.get(change.key)
        self.functions[change.key] = function
        newest = function.revision(max(traffic.percents(function.traffic)))
        assert newest is not None
        self._fleet.scalings.put(newest, function.tuning)
        self._fleet.lifecycle.route(function)
        self.changes.counts(change)
        if change.new is not None:
            self._holdings.deployed(change.new)
            log.info("function deployed", extra={"revision": change.new.id, "package": change.new.package})
        for revision in () if before is None else before.revisions:
            self.let_go(revision)

    def let_go(self, revision: Revision) -> None:
        """What it held, unless it is stored, or calls or instances of it are left."""
        function = self.functions.get(revision.key)
        is_stored = function is not None and function.revision(revision.number) is not None
        if not is_stored and not self._fleet.lifecycle.has(revision.id):
            self._holdings.let_go(revision)


def _by_number(function: StoredFunction | None, numbers: Iterable[int]) -> Iterable[tuple[int, Revision]]:
    """Those of its revisions."""
    wanted = set(numbers)
    return ((each.number, each) for each in (() if function is None else function.revisions) if each.number in wanted)


def together(faults: Sequence[tuple[FunctionKey, CorralError]], asked: int) -> CorralError:
    """One fault for a request: as it is when one function was asked for, else naming each function."""
    if asked == 1:
        return faults[0][1]
    named = [(key.partition("/")[2], fault) for key, fault in faults]
    sentences = "\n".join(f"functions.{name}: {fault.message}" for name, fault in named)
    if any(isinstance(fault, Conflict) for _, fault in named):
        return Conflict(sentences)
    if all(isinstance(fault, BuildFailed) for _, fault in named):
        outputs = [f"{name}:\n{fault.output}" for name, fault in named if isinstance(fault, BuildFailed)]
        return BuildFailed(sentences, output="\n".join(outputs))
    if not all(isinstance(fault, LoadFailed) for _, fault in named):
        return Unavailable(sentences)
    tracebacks = [f"{name}:\n{fault.traceback}" for name, fault in named if isinstance(fault, LoadFailed)]
    return LoadFailed(sentences, traceback="\n".join(tracebacks))
