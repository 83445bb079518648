"""Deployments: what is asked for is checked, becomes a revision, proves that its code loads, and only then takes calls.
When anything fails, nothing of it stays and what served before goes on serving."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

import msgspec

from corral.clock import Clock
from corral.engine import traffic
from corral.engine.changes import Change
from corral.engine.fleet import Fleet
from corral.engine.holdings import Holdings
from corral.engine.installation import Installation
from corral.engine.rollout import Rollout, together
from corral.errors import PROBLEMS_MAX, CorralError, Invalid
from corral.model import FunctionKey, FunctionSpec, Revision, check_name, function_key, revision_id
from corral.ports import Needed, Packages, Store, StoredFunction

VERIFY_S = 60.0
"""How long a change waits for code to load when it does not say otherwise."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One function as its owner wants it."""

    name: str
    package: str
    spec: FunctionSpec
    tag: str | None = None
    """Of the new revision from now on."""
    takes_calls: bool = True
    """False: it is only kept, for a tag or a later change of traffic."""


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that is deployed."""

    revision: Revision
    percent: int
    """Of the function's calls."""
    load_s: float | None
    """From the first start until enough instances had loaded the code; None: it was not loaded."""


class Deployer:
    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        rollout: Rollout,
        holdings: Holdings,
        installation: Installation,
        packages: Packages,
        clock: Clock,
        *,
        forbids_host: bool = False,
    ) -> None:
        """`forbids_host`: no function may have this machine's network."""
        self._store, self._fleet, self._rollout = store, fleet, rollout
        self._holdings, self._installation, self._packages = holdings, installation, packages
        self._clock, self._forbids_host = clock, forbids_host

    async def deploy(self, namespace: str, asked: Sequence[Asked], timeout_s: float = VERIFY_S) -> Sequence[Deployed]:
        """All or none: the new revisions, on disk and called. Raises Invalid with every mistake; BuildFailed when
        dependencies cannot be installed; LoadFailed when code does not load; Conflict when a later change or a
        deletion overtook it."""
        self._check(namespace, asked)
        changes = [Change(function_key(namespace, each.name), moves_calls=each.takes_calls) for each in asked]
        with self._rollout.changes.begun(changes):
            with self._held(namespace, asked):
                needs = await self._installation.needs(
                    namespace, [(each.name, each.package, each.spec) for each in asked]
                )
                numbers = await self._numbers([change.key for change in changes])
                revisions = self._revisions(namespace, asked, numbers, needs)
            try:
                faults = await self._installation.install(revisions, needs)
                if faults:
                    raise together([(revision.key, fault) for revision, fault in faults], len(revisions))
                for change, each, revision in zip(changes, asked, revisions, strict=True):
                    change.new, change.plan = revision, partial(self._planned, each, revision)
                stored, took_s = await self._rollout.carry_out(changes, timeout_s)
            finally:
                for revision in revisions:
                    self._rollout.let_go(revision)
        return [
            Deployed(
                revision=function.revision(revision.number) or revision,
                percent=traffic.percents(function.traffic).get(revision.number, 0),
                load_s=took_s.get(function.key),
            )
            for function, revision in zip(stored, revisions, strict=True)
        ]

    @contextmanager
    def _held(self, namespace: str, asked: Sequence[Asked]) -> Iterator[None]:
        """The packages that were found stay at least so long."""
        for each in asked:
            self._packages.hold(namespace, each.package)
        try:
            yield
        finally:
            for each in asked:
                self._packages.drop(namespace, each.package)
            self._holdings.dropped()

    # -- what is asked for ----------------------------------------------------------------------------------

    def _check(self, namespace: str, asked: Sequence[Asked]) -> None:
        problems = list(name_problems("namespace", namespace))
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
        yield from name_problems("name", asked.name)
        yield from self._fleet.scalings.deploy_problems(namespace, asked.name, asked.spec)
        budget_mib = self._fleet.admission.limit_mib
        if asked.spec.memory_mib > budget_mib:
            yield (
                f"memory_mib = {asked.spec.memory_mib}, must be at most {int(budget_mib)}: that is what all "
                "functions of this machine may use together (budget.memory)"
            )
        if asked.spec.network == "host" and self._forbids_host:
            yield "network = 'host', must be none: keeper.network_host = forbidden for all functions of this server"
        if asked.tag is not None:
            yield from traffic.tag_problems(asked.tag)
        if not self._packages.has(namespace, asked.package):
            yield f"package = {asked.package[:80]!r}, must be one uploaded to namespace {namespace!r}"

    # -- from asked to a revision ---------------------------------------------------------------------------

    async def _numbers(self, keys: Sequence[FunctionKey]) -> Sequence[int]:
        """Asked for side by side, so that they share a transaction."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._store.next_number(key)) for key in keys]
        except* CorralError as faults:
            raise _first(faults) from None
        return [task.result() for task in tasks]

    def _revisions(
        self, namespace: str, asked: Sequence[Asked], numbers: Sequence[int], needs: Sequence[Needed | None]
    ) -> Sequence[Revision]:
        """Raises Conflict when there are no users left; then none was taken."""
        revisions: list[Revision] = []
        try:
            for each, number, needed in zip(asked, numbers, needs, strict=True):
                key = function_key(namespace, each.name)
                revision = Revision(
                    id=revision_id(key, number),
                    namespace=namespace,
                    name=each.name,
                    number=number,
                    package=each.package,
                    layer=None if needed is None else needed.layer,
                    uid=self._holdings.user_of(key),
                    spec=each.spec,
                    style=each.spec.style,
                    created_at=self._clock.wall(),
                )
                self._holdings.hold(revision)
                revisions.append(revision)
        except CorralError:
            for revision in revisions:
                self._holdings.let_go(revision)
            raise
        return revisions

    def _planned(self, asked: Asked, revision: Revision, before: StoredFunction | None) -> StoredFunction:
        """What the function is with it."""
        if before is None and not asked.takes_calls:
            raise Invalid(f"no_traffic: {revision.key} has no other revision yet, so its first must take all calls")
        problems = traffic.too_many(() if before is None else before.traffic, {asked.tag: 0} if asked.tag else {})
        for problem in problems:
            raise Invalid(problem)
        others = () if before is None else before.revisions
        return StoredFunction(
            revisions=sorted((*others, revision), key=lambda each: each.number),
            traffic=traffic.deployed(
                () if before is None else before.traffic, revision.number, asked.tag, asked.takes_calls
            ),
            proven=() if before is None else before.proven,
            tuning=self._fleet.scalings.tuning(revision) if before is None or asked.takes_calls else before.tuning,
            updated_at=self._clock.wall(),
        )


def name_problems(kind: str, name: str) -> Iterator[str]:
    """A sentence when `name` is no DNS label."""
    try:
        check_name(kind, name)
    except Invalid as fault:
        yield from fault.problems


def _first(faults: BaseExceptionGroup[CorralError]) -> CorralError:
    for fault in faults.exceptions:
        return _first(fault) if isinstance(fault, BaseExceptionGroup) else fault
    raise AssertionError("an exception group is never empty")
