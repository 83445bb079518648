"""The Catalog: what is deployed. A deployment is verified beside what serves, written down, and only then takes over;
when anything fails, nothing of it stays and the revision before goes on serving."""

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from itertools import islice

import msgspec

from corral.clock import Clock
from corral.engine.fleet import Fleet
from corral.engine.installation import Installation
from corral.engine.uids import Uids
from corral.engine.verification import Verification
from corral.errors import (
    PROBLEMS_MAX,
    BuildFailed,
    Conflict,
    CorralError,
    Invalid,
    LoadFailed,
    NotFound,
    StoreFailed,
    Unavailable,
)
from corral.model import (
    FunctionKey,
    FunctionSpec,
    Revision,
    RevisionId,
    ScalingValue,
    Style,
    check_name,
    function_key,
    revision_id,
)
from corral.ports import Needed, Packages, Store, StoredFunction, Tuning
from corral.roster import scaling_problems

log = logging.getLogger("corral.engine.catalog")

VERIFY_S = 60.0
"""How long a deployment waits for its code to load when it does not say otherwise."""
VERIFIED_AT_ONCE = 16
"""Deployments of one request whose code loads at the same time: enough to keep the cores busy."""
LOOK_EVERY_S = 600.0
"""Between two looks at packages that were uploaded and never deployed, when nothing else is to do."""
LEARNED_EVERY_S = 1.0
"""Between two writes of what loading has shown: a hundred first starts cost one wait for the disk, not a hundred."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One function as its owner wants it."""

    name: str
    package: str
    spec: FunctionSpec


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """One function as it serves now."""

    revision: Revision
    load_s: float | None
    """From the first start until enough instances had loaded the code; None: it was not loaded."""


