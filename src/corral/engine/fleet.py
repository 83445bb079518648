"""The shell around the Roster: what gateways and keeper say becomes its events, its actions become messages.

Between a Want and its Start and Assign there is no await, no disk and no log line: a waiting call pays for it."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from corral import link, roster
from corral.clock import Clock
from corral.engine.history import ExitSeen, History
from corral.engine.verification import Verification
from corral.errors import LoadFailed, SandboxFailed
from corral.model import ExitCause, FunctionKey, GatewayId, InstanceId, Revision, RevisionId, SlotId, Style, key_of
from corral.ports import StoredToken
from corral.roster import InstanceView, Roster, Scaling

log = logging.getLogger("corral.engine.fleet")

ENDED_ON_PURPOSE = frozenset({ExitCause.STOPPED, ExitCause.REMOVED, ExitCause.KEEPER_LOST})
DROPPED_GRACE_S = 0.5
"""A gateway often sees a death before the keeper has found its cause; after this time the end is ours to bring."""


class Peer(Protocol):
    """Where messages for a gateway or the keeper go."""

    def send(self, message: link.Message) -> None: ...


class Known:
    """A revision the gateways know."""

    __slots__ = ("has_code", "is_serving", "revision", "verification")

    def __init__(self, revision: Revision, verification: Verification | None, is_serving: bool) -> None:
        self.revision = revision
        self.is_serving = is_serving
        self.verification = verification
        self.has_code = False
        """Whether DATA/code holds its marshalled entry module."""


class Running:
    """An instance, from its Start until everything of it is gone."""

    __slots__ = ("address", "gateway", "has_failed", "is_ready", "revision")

    def __init__(self, revision: RevisionId, address: str | None, is_ready: bool) -> None:
        self.revision = revision
        self.address = address
        """None: in no prepared slot, and not forked yet."""
        self.gateway: GatewayId | None = None
        self.is_ready = is_ready
        self.has_failed = False


class Fleet:
    """See the module. `loaded(revision, style, is_async, code)` is called when an instance has loaded its code,
    `emptied(revision)` when a revision that was given up has no instance left."""

    def __init__(self, plan: Roster, clock: Clock, history: History) -> None:
        self._roster, self._clock, self.history = plan, clock, history
        self.loaded: Callable[[Revision, Style, bool, bytes | None], None] = lambda *_: None
        self.emptied: Callable[[Revision], None] = lambda _: None
        self.tokens: Callable[[], Sequence[StoredToken]] = lambda: ()
        self._known: dict[RevisionId, Known] = {}
        self._serving: dict[FunctionKey, RevisionId] = {}
        self._leaving: dict[RevisionId, Revision] = {}
        self._running: dict[InstanceId, Running] = {}
        self._gateways: dict[GatewayId, Peer] = {}
        self._keeper: Peer | None = None
        self._slots: deque[tuple[SlotId, str]] = deque()
        self._followers: dict[FunctionKey, list[asyncio.Event]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.inventory: link.Inventory | None = None
        """What the keeper said of itself at its last connect; None: none came yet."""
        self.zygotes: dict[str, int] = {}
        """Runtime -> pid."""
        self.used: dict[InstanceId, tuple[float, float]] = {}
        """Instance -> (cpu seconds in all, memory in MiB now)."""

    # -- what is deployed -----------------------------------------------------------------------------------

    def restore(self, revisions: Iterable[Revision]) -> None:
        """At start, before anybody is connected."""
        now = self._clock.monotonic()
        for revision in revisions:
            self._know(revision, None, is_serving=True)
            self._apply(self._roster.deployed(revision.id, scaling_of(revision, initial=0), now), now)
            self._apply(self._roster.settled(revision.id, now), now)

    def prepare(self, revision: Revision) -> Verification:
        """Start the instances that must load before the deployment counts. Calls still go where they went."""
        now = self._clock.monotonic()
        verification = Verification(revision.spec.initial)
        self._know(revision, verification, is_serving=False)
        scaling = scaling_of(revision, initial=revision.spec.initial)
        self._apply(self._roster.deployed(revision.id, scaling, now), now)
        return verification

    def serve(self, revision: Revision) -> None:
        """From now on the function's calls go to this revision; the one before is drained."""
        now = self._clock.monotonic()
        known = self._known.get(revision.id)
        before = self._serving.get(revision.key)
        if known is None:
            self._know(revision, None, is_serving=True)
            self._apply(self._roster.deployed(revision.id, scaling_of(revision, initial=0), now), now)
        else:
            # What loading it has shown stays; only the flag is new.
            known.verification, known.is_serving = None, True
            self._serving[revision.key] = revision.id
            self._tell_gateways(link.RoutePut(known.revision, True))
        self._apply(self._roster.settled(revision.id, now), now)
        if before is not None and before != revision.id:
            self._leave(before, now)

    def abandon(self, revision: RevisionId) -> None:
        """Its deployment failed. It never served, so its instances have no calls to finish."""
        self._leave(revision, self._clock.monotonic())
        self._tell_gateways(link.RevisionDrop(revision))
        for instance, running in self._running.items():
            if running.revision == revision:
                self._tell_keeper(link.Stop(instance, ExitCause.REMOVED))
        if key_of(revision) not in self._serving:
            self._tell_keeper(link.Forget(key_of(revision)))

    def remove(self, key: FunctionKey) -> None:
        """The function was deleted."""
        serving = self._serving.pop(key, None)
        if serving is None:
            return
        self._tell_gateways(link.RouteDrop(key))
        self._leave(serving, self._clock.monotonic())
        self._tell_keeper(link.Forget(key))
        self.history.forget(key)

    def learn(self, revision: Revision) -> None:
        """The same revision with what loading it has shown. Of that, gateways go by the concurrency alone."""
        known = self._known.get(revision.id)
        if known is None:
            return
        before, known.revision = known.revision, revision
        if revision.concurrency != before.concurrency:
            self._tell_gateways(link.RoutePut(revision, known.is_serving))

    def code_kept(self, revision: RevisionId) -> None:
        """Its marshalled entry module is on disk from now on."""
        if revision in self._known:
            self._known[revision].has_code = True

    def put_token(self, token: StoredToken) -> None:
        self._tell_gateways(link.TokenPut(token.digest, list(token.namespaces), token.invoke))

    def drop_token(self, digest: str) -> None:
        self._tell_gateways(link.TokenPut(digest, [], False))

    def knows(self, revision: RevisionId) -> bool:
        return revision in self._known

    def known(self, revision: Revision) -> Revision:
        """The same revision with what loading it has shown so far."""
        known = self._known.get(revision.id)
        return revision if known is None else known.revision

    # -- what people see ------------------------------------------------------------------------------------

    def instances(self, revision: RevisionId) -> Sequence[InstanceView]:
        return self._roster.instances(revision)

    def why(self, revision: RevisionId) -> roster.Decided | None:
        return self._roster.why(revision)

    def revision_of(self, instance: InstanceId) -> RevisionId | None:
        running = self._running.get(instance)
        return None if running is None else running.revision

    @property
    def has_keeper(self) -> bool:
        return self._keeper is not None

    @property
    def gateways(self) -> Sequence[GatewayId]:
        return tuple(self._gateways)

    @property
    def slots_ready(self) -> int:
        return len(self._slots)

    @contextlib.contextmanager
    def follow(self, key: FunctionKey) -> Iterator[asyncio.Event]:
        """An event that is set whenever the function's log has grown; the reader clears it."""
        grown = asyncio.Event()
        followers = self._followers.setdefault(key, [])
        followers.append(grown)
        if len(followers) == 1:
            self._tell_keeper(link.Follow(key, True))
        try:
            yield grown
        finally:
            followers.remove(grown)
            if not followers:
                del self._followers[key]
                self._tell_keeper(link.Follow(key, False))

    # -- gateways -------------------------------------------------------------------------------------------

    def gateway_up(self, gateway: GatewayId, peer: Peer, holding: link.Holding) -> None:
        now = self._clock.monotonic()
        self._gateways[gateway] = peer
        for known in self._known.values():
            peer.send(link.RoutePut(known.revision, known.is_serving))
        for token in self.tokens():
            peer.send(link.TokenPut(token.digest, list(token.namespaces), token.invoke))
        peer.send(link.Synced())
        for revision, instances in holding.instances.items():
            for instance in instances:
                running = self._running.setdefault(instance, Running(revision, None, is_ready=True))
                running.gateway = gateway
        self._apply(self._roster.gateway_up(gateway, holding.instances, now), now)

    def gateway_down(self, gateway: GatewayId) -> None:
        now = self._clock.monotonic()
        del self._gateways[gateway]
        self._apply(self._roster.gateway_down(gateway, now), now)

    def want(self, gateway: GatewayId, message: link.Want) -> None:
        now = self._clock.monotonic()
        actions = self._roster.want(
            gateway, message.revision, message.waiting, message.executing, message.oldest_wait_s, now
        )
        self._apply(actions, now, message.waited)

    def observed(self, gateway: GatewayId, message: link.Observed) -> None:
        now = self._clock.monotonic()
        for revision, seen in message.observations.items():
            self._apply(self._roster.observed(gateway, revision, seen, now), now)
            if key_of(revision) in self._serving:
                self.history.observed(key_of(revision), seen)

    def ready(self, message: link.Ready) -> None:
        now = self._clock.monotonic()
        running = self._running.get(message.instance)
        if running is None:
            return
        self._apply(self._roster.ready(message.instance, message.concurrency, now), now)
        known = self._known.get(running.revision)
        if running.is_ready or known is None:
            return
        running.is_ready = True
        self.history.ready(known.revision.key, message.instance, message.stamps, self._clock.wall())
        self.loaded(known.revision, message.style, message.is_async, message.code)
        if known.verification is not None:
            known.verification.ready()
        log.info("instance ready", extra={"instance": message.instance, "revision": running.revision})

    def failed(self, message: link.Failed) -> None:
        self._load_failed(message.instance, LoadFailed(message.error, traceback=message.traceback))

    def released(self, message: link.Released) -> None:
        now = self._clock.monotonic()
        self._apply(self._roster.released(message.instance, now), now)

    def overrun(self, message: link.Overrun) -> None:
        now = self._clock.monotonic()
        self._apply(self._roster.overrun(message.instance, now), now)

    def dropped(self, message: link.Dropped) -> None:
        asyncio.get_running_loop().call_later(DROPPED_GRACE_S, self._end_dropped, message.instance)

    def _end_dropped(self, instance: InstanceId) -> None:
        if instance in self._running:
            log.warning("instance broke its connection and lives on: it is ended", extra={"instance": instance})
            self._tell_keeper(link.Stop(instance, ExitCause.CRASHED))

    # -- keeper ---------------------------------------------------------------------------------------------

    def keeper_up(self, peer: Peer, inventory: link.Inventory) -> None:
        now = self._clock.monotonic()
        self._keeper, self.inventory = peer, inventory
        for key in self._followers:
            peer.send(link.Follow(key, True))
        for instance in [each for each in self._running if each not in inventory.instances]:
            self._ended(link.Exited(instance, ExitCause.KEEPER_LOST, "the keeper was restarted"))
        for instance, revision in inventory.instances.items():
            address = inventory.addresses.get(instance)
            running = self._running.setdefault(instance, Running(revision, address, is_ready=True))
            running.address = address
        self._apply(self._roster.keeper_up(inventory.instances, now), now)

    def keeper_down(self) -> None:
        now = self._clock.monotonic()
        self._keeper = None
        self._slots.clear()
        self.zygotes.clear()
        self.used.clear()
        self._apply(self._roster.keeper_down(now), now)

    def slot_ready(self, message: link.SlotReady) -> None:
        self._slots.append((message.slot, message.address))

    def started(self, message: link.Started) -> None:
        running = self._running.get(message.instance)
        if running is None or running.address is not None:
            return
        running.address = message.address
        self._assign(message.instance, running, fresh=True)

    def exited(self, message: link.Exited) -> None:
        now = self._clock.monotonic()
        running = self._running.get(message.instance)
        if running is not None and not running.is_ready and message.cause not in ENDED_ON_PURPOSE:
            self._never_ready(message, running)
        self._ended(message)
        self._apply(self._roster.lost(message.instance, now), now)

    def took(self, message: link.Used) -> None:
        self.used = message.instances

    def zygote_up(self, message: link.ZygoteUp) -> None:
        self.zygotes[message.runtime] = message.pid

    def zygote_down(self, message: link.ZygoteDown) -> None:
        self.zygotes.pop(message.runtime, None)
        log.warning("zygote ended", extra={"runtime": message.runtime, "detail": message.detail})

    def log_grew(self, message: link.LogGrew) -> None:
        for grown in self._followers.get(message.key, ()):
            grown.set()

    # -- how instances end ----------------------------------------------------------------------------------

    def _load_failed(self, instance: InstanceId, fault: LoadFailed) -> None:
        running = self._running.get(instance)
        if running is None or running.has_failed:
            return
        running.has_failed = True
        self._fail(instance, running, fault, "load")

    def _never_ready(self, message: link.Exited, running: Running) -> None:
        """It ended before it could serve, without a word through its gateway."""
        if running.has_failed:
            return
        running.has_failed = True
        if message.cause is ExitCause.START_FAILED:
            self._fail(message.instance, running, SandboxFailed(message.detail), "start")
            return
        sentence = f"the instance ended while it loaded the code ({message.cause}): {message.detail}"
        self._fail(message.instance, running, LoadFailed(sentence), "load")

    def _fail(self, instance: InstanceId, running: Running, fault: LoadFailed | SandboxFailed, kind: str) -> None:
        now = self._clock.monotonic()
        known = self._known.get(running.revision)
        self._apply(self._roster.failed(instance, fault.message, kind, now), now)
        if known is not None and known.verification is not None:
            known.verification.failed(fault)
        if known is not None and known.is_serving:
            self.history.failed(known.revision.key, fault.message)
        log.warning("instance failed", extra={"instance": instance, "revision": running.revision, "why": fault.message})

    def _ended(self, message: link.Exited) -> None:
        """Forget the instance and tell who has to know. The Roster is told by the caller."""
        running = self._running.pop(message.instance, None)
        self.used.pop(message.instance, None)
        if running is None:
            return
        gateway = self._gateways.get(running.gateway) if running.gateway is not None else None
        if gateway is not None:
            gateway.send(link.Gone(message.instance, message.cause, message.detail))
        key = key_of(running.revision)
        seen = ExitSeen(
            instance=message.instance,
            cause=message.cause,
            detail=message.detail,
            at=self._clock.wall(),
            memory_peak_mib=message.memory_peak_mib,
        )
        self.history.exited(key if key in self._serving else None, seen, message.cpu_s)
        log.info("instance ended", extra={"instance": message.instance, "cause": message.cause, "why": message.detail})
        self._check_left(running.revision)

    # -- revisions ------------------------------------------------------------------------------------------

    def _know(self, revision: Revision, verification: Verification | None, is_serving: bool) -> None:
        known = Known(revision, verification, is_serving)
        self._known[revision.id] = known
        if is_serving:
            self._serving[revision.key] = revision.id
        self._tell_gateways(link.RoutePut(revision, is_serving))

    def _leave(self, revision: RevisionId, now: float) -> None:
        known = self._known.pop(revision)
        self._leaving[revision] = known.revision
        self._apply(self._roster.removed(revision, now), now)
        self._check_left(revision)

    def _check_left(self, revision: RevisionId) -> None:
        if revision in self._leaving and not any(each.revision == revision for each in self._running.values()):
            self.emptied(self._leaving.pop(revision))

    # -- the Roster's actions -------------------------------------------------------------------------------

    def _apply(self, actions: Iterable[roster.Action], now: float, waited: float = 0.0) -> None:
        decisions: list[roster.Decided] = []
        for action in actions:
            if isinstance(action, roster.Start):
                self._start(action, now, waited)
            elif isinstance(action, roster.Assign):
                self._give(action)
            elif isinstance(action, roster.Decided):
                decisions.append(action)
            else:
                self._pass_on(action)
        self._rearm()
        for decision in decisions:
            self._show(decision)

    def _start(self, action: roster.Start, now: float, waited: float) -> None:
        known = self._known.get(action.revision)
        if known is None or self._keeper is None:
            return
        slot, address = self._slots.popleft() if self._slots else (None, None)
        self._running[action.instance] = Running(action.revision, address, is_ready=False)
        stamps = {"waited": waited, "decided": now} if waited else {"decided": now}
        self._keeper.send(link.Start(action.instance, slot, known.revision, known.has_code, stamps))
        self.history.starts += 1

    def _give(self, action: roster.Assign) -> None:
        running = self._running.get(action.instance)
        if running is None:
            return
        running.gateway = action.gateway
        if running.address is not None:
            self._assign(action.instance, running, action.fresh)

    def _assign(self, instance: InstanceId, running: Running, fresh: bool) -> None:
        gateway = self._gateways.get(running.gateway) if running.gateway is not None else None
        if gateway is not None and running.address is not None:
            gateway.send(link.Assign(instance, running.revision, running.address, fresh))

    def _pass_on(self, action: roster.Release | roster.Retire | roster.Stop | roster.Block) -> None:
        if isinstance(action, roster.Stop):
            self._tell_keeper(link.Stop(action.instance, action.cause))
        elif isinstance(action, roster.Block):
            self._tell_gateways(link.Block(action.revision, action.error, action.until, action.kind))
        else:
            gateway = self._gateways.get(action.gateway)
            if gateway is None:
                return
            if isinstance(action, roster.Release):
                gateway.send(link.Release(action.revision, action.count))
            else:
                gateway.send(link.Retire(action.instance))

    def _show(self, decision: roster.Decided) -> None:
        key = key_of(decision.revision)
        if key in self._serving:
            self.history.decided(key, decision, self._clock.wall())
        fields = {"revision": decision.revision, "desired": decision.desired, "have": decision.have}
        log.info("scaling decided", extra=fields | {"why": decision.why})

    def _tell_gateways(self, message: link.Message) -> None:
        for gateway in self._gateways.values():
            gateway.send(message)

    def _tell_keeper(self, message: link.Message) -> None:
        if self._keeper is not None:
            self._keeper.send(message)

    # -- time -----------------------------------------------------------------------------------------------

    def _rearm(self) -> None:
        """One timer, at the Roster's `next_at`."""
        next_at = self._roster.next_at
        if self._timer is not None:
            if next_at == self._timer_at:
                return
            self._timer.cancel()
            self._timer = None
        if next_at is not None:
            self._timer_at = next_at
            delay = max(0.0, next_at - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        next_at = self._roster.next_at
        # The loop's timers have millisecond steps and may be early: the Roster is asked only when it is time.
        actions = self._roster.tick(now) if next_at is not None and next_at <= now else ()
        self._apply(actions, now)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def scaling_of(revision: Revision, initial: int) -> Scaling:
    """What the Roster has to know of it. `initial` counts only while its deployment is verified."""
    spec = revision.spec
    return Scaling(min=spec.min, max=spec.max, initial=initial, idle_s=spec.idle_s, concurrency=revision.concurrency)
