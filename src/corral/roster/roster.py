"""The Roster itself: events in, actions out."""

import math
import random
from collections.abc import Mapping, Sequence

import msgspec

from corral.model import ExitCause, GatewayId, InstanceId, Observation, RevisionId
from corral.policy import Situation
from corral.policy.ranking import Ranking
from corral.roster.actions import (
    Action,
    Assign,
    Block,
    Decided,
    InstanceView,
    MemoryView,
    Release,
    Retire,
    Scaling,
    Start,
    Stop,
)
from corral.roster.admission import Admission, Room
from corral.roster.deployment import CRASHED_EARLY_S, SERVING, Deployment, Instance, State
from corral.roster.deployments import Deployments
from corral.roster.scalers import Scalers
from corral.roster.timers import Timers
from corral.roster.zygotes import Zygotes, ZygoteTerms

WANTED_S = 1.5
"""So long after a Want calls are taken to wait: gateways repeat it each second while they do."""
LOOK_S = 0.25
"""Between two looks for room for what found none: in each of them the largest user may have to let one instance go."""
RELEASE_S = 1.0
"""A gateway answers a Release at once, with fewer when fewer are idle; what did not come within this time won't."""


class Roster:
    """See the module. Instance ids are `<boot>-<counter>`, unique across restarts when `boot` is.

    An instance is here from its Start, or from its adoption, until `lost`; `max` counts all of them, also those that
    are ending. Nothing is started while no gateway or no keeper is connected: nobody could say that it is ready."""

    def __init__(self, boot: str, cores: int, rng: random.Random, zygotes: ZygoteTerms | None = None) -> None:
        self._boot = boot
        self._started = 0
        self._scalers = Scalers(cores, rng)
        self._revisions = Deployments(self._scalers.make)
        self._instances: dict[InstanceId, Instance] = {}
        # In the order they connected: the first is the home of all revisions.
        self._gateways: dict[GatewayId, None] = {}
        self._has_keeper = False
        self._timers = Timers(self._revisions)
        self.admission = Admission(zygotes or ZygoteTerms())
        self._capped: Ranking[RevisionId] = Ranking()
        """Those that may not have what their scalers say as memory is short, by what their next start needs."""
        self._look_at: float | None = None
        """When to look for room again for those that found none; None: there are none."""
        self._raise_at = float("-inf")
        """When to look again for room for a zygote, at the earliest."""

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
            self._scalers.retune(known, scaling)
            known.is_removed = False
            actions += known.unblock(now)
            known.crashes.reset()
        return actions + self._converge(known, now)

    def rescaled(self, revision: RevisionId, scaling: Scaling, now: float) -> Sequence[Action]:
        """Other limits, settings or another engine for a revision that is deployed, from this decision on. Its
        `initial` and `concurrency` stay. What stands gets its time to be used under the new rule."""
        known = self._revisions.rescale(revision, scaling)
        if known is None or known.is_removed:
            return ()
        before = known.scaling
        kept = msgspec.structs.replace(scaling, initial=before.initial, concurrency=before.concurrency)
        self._scalers.retune(known, kept)
        return self._ask(known, now, joined=known.have > 0)

    def required(self, revision: RevisionId, instances: int, now: float) -> Sequence[Action]:
        """A change of where calls go waits until it has so many: they are kept until `settled`. An end to its
        back-off, as somebody believes in it."""
        known = self._revisions.get(revision)
        if known is None or known.is_removed:
            return ()
        before = 0 if known.is_settled else known.scaling.initial
        self._scalers.retune(known, msgspec.structs.replace(known.scaling, initial=max(instances, before)))
        known.is_settled = False
        actions = known.unblock(now)
        known.crashes.reset()
        return actions + self._converge(known, now)

    def settled(self, revision: RevisionId, now: float) -> Sequence[Action]:
        """Its deployment counts: from now on `initial` no longer keeps instances."""
        known = self._revisions.find(revision)
        if known is None or known.is_settled:
            return ()
        known.is_settled = True
        self._scalers.retune(known, msgspec.structs.replace(known.scaling, initial=0))
        # They were kept by `initial`; now the scaler gives them their time to be used.
        return self._ask(known, now, joined=known.have > 0)

    def succeeded(self, before: RevisionId, after: RevisionId, now: float) -> Sequence[Action]:
        """`before` is about to be removed; its calls go to `after`, which has the same dependencies."""
        known = self._revisions.get(after)
        if known is None or known.is_removed:
            return ()
        self._zygotes.succeeded(before, after)
        return self._consider(known, now)

    def removed(self, revision: RevisionId, now: float) -> Sequence[Action]:
        """No new calls come to it: its instances are retired, and stopped when idle."""
        known = self._revisions.get(revision)
        if known is None or known.is_removed:
            return ()
        known.is_removed, known.ask_at, known.desired = True, None, 0
        known.limit(None)
        actions: list[Action] = [*known.unqueue(), *self._zygotes.removed(revision)]
        self.admission.done(known)
        for instance in list(known.instances.values()):
            if instance.state in SERVING:
                actions += self._retire(instance)
        self.admission.note(known)
        self._forget_if_empty(known)
        return actions + self._serve(now)

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
        known.wanted_until = now + WANTED_S
        known.limit(None)
        known.seems_busy(waiting + executing, now)
        return self._ask(known, now, waiting=waiting, executing=executing, oldest_wait_s=oldest_wait_s)

    def observed(self, gateway: GatewayId, revision: RevisionId, seen: Observation, now: float) -> Sequence[Action]:
        """A closed second in which the gateway had calls of the revision."""
        known = self._revisions.get(revision)
        if known is None or known.is_removed or gateway not in self._gateways:
            return ()
        known.seems_busy(seen.peak, now)
        self.admission.used(known, seen.arrived)
        return self._ask(known, now, second=seen)

    # -- an instance's life ---------------------------------------------------------------------------------

    def ready(self, instance: InstanceId, concurrency: int, now: float, load_s: float = 0.0) -> Sequence[Action]:
        """It serves `concurrency` calls at once, and says that it spent `load_s` on loading its code."""
        found = self._instances.get(instance)
        if found is None or found.state is not State.STARTING:
            return ()
        known = found.revision
        known.put(found, State.READY)
        known.start_s = now - found.since
        # Not longer than we have waited: by what it says of itself it would earn a place.
        load_s = min(load_s, known.start_s)
        if load_s >= self._zygotes.terms.saves_s:
            known.loaded_itself(found)
        self._zygotes.started(known.id, load_s, known.prices[0])
        found.since = now
        known.scaling = msgspec.structs.replace(known.scaling, concurrency=concurrency)
        actions = known.unblock(now) + self._ask(known, now, joined=True)
        return actions + self._consider(known, now)

    def failed(self, instance: InstanceId, error: str, kind: str, now: float) -> Sequence[Action]:
        """It could not load (`load`) or be started (`start`): further starts back off from 1 to 60 s, doubling."""
        found = self._instances.get(instance)
        if found is None or found.state is State.STOPPING:
            return ()
        known = found.revision
        known.put(found, State.STOPPING)
        known.failures.failed(now)
        actions: list[Action] = []
        if kind == "load":
            # It ends by itself; but user code may have left something behind that keeps it.
            actions.append(Stop(instance, ExitCause.LOAD_FAILED))
        if not known.is_removed:
            actions.append(Block(known.id, error, known.failures.until, kind))
        wait_s = known.failures.until - now
        return actions + self._miss(known, now, f"a start failed; the next one is in {wait_s:.0f} s at the earliest")

    def lost(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """The keeper says it ended, for whatever reason. Unknown ones are ignored."""
        found = self._instances.get(instance)
        if found is None:
            return ()
        known = found.revision
        is_surprise = found.state in SERVING
        if is_surprise:
            known.note_age(found, now)
        self._forget(found)
        return self._miss(known, now, "an instance was lost") if is_surprise else self._converge(known, now)

    def released(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """The gateway gave it up: Stop."""
        found = self._instances.get(instance)
        if found is None or found.state is State.STOPPING:
            return ()
        known = found.revision
        was_asked = known.asked > 0 or found.state is State.RELEASING
        if found.state is not State.RELEASING:
            known.answered()
        known.put(found, State.STOPPING)
        if now - found.since >= CRASHED_EARLY_S:
            known.crashes.reset()
        stop = Stop(instance, ExitCause.REMOVED if known.is_removed else ExitCause.STOPPED)
        if not was_asked:
            return [stop, *self._miss(known, now, "a gateway gave an instance up")]
        if known.cap is not None:
            return [stop, *self._miss(known, now, known.cap_why)]
        # Which one it would be was not known: one that starts is given up, and more are ready than the scaler was told.
        return [stop, *self._ask(known, now)]

    def overrun(self, instance: InstanceId, now: float) -> Sequence[Action]:
        """A call's timeout passed in it: Stop with cause TIMEOUT."""
        found = self._instances.get(instance)
        if found is None or found.state is State.STOPPING:
            return ()
        known = found.revision
        if found.state in SERVING:
            known.note_age(found, now)
        known.put(found, State.STOPPING)
        why = "an instance is ended because a call in it exceeded its timeout"
        return [Stop(instance, ExitCause.TIMEOUT), *self._miss(known, now, why)]

    def measured(
        self, instances: Mapping[InstanceId, float], zygotes: Mapping[RevisionId, float], now: float
    ) -> Sequence[Action]:
        """What instances and zygotes use, in MiB: now, or at most when they have ended."""
        changed: dict[RevisionId, Deployment] = {}
        for instance, memory_mib in instances.items():
            found = self._instances.get(instance)
            if found is not None:
                before = found.revision.prices
                found.used.add(memory_mib)
                if found.revision.prices != before:
                    changed[found.revision.id] = found.revision
        for revision, memory_mib in zygotes.items():
            self._zygotes.measured(revision, memory_mib)
        actions: list[Action] = list(self._zygotes.shrink(self.admission.limit_mib))
        for known in changed.values():
            self.admission.note(known)
            actions += self._revisions.learn(known) + self._consider(known, now)
        return actions + self._serve(now)

    def is_measured(self, revision: RevisionId) -> bool:
        """Whether it is known what an instance of it uses."""
        known = self._revisions.find(revision)
        return known is None or known.used.mib is not None

    def remembered(self, revision: RevisionId, memory_mib: int, now: float) -> Sequence[Action]:
        """What an earlier engine learned of it."""
        if revision not in self._revisions:
            return ()
        known = self._revisions.remember(revision, memory_mib)
        if known is None:
            return ()
        self.admission.note(known)
        return self._serve(now)

    # -- zygotes --------------------------------------------------------------------------------------------

    def zygote_kept(self, revision: RevisionId, memory_mib: float, load_s: float, now: float) -> Sequence[Action]:
        """The revision has a zygote, of which its code says that it took `load_s` to load."""
        self._zygotes.kept(revision, memory_mib, load_s)
        self._renote(revision)
        actions: list[Action] = []
        if revision not in self._revisions:
            actions += self._zygotes.removed(revision)
        actions += self._zygotes.shrink(self.admission.limit_mib)
        return actions + self._serve(now)

    def zygote_gone(self, revision: RevisionId, is_unsafe: bool, now: float) -> Sequence[Action]:
        """It has none, or none any more. `is_unsafe`: it can't have one."""
        self._zygotes.gone(revision, is_unsafe, now)
        self._renote(revision)
        if revision not in self._revisions:
            self._zygotes.forget(revision)
        return self._serve(now)

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
            known.asked, known.is_evicted, known.is_queued = 0, False, False
            actions += self._review(known, now)
        return actions

    def gateway_down(self, gateway: GatewayId, now: float) -> Sequence[Action]:
        """Its instances wait for its successor; nothing is started or released meanwhile."""
        self._gateways.pop(gateway, None)
        for found in self._instances.values():
            if found.gateway == gateway:
                found.gateway = None
        return ()

    def keeper_up(
        self,
        running: Mapping[InstanceId, RevisionId],
        now: float,
        *,
        budget_mib: float = math.inf,
        zygotes: Mapping[RevisionId, float] | None = None,
    ) -> Sequence[Action]:
        """A keeper connected and says what runs: ours it lacks are lost; what we do not know is adopted when its
        revision is deployed, else ended as soon as no gateway has a call in it. All that it runs may use `budget_mib`.
        `zygotes`: those of revisions -> MiB; None: this keeper keeps none."""
        self._has_keeper = True
        self.admission.limit_mib = budget_mib
        self._zygotes.keeper_up(zygotes or {}, zygotes is not None, self._revisions)
        actions: list[Action] = []
        for revision in zygotes or ():
            if revision not in self._revisions:
                actions += self._zygotes.removed(revision)
        bereft: set[RevisionId] = set()
        for found in [each for each in self._instances.values() if each.id not in running]:
            self._forget(found)
            bereft.add(found.revision.id)
        for instance, revision in running.items():
            known = self._instances.get(instance)
            if known is None:
                actions += self._give(self._adopt(instance, revision, now), fresh=False)
            elif known.state is State.STOPPING:
                actions.append(Stop(instance, ExitCause.STOPPED))
        for deployed in self._revisions.awake:
            if deployed.id in bereft:
                actions += self._miss(deployed, now, "the keeper was restarted")
            else:
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
        while (known := self._timers.take(now)) is not None:
            if known.ask_at is not None and known.ask_at <= now:
                actions += self._ask(known, now)
            else:
                actions += self._converge(known, now)
        if self._look_at is not None and self._look_at <= now:
            self._look_at = None
            self.admission.look_again(now)
            actions += self._serve(now)
        return actions

    @property
    def next_at(self) -> float | None:
        """When `tick` has something to do; None: nothing, unless something else happens first."""
        moments = (self._timers.next_at, self._look_at)
        return min((each for each in moments if each is not None), default=None)

    # -- for people -----------------------------------------------------------------------------------------

    def instances(self, revision: RevisionId) -> Sequence[InstanceView]:
        """In the order of their starts; empty when the revision is not known."""
        return [
            InstanceView(
                instance=each.id,
                state=each.state.value,
                gateway=each.gateway,
                since=each.since,
                charged_mib=each.revision.prices[each.is_forked],
            )
            for each in self._revisions.instances(revision)
        ]

    def why(self, revision: RevisionId) -> Decided | None:
        """The last decision."""
        return self._revisions.decided(revision)

    def memory(self, revision: RevisionId) -> MemoryView | None:
        """None: it sleeps, and uses none."""
        known = self._revisions.find(revision)
        return None if known is None else self.admission.memory(known)

    # -- inside: deciding -----------------------------------------------------------------------------------

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
        because: str = "",
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
        )
        decision = known.scaler.decide(situation, now)
        known.ask_at = decision.next_at
        # While its start waits for room, time without an instance says nothing new: Wants tell whether calls wait.
        is_held = not waiting and now < known.wanted_until and self.admission.is_waiting(known)
        if decision.desired is not None and not (is_held and decision.desired < known.desired):
            why = f"{because}; {decision.why}" if because else decision.why
            known.desired, known.why, known.inputs = decision.desired, why, decision.inputs
            known.limit(known.cap, known.cap_why)
        return self._converge(known, now)

    def _miss(self, known: Deployment, now: float, why: str) -> list[Action]:
        """It has one less than its scaler knows of: what was lost comes back if that says so, or with the calls."""
        return self._converge(known, now) if known.is_removed else self._ask(known, now, because=why)

    def _review(self, known: Deployment, now: float) -> list[Action]:
        """Somebody came back. Adopted instances get their time to be used, like new ones."""
        if known.have and known.ask_at is None:
            return self._ask(known, now, joined=True)
        return self._converge(known, now)

    def _converge(self, known: Deployment, now: float) -> list[Action]:
        """From what stands to what is desired, as far as allowed now. Ends every event that may change either."""
        if known.is_removed:
            self._capped.drop(known.id)
            self.admission.note(known)
            return self._serve(now)
        if known.expire(now):
            return self._ask(known, now)
        actions = known.tell_decision()
        self.admission.note(known)
        if known.cap is None:
            self._capped.drop(known.id)
        else:
            self._capped.put(known.id, self.admission.needs_mib(known))
        if self._may_start(known, now):
            self.admission.wait(known, now)
        else:
            self.admission.done(known)
            actions += known.unqueue()
            if known.wanted < known.have:
                actions += self._release(known, known.have - known.wanted, now)
        self._timers.arm(known, now)
        if known.is_at_rest:
            self._revisions.rest(known, now)
        return actions + self._serve(now)

    def _may_start(self, known: Deployment, now: float) -> bool:
        """Whether it lacks an instance, and nothing but memory could be in the way."""
        is_short = known.wanted > known.have and len(known.instances) < known.scaling.max
        is_possible = self._home() is not None and self._has_keeper and now >= known.start_at
        return is_short and is_possible and not known.is_removed

    def _start(self, known: Deployment, now: float) -> list[Action]:
        self._started += 1
        started = self._add(InstanceId(f"{self._boot}-{self._started}"), known, State.STARTING, now)
        self.admission.started(known, now)
        return [*known.unqueue(), Start(started.id, known.id), *self._give(started, fresh=True)]

    def _release(self, known: Deployment, count: int, now: float) -> list[Action]:
        home = self._home()
        if home is None:
            return []
        known.asked += count
        known.asked_until = now + RELEASE_S
        self.admission.note(known)
        return [Release(home, known.id, count)]

    # -- inside: memory -------------------------------------------------------------------------------------

    @property
    def _zygotes(self) -> Zygotes:
        return self.admission.zygotes

    def _serve(self, now: float) -> list[Action]:
        """Start what may start, in fair order; find room for what does not fit. It keeps nobody else from his turn."""
        actions: list[Action] = []
        while (known := self.admission.next()) is not None:
            if not self._may_start(known, now):
                self.admission.done(known)
                actions += known.unqueue()
            elif self.admission.fits(known):
                actions += self._start(known, now)
            elif known.have < known.floor or now < known.wanted_until:
                actions += self._hold(known, now)
            else:
                # Nothing is given up for what a rule foresees, and calls that waited may have gone.
                self.admission.done(known)
                known.limit(known.have, "the machine's memory is full and no call waits for it")
                actions += self._ask(known, now)
        if not self._has_keeper:
            return actions
        actions += self._zygotes.raised(self.admission.open_mib, self.admission.limit_mib)
        if self.admission.open_mib < self._zygotes.due_mib:
            return actions + self._make_room_for_zygote(now)
        return actions + self._restore(now)

    def _hold(self, known: Deployment, now: float) -> list[Action]:
        """It is its turn, and it does not fit."""
        room = self.admission.room_for(known, now)
        actions = [] if room is None else self._make_room(room, now)
        self.admission.hold(known, has_claim=room is not None)
        if self._look_at is None:
            self._look_at = now + LOOK_S
        # While idle instances and zygotes are enough it is a matter of milliseconds, unless they turn out busy.
        if not known.is_queued and (room is None or not room.is_enough or known.is_held):
            actions += known.queue(self.admission.shortage(known))
        known.is_held = True
        return actions

    def _make_room(self, room: Room, now: float) -> list[Action]:
        actions: list[Action] = []
        for known, count in room.idle:
            actions += self._evict(known, count, now)
        actions += room.zygotes
        if room.giver is not None:
            actions += self._retire_one(room.giver)
        return actions

    def _make_room_for_zygote(self, now: float) -> list[Action]:
        """Of what is worth less, and only if it is enough: no call waits for it."""
        if now < self._raise_at:
            return []
        self._raise_at = now + LOOK_S
        room = self.admission.room_for_zygote(now)
        return [] if room is None else self._make_room(room, now)

    def _restore(self, now: float) -> list[Action]:
        """Nobody waits for room: those that gave some up, or were refused any, may have it again."""
        revision = self._capped.first()
        known = None if revision is None else self._revisions.find(revision)
        if known is None or not self.admission.fits(known):
            return []
        known.limit(None)
        return self._converge(known, now)

    def _evict(self, known: Deployment, count: int, now: float) -> list[Action]:
        actions = self._release(known, count, now)
        known.is_evicted = True
        known.limit(known.have, "idle, and the machine's memory is needed")
        actions += known.tell_decision()
        self._timers.arm(known, now)
        return actions

    def _retire_one(self, known: Deployment) -> list[Action]:
        for instance in known.instances.values():
            if instance.state is State.READY:
                actions = self._retire(instance)
                self.admission.retired += 1
                self.admission.note(known)
                return actions
        return []

    def _renote(self, revision: RevisionId) -> None:
        """With a zygote the next instance uses less, without one more."""
        known = self._revisions.find(revision)
        if known is not None:
            self.admission.note(known)

    def _consider(self, known: Deployment, now: float) -> list[Action]:
        """A zygote for it, once it is known what it would take."""
        if known.used.mib is None or known.is_removed:
            return []
        actions: list[Action] = []
        actions += self._zygotes.consider(known.id, known.used.mib, self.admission.limit_mib, now)
        return actions + self._serve(now)

    # -- inside: instances ----------------------------------------------------------------------------------

    def _home(self) -> GatewayId | None:
        return next(iter(self._gateways), None)

    def _add(self, instance: InstanceId, known: Deployment, state: State, now: float) -> Instance:
        known.has_zygote = self._zygotes.is_kept(known.id)
        added = Instance(instance, known, state, now)
        self._instances[instance] = added
        known.add(added)
        return added

    def _adopt(self, instance: InstanceId, revision: RevisionId, now: float) -> Instance:
        """Whether it has loaded is not known; taken for ready, so that its end is not blamed on its code."""
        known = self._revisions.get(revision)
        if known is None:
            nothing = Scaling(min=0, max=0, initial=0, idle_s=0.0, concurrency=1)
            known = self._revisions.add(revision, nothing)
            known.is_removed = True
        adopted = self._add(instance, known, State.READY, now)
        # At once: others are reviewed before it, and may not start in what it uses.
        self.admission.note(known)
        return adopted

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

    def _forget(self, found: Instance) -> None:
        known = found.revision
        del self._instances[found.id]
        known.remove(found)
        self.admission.note(known)
        self._forget_if_empty(known)

    def _forget_if_empty(self, known: Deployment) -> None:
        if known.is_removed and not known.instances:
            self._capped.drop(known.id)
            self._revisions.remove(known.id)
            self.admission.forget(known)