class Catalog:
    """Deployed functions by key. `run` writes down what is learned later; it ends only by cancellation."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        packages: Packages,
        uids: Uids,
        clock: Clock,
        *,
        forbids_host: bool = False,
        installs: str = "source",
    ) -> None:
        """`forbids_host`: no function may have this machine's network. `installs`: see config.Layers."""
        self._store, self._fleet, self._packages = store, fleet, packages
        self._scalings = fleet.scalings
        self._uids, self._clock, self._forbids_host = uids, clock, forbids_host
        self._installation = Installation(fleet.layers, packages, installs)
        self._functions: dict[FunctionKey, StoredFunction] = {}
        self._uid_by_revision: dict[RevisionId, int] = {}
        self._last_number: dict[FunctionKey, int] = {}
        self._deleted_up_to: dict[FunctionKey, int] = {}
        """Deployments with a number up to this began before the function's last deletion: it was meant for them too."""
        self._locks: weakref.WeakValueDictionary[FunctionKey, asyncio.Lock] = weakref.WeakValueDictionary()
        self._verified: dict[FunctionKey, set[Verification]] = {}
        """Verifications under way."""
        self._learned: dict[RevisionId, Revision] = {}
        """Revisions with what loading has shown, as far as it is not on disk yet."""
        self._has_work = asyncio.Event()
        fleet.loaded = self._loaded
        fleet.emptied = self._emptied

    def restore(self, functions: Sequence[StoredFunction], defaults: Mapping[str, Mapping[str, ScalingValue]]) -> None:
        """At start: what the store holds. Raises StoreFailed when it needs a scaler or a setting that is not here."""
        for namespace, said in defaults.items():
            for problem in scaling_problems(said):
                raise StoreFailed(f"namespace {namespace} is stored with {problem}: start the Corral that wrote it")
            self._scalings.put_default(namespace, said)
        for stored in functions:
            for said in (stored.revision.spec.scaling, stored.tuning.scaling or {}):
                for problem in scaling_problems(said):
                    raise StoreFailed(
                        f"function {stored.revision.key} is stored with {problem}: start the Corral that wrote it"
                    )
            self._scalings.put(stored.revision, stored.tuning)
            self._functions[stored.revision.key] = stored
            self._uid_by_revision[stored.revision.id] = stored.revision.uid
            self._packages.hold(stored.revision.namespace, stored.revision.package)
            self._fleet.layers.hold(stored.revision)
        self._uids.claim(stored.revision.uid for stored in functions)
        self._fleet.restore(stored.revision for stored in functions)

    # -- reading --------------------------------------------------------------------------------------------

    def get(self, namespace: str, name: str) -> Revision:
        """The function's serving revision. Raises NotFound."""
        stored = self._functions.get(function_key(namespace, name))
        if stored is None:
            raise NotFound(f"no function {name!r} in namespace {namespace!r}")
        return self._fleet.known(stored.revision)

    def has(self, namespace: str, name: str) -> bool:
        return function_key(namespace, name) in self._functions

    @property
    def count(self) -> int:
        return len(self._functions)

    def functions(self, namespace: str | None = None) -> Sequence[Revision]:
        """Ordered by namespace and name; None: of all namespaces."""
        mine = "" if namespace is None else f"{namespace}/"
        keys = sorted(key for key in self._functions if key.startswith(mine))
        return [self._fleet.known(self._functions[key].revision) for key in keys]

    # -- deploying ------------------------------------------------------------------------------------------

    async def deploy(self, namespace: str, asked: Sequence[Asked], timeout_s: float = VERIFY_S) -> Sequence[Deployed]:
        """All or none: the new revisions, serving and on disk. Raises Invalid with every mistake; BuildFailed when
        dependencies cannot be installed; LoadFailed when code does not load; Conflict when a later deployment or a
        deletion overtook it."""
        self._check(namespace, asked)
        with self._held(namespace, asked):
            needs = await self._installation.needs(namespace, [(each.name, each.package, each.spec) for each in asked])
            numbers = await self._numbers([function_key(namespace, each.name) for each in asked])
            revisions = self._revisions(namespace, asked, numbers, needs)
        try:
            faults = await self._installation.install(revisions, needs)
            if faults:
                raise _together(faults, len(revisions))
            load_s = await self._verify(revisions, timeout_s)
            serving = await self._commit(revisions)
            return [Deployed(revision=each, load_s=load_s.get(each.id)) for each in serving]
        finally:
            for revision in revisions:
                self._give_up(revision)

    @contextmanager
    def _held(self, namespace: str, asked: Sequence[Asked]) -> Iterator[None]:
        """The packages that were found stay at least so long."""
        for each in asked:
            self._packages.hold(namespace, each.package)
        try:
            yield
        finally:
            for each in asked:
                self._drop_package(namespace, each.package)

    def _check(self, namespace: str, asked: Sequence[Asked]) -> None:
        problems = list(_name_problems("namespace", namespace))
        if not asked:
            problems.append("functions is empty, must name at least one")
        names: set[str] = set()
        for each in asked:
            prefix = f"functions.{each.name[:80]}: " if len(asked) > 1 else ""
            problems += [prefix + problem for problem in islice(self._problems(namespace, each), PROBLEMS_MAX + 1)]
            if each.name in names:
                problems.append(f"functions names {each.name[:80]!r} twice, must name each function once")
            names.add(each.name)
            if len(problems) > PROBLEMS_MAX:
                break
        if problems:
            raise Invalid(*problems)

    def _problems(self, namespace: str, asked: Asked) -> Iterator[str]:
        yield from _name_problems("name", asked.name)
        yield from self._scalings.deploy_problems(namespace, asked.name, asked.spec)
        if asked.spec.memory_mib > self._fleet.admission.limit_mib:
            budget_mib = int(self._fleet.admission.limit_mib)
            yield (
                f"memory_mib = {asked.spec.memory_mib}, must be at most {budget_mib}: that is what all functions of "
                "this machine may use together (budget.memory)"
            )
        if asked.spec.network == "host" and self._forbids_host:
            yield "network = 'host', must be none: keeper.network_host = forbidden for all functions of this server"
        if not self._packages.has(namespace, asked.package):
            yield f"package = {asked.package[:80]!r}, must be one uploaded to namespace {namespace!r}"

    async def _numbers(self, keys: Sequence[FunctionKey]) -> Sequence[int]:
        """Asked for side by side, so that they share a transaction."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._store.next_number(key)) for key in keys]
        except* CorralError as faults:
            raise _first(faults) from None
        numbers = [task.result() for task in tasks]
        for key, number in zip(keys, numbers, strict=True):
            self._last_number[key] = max(number, self._last_number.get(key, 0))
        return numbers

    def _revisions(
        self, namespace: str, asked: Sequence[Asked], numbers: Sequence[int], needs: Sequence[Needed | None]
    ) -> Sequence[Revision]:
        """Raises Conflict when there are no users left; then none was taken."""
        uids: list[int] = []
        try:
            for _ in asked:
                uids.append(self._uids.take())  # noqa: PERF401 - what was taken must be known when one fails
        except Conflict:
            for uid in uids:
                self._uids.give_back(uid)
            raise
        revisions = []
        for each, number, uid, needed in zip(asked, numbers, uids, needs, strict=True):
            revision = Revision(
                id=revision_id(function_key(namespace, each.name), number),
                namespace=namespace,
                name=each.name,
                number=number,
                package=each.package,
                layer=None if needed is None else needed.layer,
                uid=uid,
                spec=each.spec,
                style=each.spec.style,
                created_at=self._clock.wall(),
            )
            self._uid_by_revision[revision.id] = uid
            self._packages.hold(namespace, each.package)
            self._fleet.layers.hold(revision)
            revisions.append(revision)
        return revisions

    async def _verify(self, revisions: Sequence[Revision], timeout_s: float) -> Mapping[RevisionId, float]:
        """Seconds that each took to load; raises one fault that says what is wrong with each."""
        load_s: dict[RevisionId, float] = {}
        faults: list[tuple[Revision, CorralError]] = []
        at_once = asyncio.Semaphore(VERIFIED_AT_ONCE)

        async def verify(revision: Revision) -> None:
            async with at_once:
                begun = self._clock.monotonic()
                try:
                    await self._load(revision, timeout_s)
                    load_s[revision.id] = self._clock.monotonic() - begun
                except CorralError as fault:
                    faults.append((revision, fault))

        async with asyncio.TaskGroup() as group:
            for revision in revisions:
                if revision.spec.initial:
                    group.create_task(verify(revision), name=f"verify {revision.id}")
        if faults:
            raise _together(faults, len(revisions))
        return load_s

    async def _load(self, revision: Revision, timeout_s: float) -> None:
        self._check_newest(revision)  # it may have waited for its turn
        verification = self._fleet.prepare(revision)
        self._verified.setdefault(revision.key, set()).add(verification)
        try:
            async with asyncio.timeout(timeout_s):
                await verification.wait()
        except TimeoutError as exc:
            if not self._fleet.has_keeper or not self._fleet.gateways:
                raise Unavailable("the keeper or the gateway is away, so the code could not be loaded") from exc
            raise LoadFailed(
                f"the code did not finish loading within {timeout_s:g} s: what runs when it is imported must end"
            ) from exc
        finally:
            self._verified[revision.key].discard(verification)
            if not self._verified[revision.key]:
                del self._verified[revision.key]

    async def _commit(self, revisions: Sequence[Revision]) -> Sequence[Revision]:
        """From verified to serving. The store decides: only what is on disk serves."""
        now = self._clock.wall()
        async with self._locked(revision.key for revision in revisions):
            for revision in revisions:
                self._check_newest(revision)
            stored = [
                StoredFunction(revision=self._fleet.known(each), updated_at=now, tuning=self._scalings.tuning(each))
                for each in revisions
            ]
            await self._store.put_functions(stored)
            for each in stored:
                self._functions[each.revision.key] = each
                self._scalings.put(each.revision, each.tuning)
                self._packages.deployed(each.revision.namespace, each.revision.package)
                self._fleet.serve(each.revision)
                log.info("function deployed", extra={"revision": each.revision.id, "package": each.revision.package})
        return [each.revision for each in stored]

    def _check_newest(self, revision: Revision) -> None:
        current = self._functions.get(revision.key)
        if current is not None and current.revision.number > revision.number:
            raise Conflict(f"{revision.key} was deployed again meanwhile, as revision {current.revision.number}")
        if revision.number <= self._deleted_up_to.get(revision.key, 0):
            raise _deleted(revision.key)

    def _give_up(self, revision: Revision) -> None:
        """A revision that came to serve stays; of another nothing stays."""
        current = self._functions.get(revision.key)
        if current is not None and current.revision.id == revision.id:
            return
        if self._fleet.knows(revision.id):
            self._fleet.abandon(revision.id)
        else:
            self._emptied(revision)

    @asynccontextmanager
    async def _locked(self, keys: Iterable[FunctionKey]) -> AsyncIterator[None]:
        """In one order, so that two deployments of the same functions cannot wait for each other."""
        async with AsyncExitStack() as stack:
            for key in sorted(set(keys)):
                await stack.enter_async_context(self._locks.setdefault(key, asyncio.Lock()))
            yield

    # -- scaling --------------------------------------------------------------------------------------------

    async def tune(self, namespace: str, name: str, change: Callable[[Tuning], Tuning]) -> Revision:
        """Set the scaling of a function that serves, from what was set before; it counts from the next decision on.
        Raises NotFound, or Invalid with every mistake."""
        key = function_key(namespace, name)
        async with self._locked([key]):
            revision = self.get(namespace, name)
            tuning = change(self._functions[key].tuning)
            problems = list(self._scalings.tuning_problems(revision, tuning))
            if problems:
                raise Invalid(*problems)
            stored = msgspec.structs.replace(self._functions[key], tuning=tuning)
            await self._store.put_functions([stored])
            self._functions[key] = stored
            self._scalings.put(stored.revision, tuning)
            self._fleet.rescale(stored.revision)
        log.info("scaling set", extra={"function": key, "scaling": msgspec.to_builtins(tuning)})
        return revision

    async def put_default(self, namespace: str, said: Mapping[str, ScalingValue]) -> None:
        """The scaling of the namespace's functions that say nothing of their own; empty: none. Raises Invalid."""
        problems = [*_name_problems("namespace", namespace), *scaling_problems(said)]
        if problems:
            raise Invalid(*problems)
        await self._store.put_default(namespace, said)
        self._scalings.put_default(namespace, said)
        for revision in self.functions(namespace):
            self._fleet.rescale(revision)

    # -- deleting -------------------------------------------------------------------------------------------

    async def delete(self, namespace: str, name: str) -> None:
        """Raises NotFound."""
        key = function_key(namespace, name)
        async with self._locked([key]):
            if not await self._store.delete_function(key):
                raise NotFound(f"no function {name!r} in namespace {namespace!r}")
            self._deleted_up_to[key] = self._last_number.get(key, 0)
            del self._functions[key]
            self._fleet.remove(key)
            self._scalings.forget(key)
            for verification in self._verified.get(key, ()):
                verification.failed(_deleted(key))
        log.info("function deleted", extra={"function": key})

    # -- what is learned later ------------------------------------------------------------------------------

    def _loaded(self, revision: Revision, style: Style, is_async: bool) -> None:
        learned = msgspec.structs.replace(revision, style=style, is_async=is_async)
        self._fleet.learn(learned)
        self._learned[revision.id] = learned
        self._has_work.set()

    def _emptied(self, revision: Revision) -> None:
        """No instance of it is left and none will come: its user is free again, its package may be of no use."""
        uid = self._uid_by_revision.pop(revision.id, None)
        if uid is not None:
            self._uids.give_back(uid)
            self._fleet.layers.drop(revision)
            self._drop_package(revision.namespace, revision.package)

    def _drop_package(self, namespace: str, package: str) -> None:
        self._packages.drop(namespace, package)
        self._has_work.set()

    async def run(self) -> None:
        """Write down what loading has shown, and remove packages of no use, behind the calls. A crash loses only what
        the next start shows again, and the next engine removes what this one did not."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_work.wait(), LOOK_EVERY_S)
            self._has_work.clear()
            learned, self._learned = self._learned, {}
            with suppress(StoreFailed):
                await self._keep_styles(list(learned.values()))
            if not await self._packages.clear():
                self._has_work.set()
            await asyncio.sleep(LEARNED_EVERY_S)

    async def _keep_styles(self, revisions: Sequence[Revision]) -> None:
        async with self._locked(revision.key for revision in revisions):
            fresh = []
            for revision in revisions:
                stored = self._functions.get(revision.key)
                if stored is not None and stored.revision.id == revision.id and stored.revision != revision:
                    fresh.append(msgspec.structs.replace(stored, revision=revision))
            if fresh:
                await self._store.put_functions(fresh)
            for each in fresh:
                self._functions[each.revision.key] = each


def _deleted(key: FunctionKey) -> Conflict:
    return Conflict(f"{key} was deleted while it was being deployed")


def _name_problems(kind: str, name: str) -> Iterator[str]:
    try:
        check_name(kind, name)
    except Invalid as fault:
        yield from fault.problems


def _first(faults: BaseExceptionGroup[CorralError]) -> CorralError:
    for fault in faults.exceptions:
        return _first(fault) if isinstance(fault, BaseExceptionGroup) else fault
    raise AssertionError("an exception group is never empty")


def _together(faults: Sequence[tuple[Revision, CorralError]], asked: int) -> CorralError:
    """One fault for a request: as it is when one function was asked for, else naming each function."""
    if asked == 1:
        return faults[0][1]
    sentences = "\n".join(f"functions.{revision.name}: {fault.message}" for revision, fault in faults)
    if any(isinstance(fault, Conflict) for _, fault in faults):
        return Conflict(sentences)
    if all(isinstance(fault, BuildFailed) for _, fault in faults):
        outputs = [f"{each.name}:\n{fault.output}" for each, fault in faults if isinstance(fault, BuildFailed)]
        return BuildFailed(sentences, output="\n".join(outputs))
    if not all(isinstance(fault, LoadFailed) for _, fault in faults):
        return Unavailable(sentences)
    tracebacks = [f"{each.name}:\n{fault.traceback}" for each, fault in faults if isinstance(fault, LoadFailed)]
    return LoadFailed(sentences, traceback="\n".join(tracebacks))
