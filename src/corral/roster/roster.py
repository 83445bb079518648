"""The Roster itself: events in, actions out."""

import math
import random
from collections.abc import Mapping, Sequence

import msgspec

from corral.model import ExitCause, FunctionKey, GatewayId, InstanceId, Observation, RevisionId
from corral.roster.actions import Action, Block, Decided, InstanceView, MemoryView, Scaling, Stop
from corral.roster.admission import Admission
from corral.roster.convergence import Convergence
from corral.roster.deployment import CRASHED_EARLY_S, SERVING, Deployment, Instance, State
from corral.roster.deployments import Deployments
from corral.roster.instances import Instances
from corral.roster.scalers import Scalers
from corral.roster.timers import Timers
from corral.roster.usage import usage_by_revision
from corral.roster.zygotes import ZygoteTerms

WANTED_S = 1.5
"""So long after a Want calls are taken to wait: gateways repeat it each second while they do."""


class Roster:
    """See the module. Instance ids begin with `boot`, and are unique across restarts when it is.

    An instance is here from its Start, or from its adoption, until `lost`; `max` counts all of them, also those that
    are ending. Nothing is started while no gateway or no keeper is connected: nobody could say that it is ready."""

    def __init__(self, boot: str, cores: int, rng: random.Random, zygotes: ZygoteTerms | None = None) -> None:
        self._scalers = Scalers(cores, rng)
        self._revisions = Deployments(self._scalers)
        self._timers = Timers(self._revisions)
        self.admission = Admission(zygotes or ZygoteTerms())
        self._zygotes = self.admission.zygotes
        self._instances = Instances(boot, self._revisions, self.admission)
        self._convergence = Convergence(self._revisions, self._instances, self.admission, self._timers)
        self._starts = self._convergence.starts

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
        return actions + self._convergence.converge(known, now)

    def rescaled(self, revision: RevisionId, scaling: Scaling, now: float) -> Sequence[Action]:
        """Other limits, settings or another engine for a revision that is deployed, from this decision on. Its
        `initial` and `concurrency` stay. What stands gets its time to be used under the new rule."""
        known = self._revisions.rescale(revision, scaling)
        if known is None or known.is_removed:
            return ()
        before = known.scaling
        kept = msgspec.structs.replace(scaling, initial=before.initial, concurrency=before.concurrency)
        self._scalers.retune(known, kept)
        return self._convergence.ask(known, now, joined=known.have > 0)

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
        return actions + self._convergence.converge(known, now)

    def settled(self, revision: RevisionId, now: float) -> Sequence[Action]:
        """Its deployment counts: from now on `initial` no longer keeps instances."""
        known = self._revisions.find(revision)
        if known is None or known.is_settled:
            return ()
        known.is_settled = True
        self._scalers.retune(known, msgspec.structs.replace(known.scaling, initial=0))
        # They were kept by `initial`; now the scaler gives them their time to be used.
        return self._convergence.ask(known, now, joined=known.have > 0)

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
                actions += self._instances.retire(instance)
        self.admission.note(known)
        self._forget_if_empty(known)
        return actions + self._starts.serve(now)

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
        if known is None or known.is_removed or not self._instances.has_gateway(gateway):
            return ()
        known.wanted_until = now + WANTED_S
        if known.cap is not None:
            known.limit(None)
            self._starts.note(known)
        known.seems_busy(waiting + executing, now)
        return self._convergence.hear(known, now, waiting=waiting, executing=executing, oldest_wait_s=oldest_wait_s)

    def observed(self, gateway: GatewayId, revision: RevisionId, seen: Observation, now: float) -> Sequence[Action]:
        """A closed second in which the gateway had calls of the revision."""
        known = self._revisions.get(revision)
        if known is None or known.is_removed or not self._instances.has_gateway(gateway):
            return ()
        known.seems_busy(seen.peak, now)
        self.admission.used(known, seen.arrived)
        return self._convergence.hear(known, now, second=seen)

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
        actions = known.unblock(now) + self._convergence.ask(known, now, joined=True)
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
        why = f"a start failed; the next one is in {known.failures.until - now:.0f} s at the earliest"
        return actions + self._convergence.miss(known, now, why)

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
        if is_surprise:
            return self._convergence.miss(known, now, "an instance was lost")
        return self._convergence.converge(known, now)

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
            return [stop, *self._convergence.miss(known, now, "a gateway gave an instance up")]
        if known.cap is not None:
            return [stop, *self._convergence.miss(known, now, known.cap_why)]
        # Which one it would be was not known: one that starts is given up, and more are ready than the scaler was told.
        return [stop, *self._convergence.ask(known, now)]

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
        return [Stop(instance, ExitCause.TIMEOUT), *self._convergence.miss(known, now, why)]

    def measured(
        self, instances: Mapping[InstanceId, float], zygotes: Mapping[RevisionId, float], now: float
    ) -> Sequence[Action]:
        """What instances and zygotes use, in MiB: now, or at most when they have ended."""
        return self._learn_memory(instances, zygotes, now)

    def used(
        self, instances: Mapping[InstanceId, tuple[float, float]], zygotes: Mapping[RevisionId, float], now: float
    ) -> Sequence[Action]:
        """What all of them used, as the keeper says once a second: cpu seconds in all, and MiB now."""
        memory = {instance: memory_mib for instance, (_, memory_mib) in instances.items()}
        actions = self._learn_memory(memory, zygotes, now)
        for known, usage in usage_by_revision(self._instances, instances, now):
            actions += self._convergence.hear(known, now, usage=usage)
        return actions

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
        return self._starts.serve(now)

    def recalled(
        self, function: FunctionKey, engine: str, idle_minutes: Mapping[int, int], now: float
    ) -> Sequence[Action]:
        """How often the function was idle for how many whole minutes, as far as it was written down, for the rule of
        this engine. It counts from the next call on."""
        if self._revisions.has_function(function):
            self._scalers.recall(function, engine, idle_minutes)
        return ()

    # -- zygotes --------------------------------------------------------------------------------------------

    def zygote_kept(self, revision: RevisionId, memory_mib: float, load_s: float, now: float) -> Sequence[Action]:
        """The revision has a zygote, of which its code says that it took `load_s` to load."""
        self._zygotes.kept(revision, memory_mib, load_s)
        self._renote(revision)
        actions: list[Action] = []
        if revision not in self._revisions:
            actions += self._zygotes.removed(revision)
        actions += self._zygotes.shrink(self.admission.limit_mib)
        return actions + self._starts.serve(now)

    def zygote_gone(self, revision: RevisionId, is_unsafe: bool, now: float) -> Sequence[Action]:
        """It has none, or none any more. `is_unsafe`: it can't have one."""
        self._zygotes.gone(revision, is_unsafe, now)
        self._renote(revision)
        if revision not in self._revisions:
            self._zygotes.forget(revision)
        return self._starts.serve(now)

    # -- who is connected -----------------------------------------------------------------------------------

    def gateway_up(
        self, gateway: GatewayId, holding: Mapping[RevisionId, Sequence[InstanceId]], now: float
    ) -> Sequence[Action]:
        """A gateway connected and says what it holds. Instances we know as its and it does not hold are assigned to
        it again (not fresh); those it holds and we do not know are adopted, or retired when their revision is not
        deployed. An instance that serves is never stopped."""
        actions = self._instances.gateway_up(gateway, holding, now)
        for known in self._revisions.awake:
            known.asked, known.is_evicted, known.is_queued = 0, False, False
            actions += self._convergence.review(known, now)
        return actions

    def gateway_down(self, gateway: GatewayId, now: float) -> Sequence[Action]:
        """Its instances wait for its successor; nothing is started or released meanwhile."""
        self._instances.gateway_down(gateway)
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
        self._instances.has_keeper = True
        self.admission.limit_mib = budget_mib
        self._zygotes.keeper_up(zygotes or {}, zygotes is not None, self._revisions)
        actions: list[Action] = []
        for revision in zygotes or ():
            if revision not in self._revisions:
                actions += self._zygotes.removed(revision)
        bereft: set[RevisionId] = set()
        for found in self._instances.lacking(running):
            self._forget(found)
            bereft.add(found.revision.id)
        actions += self._instances.found_running(running, now)
        for deployed in self._revisions.awake:
            if deployed.id in bereft:
                actions += self._convergence.miss(deployed, now, "the keeper was restarted")
            else:
                actions += self._convergence.review(deployed, now)
        return actions

    def keeper_down(self, now: float) -> Sequence[Action]:
        """Starts wait until it is back."""
        self._instances.has_keeper = False
        return ()

    # -- time -----------------------------------------------------------------------------------------------

    def clock(self, wall_offset_s: float, now: float) -> Sequence[Action]:
        """So much the wall clock is ahead of `now`. It may be set: told before the first event and when it changed,
        before a tick. Rules that go by it look again at short intervals."""
        self._convergence.wall_offset_s = wall_offset_s
        return ()

    def tick(self, now: float) -> Sequence[Action]:
        """What is due. Call it at `next_at`."""
        actions: list[Action] = []
        while (known := self._timers.take(now)) is not None:
            if known.ask_at is not None and known.ask_at <= now:
                actions += self._convergence.hear(known, now)
            elif known.is_overdue(now):
                actions += self._convergence.converge(known, now)
            else:
                # Something put the moment off since it was noted.
                self._timers.arm(known, now)
        return actions + self._starts.look_again(now)

    @property
    def next_at(self) -> float | None:
        """When `tick` has something to do; None: nothing, unless something else happens first."""
        moments = (self._timers.next_at, self._starts.look_at)
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
        """None: it sleeps, and what its instances use was never measured."""
        known = self._revisions.find(revision)
        if known is not None:
            return self.admission.memory(known)
        learned = self._revisions.learned_mib(revision)
        return None if learned is None else self.admission.memory_of_sleeper(revision, learned)

    # -- inside ---------------------------------------------------------------------------------------------

    def _learn_memory(
        self, instances: Mapping[InstanceId, float], zygotes: Mapping[RevisionId, float], now: float
    ) -> list[Action]:
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
        return actions + self._starts.serve(now)

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
        return actions + self._starts.serve(now)

    def _forget(self, found: Instance) -> None:
        known = found.revision
        self._instances.forget(found)
        self._forget_if_empty(known)

    def _forget_if_empty(self, known: Deployment) -> None:
        if known.is_removed and not known.instances:
            self._revisions.remove(known.id)
            self._starts.forget(known)
