"""What the Roster decides, carried out: its actions become messages, and it is asked again when its time comes.

Between a Want and its Start and Assign there is no await, no disk and no log line: a waiting call pays for it."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from corral import link, roster
from corral.clock import Clock
from corral.engine.codes import Codes
from corral.engine.history import History
from corral.engine.links import Links
from corral.engine.node import Node
from corral.engine.revisions import Revisions
from corral.engine.running import Instances, Running
from corral.model import InstanceId, RevisionId, key_of
from corral.roster import Roster

log = logging.getLogger("corral.engine.orders")

DRIFT_S = 0.05
"""So much the wall clock may go otherwise than ours before the Roster is told."""

PassedOn = (
    roster.Release
    | roster.Retire
    | roster.Stop
    | roster.Block
    | roster.Queued
    | roster.KeepZygote
    | roster.DropZygote
    | roster.Learned
)


class Orders:
    """See the module. `learned(revision, mib)` is called when it turned out what an instance uses."""

    def __init__(
        self,
        plan: Roster,
        clock: Clock,
        history: History,
        links: Links,
        revisions: Revisions,
        running: Instances,
        node: Node,
        codes: Codes,
    ) -> None:
        self._roster, self._clock, self._history = plan, clock, history
        self._links, self._revisions, self._running = links, revisions, running
        self._node, self._codes = node, codes
        self.learned: Callable[[RevisionId, int], None] = lambda *_: None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._wall_offset_s = 0.0
        self._look_at_clock()

    def carry_out(self, actions: Iterable[roster.Action], now: float, waited: float = 0.0) -> None:
        """`waited` is when the oldest call that caused them began to wait; 0.0: none did."""
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
        known = self._revisions.get(action.revision)
        if known is None or self._links.keeper is None:
            return
        slot, address = self._node.take_slot(action.revision)
        self._running.add(action.instance, Running(action.revision, address, is_ready=False))
        stamps = {"waited": waited, "decided": now} if waited else {"decided": now}
        code = self._codes.get(action.revision)
        self._links.tell_keeper(link.Start(action.instance, slot, known.revision, code, stamps))
        self._history.starts += 1

    def _give(self, action: roster.Assign) -> None:
        running = self._running.get(action.instance)
        if running is None:
            return
        running.gateway = action.gateway
        if running.address is not None:
            self.assign(action.instance, running, action.fresh)

    def assign(self, instance: InstanceId, running: Running, fresh: bool) -> None:
        """Give it to its gateway, if its address is known."""
        if running.address is not None:
            assign = link.Assign(instance, running.revision, running.address, fresh)
            self._links.tell_gateway(running.gateway, assign)

    def _pass_on(self, action: PassedOn) -> None:
        if isinstance(action, roster.Stop):
            self._links.tell_keeper(link.Stop(action.instance, action.cause))
        elif isinstance(action, roster.Block):
            self._links.tell_gateways(link.Block(action.revision, action.error, action.until, action.kind))
        elif isinstance(action, roster.Release):
            self._links.tell_gateway(action.gateway, link.Release(action.revision, action.count))
        elif isinstance(action, roster.Queued):
            self._links.tell_gateways(link.Queued(action.revision, action.why))
        elif isinstance(action, roster.KeepZygote):
            self._keep_zygote(action.revision)
        elif isinstance(action, roster.DropZygote):
            self._links.tell_keeper(link.DropZygote(action.revision))
        elif isinstance(action, roster.Learned):
            self.learned(action.revision, action.memory_mib)
        else:
            self._links.tell_gateway(action.gateway, link.Retire(action.instance))

    def _keep_zygote(self, revision: RevisionId) -> None:
        known = self._revisions.get(revision)
        if known is not None:
            self._links.tell_keeper(link.KeepZygote(known.revision, self._codes.get(revision)))

    def _show(self, decision: roster.Decided) -> None:
        key = key_of(decision.revision)
        if self._revisions.is_deployed(key):
            self._history.decided(key, decision, self._clock.wall())
        fields = {"revision": decision.revision, "desired": decision.desired, "have": decision.have}
        log.info("scaling decided", extra=fields | {"why": decision.why})

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
        self._look_at_clock()
        now = self._clock.monotonic()
        next_at = self._roster.next_at
        # The loop's timers have millisecond steps and may be early: the Roster is asked only when it is time.
        actions = self._roster.tick(now) if next_at is not None and next_at <= now else ()
        self.carry_out(actions, now)

    def _look_at_clock(self) -> None:
        """Whether the clock on the wall was set, or has drifted."""
        now = self._clock.monotonic()
        offset_s = self._clock.wall() - now
        if abs(offset_s - self._wall_offset_s) > DRIFT_S:
            self._wall_offset_s = offset_s
            self._roster.clock(offset_s, now)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
