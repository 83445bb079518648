"""The Roster itself: events in, actions out."""

import heapq
import random
from collections.abc import Mapping, Sequence

import msgspec

from corral.model import ExitCause, GatewayId, InstanceId, Observation, RevisionId
from corral.policy import SCALERS, Scaler, Situation, Terms
from corral.roster.actions import (
    Action,
    Assign,
    Block,
    Decided,
    InstanceView,
    Release,
    Retire,
    Scaling,
    Start,
    Stop,
)
from corral.roster.deployment import CRASHED_EARLY_S, Deployment, Instance, State
from corral.roster.deployments import Deployments

RELEASE_S = 1.0
"""A gateway answers a Release at once, with fewer when fewer are idle; what did not come within this time won't."""


class Roster:
    """See the module. Instance ids are `<boot>-<counter>`, unique across restarts when `boot` is.

    An instance is here from its Start, or from its adoption, until `lost`; `max` counts all of them, also those that
    are ending. Nothing is started while no gateway or no keeper is connected: nobody could say that it is ready."""

    def __init__(self, boot: str, cores: int, rng: random.Random) -> None:
        self._boot, self._cores, self._rng = boot, cores, rng
        self._started = 0
        self._revisions = Deployments(self._books)
        self._instances: dict[InstanceId, Instance] = {}
        # In the order they connected: the first is the home of all revisions.
        self._gateways: dict[GatewayId, None] = {}
        self._has_keeper = False
        self._timers: list[tuple[float, RevisionId]] = []

    # -- deployments ----------------------------------------------------------------------------------------

    def deployed(self, revision: RevisionId, scaling: Scaling, now: float) -> Sequence[Action]:
        """A revision may have instances; starts max(initial, min) of them. Again for a known one: new limits, and an
        end to its back-off."""
        known = self._revisions.get(revision)
        actions: list[Action] = []
        if known is None:
            known = self._revisions.put(revision, scaling)
            if known is None:
                return ()
        else:
            self._retune(known, scaling)
            known.is_removed = False
            actions += self._unblock(known, now)
            known.crashes.reset()
        return actions + self._converge(known, now)

    def rescaled(self, revision: RevisionId, scaling: Scaling, now: float) -> Sequence[Action]:
        """Other limits, settings or another engine for a revision that is deployed, from this decision on. Its
        `initial` and `concurrency` stay. What stands gets its time to be used under the new rule."""
        known = self._revisions.rescale(revision, scaling)
        if known is None or known.is_removed:
            return ()
        before = known.scaling
        self._retune(known, msgspec.structs.replace(scaling, initial=before.initial, concurrency=before.concurrency))
        return self._ask(known, now, joined=known.have > 0)

    def settled(self, revision: RevisionId, now: float) -> Sequence[Action]:
        """Its deployment counts: from now on `initial` no longer keeps instances."""
        known = self._revisions.find(revision)
        if known is None or known.is_settled:
            return ()
        known.is_settled = True
        # They were kept by `initial`; now the scaler gives them their time to be used.
        return self._ask(known, now, joined=known.have > 0)

    def removed(self, revision: RevisionId, now: float) -> Sequence[Action]:
        """No new calls come to it: its instances are retired, and stopped when idle."""
        known = self._revisions.get(revision)
        if known is None or known.is_removed:
            return ()
        known.is_removed, known.ask_at, known.desired = True, None, 0
        actions: list[Action] = []
        for instance in list(known.instances.values()):
            if instance.state in (State.STARTING, State.READY):
                actions += self._retire(instance)
        self._forget_if_empty(known)
        return actions

    # -- demand ---------------------------------------------------------------------------------------------

    def want(
        self,
        gateway: GatewayId,
        revision: RevisionId,
        waiting: int,
        executing: int,
        oldest_wait_s: float,
        now: float,
    ) -> Sequence[Action]:
        """Calls wait at the gateway."""
        known = self._revisions.get(revision)
        if known is None or known.is_removed or gateway not in self._gateways:
            return ()
        return self._ask(known, now, waiting=waiting, executing=executing, oldest_wait_s=oldest_wait_s)

    def observed(self, gateway: GatewayId, revision: RevisionId, seen: Observation, now: float) -> Sequence[Action]:
        """A closed second in which the gateway had calls of the revision."""
        known = self._revisions.get(revision)
        if known is None or known.is_removed or gateway not in self._gateways:
            return ()
        return self._ask(known, now, second=seen)

    # -- an instance's life ---------------------------------------------------------------------------------

    def ready(self, instance: InstanceId, concurrency: int, now: float) -> Sequence[Action]:
        """It loaded its code and serves `concurrency` calls at once."""
        found = self._instances.get(instance)
        if found is None or found.state is not State.STARTING:
            return ()
        known = found.revision
        known.put(found, State.READY)
        found.since = now
        known.scaling = msgspec.structs.replace(known.scaling, concurrency=concurrency)
        return self._unblock(known, now) + self._ask(known, now, joined=True)

    def failed(self, instance: InstanceId, error: str, kind: str, now: float) -> Sequence[Action]:
        """It could not load (`load`) or be started (`start`): further starts back off from 1 to 60 s, doubling."""
        found = self._instances.get(instance)
        if found is None or found.state is State.STOPPING:
            return ()
        known = found.revision
        known.put(found, State.STOPPING)
        known.failures.failed(now)
        known.expect(
            known.have, f"a start failed; the next one is in {known.failures.until - now:.0f} s at the earliest"
        )
        actions: list[Action] = []
        if kind == "load":
            # It ends by itself; but user code may have left something behind that keeps it.
            actions.append(Stop(instance, ExitCause.LOAD_FAILED))
        if not known.is_removed:
            actions.append(Block(known.id, error, known.failures.until, kind))
        return actions + self._converge(known, now)

    def lost(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """The keeper says it ended, for whatever reason. Unknown ones are ignored."""
        found = self._instances.get(instance)
        if found is None:
            return ()
        known = found.revision
        if found.state in (State.STARTING, State.READY):
            self._note_age(found, now)
            known.put(found, State.STOPPING)
            known.expect(known.have, "an instance was lost")
        self._forget(found)
        return self._converge(known, now)

    def released(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """The gateway gave it up: Stop."""
        found = self._instances.get(instance)
        if found is None or found.state is State.STOPPING:
            return ()
        known = found.revision
        was_asked = known.asked > 0 or found.state is State.RELEASING
        if found.state is not State.RELEASING:
            known.asked = max(0, known.asked - 1)
        known.put(found, State.STOPPING)
        if not was_asked:
            known.expect(known.have, "a gateway gave an instance up")
        if now - found.since >= CRASHED_EARLY_S:
            known.crashes.reset()
        cause = ExitCause.REMOVED if known.is_removed else ExitCause.STOPPED
        return [Stop(instance, cause), *self._converge(known, now)]

    def overrun(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """A call's timeout passed in it: Stop with cause TIMEOUT."""
        found = self._instances.get(instance)
        if found is None or found.state is State.STOPPING:
            return ()
        known = found.revision
        if found.state in (State.STARTING, State.READY):
            self._note_age(found, now)
        known.put(found, State.STOPPING)
        known.expect(known.have, "an instance is ended because a call in it exceeded its timeout")
        return [Stop(instance, ExitCause.TIMEOUT), *self._converge(known, now)]

    # -- who is connected -----------------------------------------------------------------------------------

    def gateway_up(
        self, gateway: GatewayId, holding: Mapping[RevisionId, Sequence[InstanceId]], now: float
    ) -> Sequence[Action]:
        """A gateway connected and says what it holds. Instances we know as its and it does not hold are assigned to
        it again (not fresh); those it holds and we do not know are adopted, or retired when their revision is not
        deployed. An instance that serves is never stopped."""
        self._gateways[gateway] = None
        actions: list[Action] = []
        held: set[InstanceId] = set()
        for revision, instances in holding.items():
            for instance in instances:
                held.add(instance)
                actions += self._take_held(gateway, instance, revision, now)
        for found in list(self._instances.values()):
            if found.id not in held and found.gateway in (None, gateway):
                actions += self._give(found, fresh=False)
        for known in self._revisions.awake:
            known.asked = 0
            actions += self._review(known, now)
        return actions

    def gateway_down(self, gateway: GatewayId, now: float) -> Sequence[Action]:
        """Its instances wait for its successor; nothing is started or released meanwhile."""
        self._gateways.pop(gateway, None)
        for found in self._instances.values():
            if found.gateway == gateway:
                found.gateway = None
        return ()

    def keeper_up(self, running: Mapping[InstanceId, RevisionId], now: float) -> Sequence[Action]:
        """A keeper connected and says what runs: ours it lacks are lost; what we do not know is adopted when its
        revision is deployed, else ended as soon as no gateway has a call in it."""
        self._has_keeper = True
        actions: list[Action] = []
        for found in [each for each in self._instances.values() if each.id not in running]:
            self._forget(found)
            found.revision.expect(found.revision.have, "the keeper was restarted")
        for instance, revision in running.items():
            known = self._instances.get(instance)
            if known is None:
                actions += self._give(self._adopt(instance, revision, now), fresh=False)
            elif known.state is State.STOPPING:
                actions.append(Stop(instance, ExitCause.STOPPED))
        for deployed in self._revisions.awake:
            actions += self._review(deployed, now)
        return actions

    def keeper_down(self, now: float) -> Sequence[Action]:
        """Starts wait until it is back."""
        self._has_keeper = False
        return ()

    # -- time -----------------------------------------------------------------------------------------------

    def tick(self, now: float) -> Sequence[Action]:
        """What is due. Call it at `next_at`."""
        actions: list[Action] = []
        while self._timers and self._timers[0][0] <= now:
            at, revision = heapq.heappop(self._timers)
            known = self._revisions.find(revision)
            if known is None or known.timer_at != at:
                continue
            known.timer_at = None
            if known.ask_at is not None and known.ask_at <= now:
                actions += self._ask(known, now)
            else:
                actions += self._converge(known, now)
        return actions

    @property
    def next_at(self) -> float | None:
        """When `tick` has something to do; None: nothing, unless something else happens first."""
        timers = self._timers
        while timers:
            known = self._revisions.find(timers[0][1])
            if known is not None and known.timer_at == timers[0][0]:
                return timers[0][0]
            heapq.heappop(timers)
        return None

    # -- for people -----------------------------------------------------------------------------------------

    def instances(self, revision: RevisionId) -> Sequence[InstanceView]:
        """In the order of their starts; empty when the revision is not known."""
        return [
            InstanceView(instance=each.id, state=each.state.value, gateway=each.gateway, since=each.since)
            for each in self._revisions.instances(revision)
        ]

    def why(self, revision: RevisionId) -> Decided | None:
        """The last decision."""
        return self._revisions.decided(revision)

    # -- inside: deciding -----------------------------------------------------------------------------------

    def _books(self, revision: RevisionId, scaling: Scaling) -> Deployment:
        return Deployment(revision, scaling, self._scaler(scaling))

    def _scaler(self, scaling: Scaling) -> Scaler:
        return SCALERS[scaling.engine].make(self._terms(scaling))

    def _retune(self, known: Deployment, scaling: Scaling) -> None:
        if scaling.engine == known.scaling.engine:
            known.scaler.retune(self._terms(scaling))
        else:
            known.scaler = self._scaler(scaling)
        known.scaling = scaling

    def _terms(self, scaling: Scaling) -> Terms:
        return Terms(
            settings=scaling.settings,
            idle_s=scaling.idle_s,
            cores=self._cores,
            rng=self._rng,
            min=scaling.min,
            max=scaling.max,
            initial=scaling.initial,
        )

    def _ask(
        self,
        known: Deployment,
        now: float,
        *,
        waiting: int = 0,
        executing: int = 0,
        oldest_wait_s: float = 0.0,
        second: Observation | None = None,
        joined: bool = False,
    ) -> list[Action]:
        if known.is_removed:
            return []
        situation = Situation(
            ready=known.ready,
            starting=known.count[State.STARTING],
            concurrency=known.scaling.concurrency,
            waiting=waiting,
            executing=executing,
            oldest_wait_s=oldest_wait_s,
            second=second,
            joined=joined,
            is_watched=bool(self._gateways),
            is_reachable=known.scaling.is_reachable,
        )
        decision = known.scaler.decide(situation, now)
        known.ask_at = decision.next_at
        if decision.desired is not None:
            known.desired, known.why, known.inputs = decision.desired, decision.why, decision.inputs
        return self._converge(known, now)

    def _review(self, known: Deployment, now: float) -> list[Action]:
        """Somebody came back. Adopted instances get their time to be used, like new ones."""
        if known.have and known.ask_at is None:
            return self._ask(known, now, joined=True)
        return self._converge(known, now)

    def _converge(self, known: Deployment, now: float) -> list[Action]:
        """From what stands to what is desired, as far as allowed now. Ends every event that may change either."""
        if known.is_removed:
            return []
        if now >= known.asked_until:
            known.asked = 0
        desired = min(max(known.desired, known.floor), known.scaling.max)
        actions = self._note(known, desired)
        missing = desired - known.have
        if missing > 0:
            actions += self._start(known, missing, now)
        elif missing < 0:
            actions += self._release(known, -missing, now)
        self._arm(known, now)
        if known.is_at_rest:
            self._revisions.rest(known, now)
        return actions

    def _note(self, known: Deployment, desired: int) -> list[Action]:
        if desired == (0 if known.decided is None else known.decided.desired):
            return []
        why = known.why
        if desired > known.desired:
            name = "min" if desired == known.scaling.min else "initial"
            why = f"{name} = {desired}"
        elif desired < known.desired:
            why = f"{why}; held at max = {desired}"
        known.decided = Decided(known.id, desired, known.have, why, known.inputs)
        return [known.decided]

    def _start(self, known: Deployment, missing: int, now: float) -> list[Action]:
        home = self._home()
        if home is None or not self._has_keeper or now < known.start_at:
            return []
        actions: list[Action] = []
        for _ in range(min(missing, known.scaling.max - len(known.instances))):
            self._started += 1
            started = self._add(InstanceId(f"{self._boot}-{self._started}"), known, State.STARTING, now)
            actions.append(Start(started.id, known.id))
            actions += self._give(started, fresh=True)
        return actions

    def _release(self, known: Deployment, count: int, now: float) -> list[Action]:
        home = self._home()
        if home is None:
            return []
        known.asked += count
        known.asked_until = now + RELEASE_S
        return [Release(home, known.id, count)]

    def _unblock(self, known: Deployment, now: float) -> list[Action]:
        was_blocked = known.failures.is_waiting(now)
        known.failures.reset()
        return [Block(known.id, "", now, "")] if was_blocked else []

    def _arm(self, known: Deployment, now: float) -> None:
        moments = [] if known.ask_at is None else [known.ask_at]
        if known.start_at > now and max(known.desired, known.floor) > known.have:
            moments.append(known.start_at)
        if known.asked:
            moments.append(known.asked_until)
        at = min(moments, default=None)
        # An earlier entry stays and wakes for nothing, once: cheaper than an entry for each change.
        if at is None or (known.timer_at is not None and known.timer_at <= at):
            return
        known.timer_at = at
        heapq.heappush(self._timers, (at, known.id))

    # -- inside: instances ----------------------------------------------------------------------------------

    def _home(self) -> GatewayId | None:
        return next(iter(self._gateways), None)

    def _add(self, instance: InstanceId, known: Deployment, state: State, now: float) -> Instance:
        added = Instance(instance, known, state, now)
        known.instances[instance] = self._instances[instance] = added
        known.count[state] += 1
        return added

    def _adopt(self, instance: InstanceId, revision: RevisionId, now: float) -> Instance:
        """Whether it has loaded is not known; taken for ready, so that its end is not blamed on its code."""
        known = self._revisions.get(revision)
        if known is None:
            nothing = Scaling(min=0, max=0, initial=0, idle_s=0.0, concurrency=1)
            known = self._revisions.add(revision, nothing)
            known.is_removed = True
        return self._add(instance, known, State.READY, now)

    def _take_held(
        self, gateway: GatewayId, instance: InstanceId, revision: RevisionId, now: float
    ) -> Sequence[Action]:
        found = self._instances.get(instance)
        if found is None:
            found = self._adopt(instance, revision, now)
            if self._has_keeper:
                # The keeper answers that it does not run, and the gateway hears of it.
                found.revision.put(found, State.STOPPING)
                return (Stop(instance, ExitCause.KEEPER_LOST),)
        if found.gateway not in (None, gateway):
            return ()
        found.gateway = gateway
        if found.state is State.STOPPING:
            return ()
        return self._retire(found) if found.revision.is_removed or found.state is State.RELEASING else ()

    def _give(self, found: Instance, *, fresh: bool) -> list[Action]:
        """Find an instance that no gateway holds its gateway, or its end."""
        home = self._home()
        if home is None or found.state is State.STOPPING:
            return []
        if found.revision.is_removed or found.state is State.RELEASING:
            found.revision.put(found, State.STOPPING)
            return [Stop(found.id, ExitCause.REMOVED)]
        found.gateway = home
        return [Assign(found.id, found.revision.id, home, fresh)]

    def _retire(self, found: Instance) -> list[Action]:
        """A gateway that is away hears of it when it is back, by what it holds."""
        if found.state is not State.RELEASING:
            found.revision.put(found, State.RELEASING)
        return [] if found.gateway is None else [Retire(found.gateway, found.id)]

    def _note_age(self, found: Instance, now: float) -> None:
        if now - found.since < CRASHED_EARLY_S:
            found.revision.crashes.failed(now)
        else:
            found.revision.crashes.reset()

    def _forget(self, found: Instance) -> None:
        known = found.revision
        del self._instances[found.id]
        del known.instances[found.id]
        known.count[found.state] -= 1
        self._forget_if_empty(known)

    def _forget_if_empty(self, known: Deployment) -> None:
        if known.is_removed and not known.instances:
            self._revisions.remove(known.id)
