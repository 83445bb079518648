"""The shell around the Roster: what gateways and keeper say becomes its events. Orders carry out its actions."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from corral import link, roster
from corral.clock import Clock
from corral.config import Budget
from corral.engine.codes import Codes
from corral.engine.followers import Followers
from corral.engine.history import ExitSeen, History
from corral.engine.layers import Layers
from corral.engine.lifecycle import Lifecycle
from corral.engine.links import Links, Peer
from corral.engine.node import Node
from corral.engine.orders import Orders
from corral.engine.recorder import Recorder
from corral.engine.revisions import Revisions
from corral.engine.running import Instances, Running
from corral.engine.scalings import Scalings
from corral.errors import LoadFailed, SandboxFailed
from corral.model import (
    ExitCause,
    FunctionKey,
    GatewayId,
    InstanceId,
    Observation,
    Revision,
    RevisionId,
    Style,
    key_of,
)
from corral.ports import StoredToken
from corral.roster import Admission, InstanceView, MemoryView, Roster

log = logging.getLogger("corral.engine.fleet")

ENDED_ON_PURPOSE = frozenset({ExitCause.STOPPED, ExitCause.REMOVED, ExitCause.KEEPER_LOST})
DROPPED_GRACE_S = 0.5
"""A gateway often sees a death before the keeper has found its cause; after this time the end is ours to bring."""


class Fleet:
    """See the module. `loaded(revision, style, is_async)` is called when loading the code has shown something new,
    `called(function, second)` when a deployed function had calls."""

    def __init__(self, plan: Roster, clock: Clock, history: History, budget: Budget) -> None:
        self._roster, self._clock, self.history = plan, clock, history
        self._budget = budget
        self.scalings = Scalings()
        self.loaded: Callable[[Revision, Style, bool], None] = lambda *_: None
        self.called: Callable[[FunctionKey, Observation], None] = lambda *_: None
        self.tokens: Callable[[], Sequence[StoredToken]] = lambda: ()
        self._links = Links()
        self._revisions = Revisions(self._links)
        self._codes = Codes()
        self.followers = Followers(self._links, clock)
        self.layers = Layers(self._links)
        self.recorder = Recorder(plan, self._links, self._revisions, clock)
        self._running = Instances()
        self.node = Node()
        self._orders = Orders(plan, clock, history, self._links, self._revisions, self._running, self.node, self._codes)
        self.lifecycle = Lifecycle(
            plan, clock, history, self._links, self._revisions, self._running, self._codes, self.scalings, self._orders
        )
        self._unheard: dict[InstanceId, link.Gone] = {}
        """Ends of instances that an engine before us started, until a gateway is there: one may hold them."""

    # -- what is stored -------------------------------------------------------------------------------------

    def remember(self, working_sets: Mapping[RevisionId, int]) -> None:
        """What an earlier engine learned of restored revisions, in MiB."""
        now = self._clock.monotonic()
        for revision, memory_mib in working_sets.items():
            self._orders.carry_out(self._roster.remembered(revision, memory_mib, now), now)

    def recalled(self, key: FunctionKey, engine: str, idle_minutes: Mapping[int, int]) -> None:
        """What was written down of a function's idle times, for the rule of this engine."""
        now = self._clock.monotonic()
        self._orders.carry_out(self._roster.recalled(key, engine, idle_minutes, now), now)

    def put_token(self, token: StoredToken) -> None:
        self._links.tell_gateways(link.TokenPut(token.digest, list(token.namespaces), token.invoke))

    def drop_token(self, digest: str) -> None:
        self._links.tell_gateways(link.TokenPut(digest, [], False))

    def when_learned(self, tell: Callable[[RevisionId, int], None]) -> None:
        """`tell(revision, mib)` when it turned out what an instance uses."""
        self._orders.learned = tell

    # -- what people see ------------------------------------------------------------------------------------

    def instances(self, revision: RevisionId) -> Sequence[InstanceView]:
        return self._roster.instances(revision)

    def instances_of(self, key: FunctionKey) -> Sequence[tuple[Revision, InstanceView]]:
        """Those of the revisions that the function's calls may go to, oldest revision first."""
        live = [known for each in self._revisions.live(key) if (known := self._revisions.get(each)) is not None]
        return [(known.revision, view) for known in live for view in self._roster.instances(known.revision.id)]

    def have(self, revision: RevisionId) -> int:
        """Instances that serve or will."""
        return sum(each.state in ("ready", "starting") for each in self._roster.instances(revision))

    @property
    def instance_count(self) -> int:
        return len(self._running)

    def seen(self) -> Iterator[FunctionKey]:
        """Functions of which anything was asked, or runs, since the engine began."""
        keys = dict.fromkeys([*self.history.functions(), *map(key_of, self._running.revisions())])
        return (key for key in keys if self._revisions.is_deployed(key))

    def why(self, revision: RevisionId) -> roster.Decided | None:
        return self._roster.why(revision)

    def revision_of(self, instance: InstanceId) -> RevisionId | None:
        running = self._running.get(instance)
        return None if running is None else running.revision

    def memory(self, revision: RevisionId) -> MemoryView | None:
        return self._roster.memory(revision)

    def shortage(self, revision: RevisionId) -> str | None:
        """Why its starts wait; None: they don't."""
        memory = self._roster.memory(revision)
        return None if memory is None else memory.shortage

    @property
    def admission(self) -> Admission:
        """What the machine's memory allows, and who waits for it."""
        return self._roster.admission

    @property
    def has_keeper(self) -> bool:
        return self._links.keeper is not None

    @property
    def gateways(self) -> Sequence[GatewayId]:
        return tuple(self._links.gateways)

    # -- gateways -------------------------------------------------------------------------------------------

    def gateway_up(self, gateway: GatewayId, peer: Peer, holding: link.Holding) -> None:
        now = self._clock.monotonic()
        self._links.gateways[gateway] = peer
        for message in self._revisions.told():
            peer.send(message)
        for token in self.tokens():
            peer.send(link.TokenPut(token.digest, list(token.namespaces), token.invoke))
        self.followers.gateway_up(peer)
        self.recorder.gateway_up(peer)
        peer.send(link.Synced())
        held = {
            revision: [instance for instance in instances if instance not in self._unheard]
            for revision, instances in holding.instances.items()
        }
        for gone in self._unheard.values():
            peer.send(gone)
        self._unheard.clear()
        for revision, instances in held.items():
            for instance in instances:
                self._running.adopt(instance, revision).gateway = gateway
        self._orders.carry_out(self._roster.gateway_up(gateway, held, now), now)

    def gateway_down(self, gateway: GatewayId) -> None:
        now = self._clock.monotonic()
        del self._links.gateways[gateway]
        self._orders.carry_out(self._roster.gateway_down(gateway, now), now)

    def want(self, gateway: GatewayId, message: link.Want) -> None:
        now = self._clock.monotonic()
        actions = self._roster.want(
            gateway, message.revision, message.waiting, message.executing, message.oldest_wait_s, now
        )
        self._orders.carry_out(actions, now, message.waited)

    def observed(self, gateway: GatewayId, message: link.Observed) -> None:
        now = self._clock.monotonic()
        for revision, seen in message.observations.items():
            self._orders.carry_out(self._roster.observed(gateway, revision, seen, now), now)
            if self._revisions.is_deployed(key_of(revision)):
                self.history.observed(key_of(revision), seen)
                self.called(key_of(revision), seen)

    def ready(self, message: link.Ready) -> None:
        now = self._clock.monotonic()
        running = self._running.get(message.instance)
        if running is None:
            return
        actions = self._roster.ready(message.instance, message.concurrency, now, _load_s(message.stamps))
        self._orders.carry_out(actions, now)
        if not self._roster.is_measured(running.revision):
            self._links.tell_keeper(link.Measure(message.instance))
        known = self._revisions.get(running.revision)
        if running.is_ready or known is None:
            return
        running.is_ready = True
        self.history.ready(known.revision.key, message.instance, message.stamps, self._clock.wall())
        if message.code is not None:
            self._codes.keep(running.revision, message.code)
        if (message.style, message.is_async) != (known.revision.style, known.revision.is_async):
            self.loaded(known.revision, message.style, message.is_async)
        for verification in known.verifications:
            verification.ready()
        log.info("instance ready", extra={"instance": message.instance, "revision": running.revision})

    def failed(self, message: link.Failed) -> None:
        self._load_failed(message.instance, LoadFailed(message.error, traceback=message.traceback))

    def released(self, message: link.Released) -> None:
        now = self._clock.monotonic()
        self._orders.carry_out(self._roster.released(message.instance, now), now)

    def overrun(self, message: link.Overrun) -> None:
        now = self._clock.monotonic()
        self._orders.carry_out(self._roster.overrun(message.instance, now), now)

    def dropped(self, message: link.Dropped) -> None:
        asyncio.get_running_loop().call_later(DROPPED_GRACE_S, self._end_dropped, message.instance)

    def call_lost(self, message: link.CallLost) -> None:
        key = key_of(message.revision)
        if self._revisions.is_deployed(key):  # else its log goes, or is gone
            self._links.tell_keeper(link.Note(key, message.instance, message.request, message.why))

    def _end_dropped(self, instance: InstanceId) -> None:
        if instance in self._running:
            log.warning("instance broke its connection and lives on: it is ended", extra={"instance": instance})
            self._links.tell_keeper(link.Stop(instance, ExitCause.CRASHED))

    # -- keeper ---------------------------------------------------------------------------------------------

    def keeper_up(self, peer: Peer, inventory: link.Inventory) -> None:
        now = self._clock.monotonic()
        self._links.keeper, self.node.inventory = peer, inventory
        self.node.kept = dict(inventory.zygotes)
        self.followers.keeper_up()
        self.layers.keeper_up()
        self.lifecycle.keeper_up()
        for exited in inventory.exited:
            self.exited(exited)
        for instance in [each for each in self._running if each not in inventory.instances]:
            self._ended(link.Exited(instance, ExitCause.KEEPER_LOST, "the keeper was restarted"))
        for instance, revision in inventory.instances.items():
            self._running.adopt(instance, revision).address = inventory.addresses.get(instance)
        actions = self._roster.keeper_up(
            inventory.instances,
            now,
            budget_mib=self._budget.limit_mib(inventory.memory_mib),
            zygotes=inventory.zygotes if inventory.keeps_zygotes else None,
        )
        self._orders.carry_out(actions, now)

    def keeper_down(self) -> None:
        now = self._clock.monotonic()
        self._links.keeper = None
        self.layers.keeper_down()
        self.node.keeper_down()
        self._orders.carry_out(self._roster.keeper_down(now), now)

    def started(self, message: link.Started) -> None:
        running = self._running.get(message.instance)
        if running is None or running.address is not None:
            return
        running.address = message.address
        self._orders.assign(message.instance, running, fresh=True)

    def exited(self, message: link.Exited) -> None:
        now = self._clock.monotonic()
        running = self._running.get(message.instance)
        if running is not None and not running.is_ready and message.cause not in ENDED_ON_PURPOSE:
            self._never_ready(message, running)
        self._ended(message)
        if message.memory_peak_mib:
            self._orders.carry_out(self._roster.measured({message.instance: message.memory_peak_mib}, {}, now), now)
        self._orders.carry_out(self._roster.lost(message.instance, now), now)

    def used(self, message: link.Used) -> None:
        now = self._clock.monotonic()
        self.node.took(message)
        self._orders.carry_out(self._roster.used(message.instances, message.zygotes, now), now)

    def measured(self, message: link.Measured) -> None:
        now = self._clock.monotonic()
        self._orders.carry_out(self._roster.measured({message.instance: message.memory_mib}, {}, now), now)

    def zygote_kept(self, message: link.ZygoteKept) -> None:
        now = self._clock.monotonic()
        self.node.zygote_kept(message)
        actions = self._roster.zygote_kept(message.revision, message.memory_mib, message.load_s, now)
        self._orders.carry_out(actions, now)
        if self.lifecycle.knows(message.revision):
            self.history.zygote(key_of(message.revision), f"kept: it saves {message.load_s * 1000:.0f} ms a start")

    def zygote_gone(self, message: link.ZygoteGone) -> None:
        now = self._clock.monotonic()
        self.node.zygote_gone(message)
        self._orders.carry_out(self._roster.zygote_gone(message.revision, message.is_unsafe, now), now)
        if self.lifecycle.knows(message.revision):
            self.history.zygote(key_of(message.revision), f"none: {message.why}")
        log.info("zygote of a revision gone", extra={"revision": message.revision, "why": message.why})

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
        known = self._revisions.get(running.revision)
        self._orders.carry_out(self._roster.failed(instance, fault.message, kind, now), now)
        for verification in () if known is None else known.verifications:
            verification.failed(fault)
        if known is not None and self._revisions.is_live(known.revision):
            self.history.failed(known.revision.key, fault.message)
        log.warning("instance failed", extra={"instance": instance, "revision": running.revision, "why": fault.message})

    def _ended(self, message: link.Exited) -> None:
        """Forget the instance and tell who has to know. The Roster is told by the caller."""
        running = self._running.remove(message.instance)
        self.node.used.pop(message.instance, None)
        revision = message.revision if running is None else running.revision
        if revision is None:
            return
        gone = link.Gone(message.instance, message.cause, message.detail)
        if running is not None:
            self._links.tell_gateway(running.gateway, gone)
        elif self.gateways:
            self._links.tell_gateways(gone)
        else:
            self._unheard[message.instance] = gone
        key = key_of(revision)
        seen = ExitSeen(
            instance=message.instance,
            cause=message.cause,
            detail=message.detail,
            at=self._clock.wall(),
            memory_peak_mib=message.memory_peak_mib,
        )
        self.history.exited(key if self._revisions.is_deployed(key) else None, seen, message.cpu_s)
        log.info("instance ended", extra={"instance": message.instance, "cause": message.cause, "why": message.detail})
        self.lifecycle.check_left(revision)

    def close(self) -> None:
        self._orders.close()


def _load_s(stamps: Mapping[str, float]) -> float:
    """What an instance says it spent on loading its code; 0.0 when it does not say."""
    return max(0.0, stamps.get("loaded", 0.0) - stamps["dressed"]) if "dressed" in stamps else 0.0
