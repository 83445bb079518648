"""The Catalog: what is deployed, and where its calls go."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from corral.engine import traffic
from corral.engine.changes import Change
from corral.engine.deployment import VERIFY_S, name_problems
from corral.engine.fleet import Fleet
from corral.engine.holdings import Holdings
from corral.engine.rollout import Rollout
from corral.errors import Conflict, Invalid, NotFound, StoreFailed
from corral.model import FunctionKey, Revision, RevisionId, ScalingValue, Share, Style, function_key
from corral.ports import Packages, Store, StoredFunction, Tuning
from corral.roster import scaling_problems

log = logging.getLogger("corral.engine.catalog")

LOOK_EVERY_S = 600.0
"""Between two looks at packages that were uploaded and never deployed, when nothing else is to do."""
LEARNED_EVERY_S = 1.0
"""Between two writes of what loading has shown: a hundred first starts cost one wait for the disk, not a hundred."""


class Catalog:
    """Deployed functions by key. `run` writes down what is learned later; it ends only by cancellation."""

    def __init__(self, store: Store, fleet: Fleet, rollout: Rollout, holdings: Holdings, packages: Packages) -> None:
        self._store, self._rollout = store, rollout
        self._holdings, self._packages = holdings, packages
        self._lifecycle, self._scalings = fleet.lifecycle, fleet.scalings
        self._functions = rollout.functions
        self._learned: dict[RevisionId, Revision] = {}
        """Revisions with what loading has shown, as far as it is not on disk yet."""
        self._has_work = asyncio.Event()
        fleet.loaded = self._loaded
        fleet.lifecycle.emptied = rollout.let_go
        holdings.dropped = self._has_work.set

    def restore(self, functions: Sequence[StoredFunction], defaults: Mapping[str, Mapping[str, ScalingValue]]) -> None:
        """At start: what the store holds. Raises StoreFailed when it needs a scaler or a setting that is not here."""
        for namespace, said in defaults.items():
            for problem in scaling_problems(said):
                raise StoreFailed(f"namespace {namespace} is stored with {problem}: start the Corral that wrote it")
            self._scalings.put_default(namespace, said)
        for stored in functions:
            self._check_scaling(stored)
            self._functions[stored.key] = stored
            self._scalings.put(_newest_called(stored), stored.tuning)
            self._holdings.restore(stored.revisions)
            self._lifecycle.route(stored)

    def _check_scaling(self, stored: StoredFunction) -> None:
        for said in (*(revision.spec.scaling for revision in stored.revisions), stored.tuning.scaling or {}):
            for problem in scaling_problems(said):
                raise StoreFailed(f"function {stored.key} is stored with {problem}: start the Corral that wrote it")

    # -- reading --------------------------------------------------------------------------------------------

    def function(self, namespace: str, name: str) -> StoredFunction:
        """Raises NotFound."""
        stored = self._functions.get(function_key(namespace, name))
        if stored is None:
            raise NotFound(f"no function {name!r} in namespace {namespace!r}")
        return stored

    def get(self, namespace: str, name: str) -> Revision:
        """The function's revision with the largest share of its calls. Raises NotFound."""
        return self._foremost(self.function(namespace, name))

    def shares(self, key: FunctionKey) -> Sequence[Share]:
        """Where the function's calls go; empty when it is not deployed."""
        stored = self._functions.get(key)
        return () if stored is None else stored.traffic

    def called(self, key: FunctionKey) -> Sequence[Revision]:
        """The function's revisions that calls may go to, by share or tag, oldest first."""
        stored = self._functions.get(key)
        live = set() if stored is None else traffic.live(stored.traffic)
        return [] if stored is None else [each for each in stored.revisions if each.number in live]

    def _foremost(self, stored: StoredFunction) -> Revision:
        revision = stored.revision(traffic.foremost(stored.traffic))
        assert revision is not None  # ports.StoredFunction.traffic
        return self._lifecycle.known(revision)

    def has(self, namespace: str, name: str) -> bool:
        return function_key(namespace, name) in self._functions

    @property
    def count(self) -> int:
        return len(self._functions)

    def functions(self, namespace: str | None = None) -> Sequence[Revision]:
        """What `get` gives, ordered by namespace and name; None: of all namespaces."""
        mine = "" if namespace is None else f"{namespace}/"
        keys = sorted(key for key in self._functions if key.startswith(mine))
        return [self._foremost(self._functions[key]) for key in keys]

    # -- where calls go -------------------------------------------------------------------------------------

    async def set_traffic(
        self,
        namespace: str,
        name: str,
        shares: Mapping[int, int] | None,
        tags: Mapping[str, int | None],
        timeout_s: float = VERIFY_S,
    ) -> StoredFunction:
        """Send the function's calls elsewhere: `shares` is revision -> percent (None: as they are), `tags` is tag ->
        revision (None: take it away; those not named stay). Raises NotFound, Invalid with every mistake, LoadFailed,
        or Conflict when it was overtaken."""

        def plan(before: StoredFunction) -> StoredFunction:
            numbers = {revision.number for revision in before.revisions}
            problems = list(traffic.problems(shares, tags, numbers, before.traffic))
            if problems:
                raise Invalid(*problems)
            return msgspec.structs.replace(before, traffic=traffic.changed(before.traffic, shares, tags))

        return await self._move(namespace, name, plan, timeout_s)

    async def roll_back(self, namespace: str, name: str, to: int | None, timeout_s: float = VERIFY_S) -> StoredFunction:
        """Send all of the function's calls to revision `to`; None: to the one that had them all before. Raises
        NotFound, Conflict when there is none or it was overtaken, or LoadFailed."""

        def plan(before: StoredFunction) -> StoredFunction:
            number = _previous(before) if to is None else to
            if before.revision(number) is None:
                kept = ", ".join(str(revision.number) for revision in before.revisions)
                raise NotFound(f"revision {number} of {before.key} is not kept, must be one of {kept}")
            return msgspec.structs.replace(before, traffic=traffic.rolled_back(before.traffic, number))

        return await self._move(namespace, name, plan, timeout_s)

    async def _move(
        self, namespace: str, name: str, plan: Callable[[StoredFunction], StoredFunction], timeout_s: float
    ) -> StoredFunction:
        change = Change(self.function(namespace, name).key)
        # It may be deleted meanwhile, but then the change was overtaken.
        change.plan = lambda before: plan(before or self.function(namespace, name))
        with self._rollout.changes.begun([change]):
            [stored], _ = await self._rollout.carry_out([change], timeout_s)
        shares = traffic.percents(stored.traffic)
        log.info("calls sent elsewhere", extra={"function": stored.key, "shares": shares})
        return stored

    # -- scaling --------------------------------------------------------------------------------------------

    async def tune(self, namespace: str, name: str, change: Callable[[Tuning], Tuning]) -> Revision:
        """Set the scaling of a function that serves, from what was set before; it counts from the next decision on.
        Raises NotFound, or Invalid with every mistake."""
        key = function_key(namespace, name)
        async with self._rollout.locked([key]):
            revision = self.get(namespace, name)
            tuning = change(self._functions[key].tuning)
            problems = list(self._scalings.tuning_problems(revision, tuning))
            if problems:
                raise Invalid(*problems)
            stored = msgspec.structs.replace(self._functions[key], tuning=tuning)
            await self._store.put_functions([stored])
            self._functions[key] = stored
            self._scalings.put(_newest_called(stored), tuning)
            self._rescale(stored)
        log.info("scaling set", extra={"function": key, "scaling": msgspec.to_builtins(tuning)})
        return revision

    async def put_default(self, namespace: str, said: Mapping[str, ScalingValue]) -> None:
        """The scaling of the namespace's functions that say nothing of their own; empty: none. Raises Invalid."""
        problems = [*name_problems("namespace", namespace), *scaling_problems(said)]
        if problems:
            raise Invalid(*problems)
        await self._store.put_default(namespace, said)
        self._scalings.put_default(namespace, said)
        for key in [key for key in self._functions if key.startswith(f"{namespace}/")]:
            self._rescale(self._functions[key])

    def _rescale(self, stored: StoredFunction) -> None:
        live = traffic.live(stored.traffic)
        for revision in stored.revisions:
            if revision.number in live:
                self._lifecycle.rescale(revision)

    # -- deleting -------------------------------------------------------------------------------------------

    async def delete(self, namespace: str, name: str) -> None:
        """Raises NotFound."""
        key = function_key(namespace, name)
        async with self._rollout.locked([key]):
            if not await self._store.delete_function(key):
                raise NotFound(f"no function {name!r} in namespace {namespace!r}")
            stored = self._functions.pop(key)
            self._lifecycle.remove(key)
            self._scalings.forget(key)
            self._rollout.changes.deleted(key)
            for revision in stored.revisions:
                self._rollout.let_go(revision)
        log.info("function deleted", extra={"function": key})

    # -- what is learned later ------------------------------------------------------------------------------

    def _loaded(self, revision: Revision, style: Style, is_async: bool) -> None:
        learned = msgspec.structs.replace(revision, style=style, is_async=is_async)
        self._lifecycle.learn(learned)
        self._learned[revision.id] = learned
        self._has_work.set()

    async def run(self) -> None:
        """Write down what loading has shown, and remove packages of no use, behind the calls. A crash loses only what
        the next start shows again, and the next engine removes what this one did not."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_work.wait(), LOOK_EVERY_S)
            self._has_work.clear()
            learned, self._learned = self._learned, {}
            try:
                await self._keep_styles(list(learned.values()))
            except StoreFailed:
                self._learned = learned | self._learned  # of the same revision the later counts
                self._has_work.set()
            if not await self._packages.clear():
                self._has_work.set()
            await asyncio.sleep(LEARNED_EVERY_S)

    async def _keep_styles(self, revisions: Sequence[Revision]) -> None:
        async with self._rollout.locked(revision.key for revision in revisions):
            fresh: dict[FunctionKey, StoredFunction] = {}
            for learned in revisions:
                stored = fresh.get(learned.key) or self._functions.get(learned.key)
                if stored is not None and stored.revision(learned.number) not in (None, learned):
                    known = tuple(learned if each.id == learned.id else each for each in stored.revisions)
                    fresh[learned.key] = msgspec.structs.replace(stored, revisions=known)
            if fresh:
                await self._store.put_functions(fresh.values())
            self._functions.update(fresh)


def _newest_called(stored: StoredFunction) -> Revision:
    """Its scaling is the function's."""
    revision = stored.revision(max(traffic.percents(stored.traffic)))
    assert revision is not None  # ports.StoredFunction.traffic
    return revision


def _previous(stored: StoredFunction) -> int:
    """Raises Conflict."""
    number = traffic.previous(stored.traffic, stored.proven)
    if number is None:
        others = sorted({revision.number for revision in stored.revisions} - traffic.live(stored.traffic))
        hint = f"; --to names one of {', '.join(map(str, others))}" if others else ""
        raise Conflict(f"{stored.key} has no revision to go back to, that had all its calls before{hint}")
    return number
