"""Every instance there is, and which gateway holds it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from corral.model import ExitCause, GatewayId, InstanceId, RevisionId
from corral.roster.actions import Action, Assign, Release, Retire, Scaling, Start, Stop
from corral.roster.admission import Admission
from corral.roster.deployment import Deployment, Instance, State
from corral.roster.deployments import Deployments

RELEASE_S = 1.0
"""A gateway answers a Release at once, with fewer when fewer are idle; what did not come within this time won't."""


class Instances:
    """An instance is here from its Start, or from its adoption, until `forget`. Ids are `<boot>-<counter>`, unique
    across restarts when `boot` is. The gateway that connected first is the home of all revisions: new instances, and
    those that no gateway holds, go to it."""

    def __init__(self, boot: str, revisions: Deployments, admission: Admission) -> None:
        self._boot = boot
        self._revisions = revisions
        self._admission = admission
        self._started = 0
        self._by_id: dict[InstanceId, Instance] = {}
        self._in_namespace: Counter[str] = Counter()
        # In the order they connected.
        self._gateways: dict[GatewayId, None] = {}
        self.has_keeper = False

    def get(self, instance: InstanceId) -> Instance | None:
        return self._by_id.get(instance)

    def in_namespace(self, known: Deployment) -> int:
        """Of all functions of the revision's namespace, until they are gone."""
        return self._in_namespace[known.namespace]

    def has_gateway(self, gateway: GatewayId) -> bool:
        return gateway in self._gateways

    @property
    def is_watched(self) -> bool:
        """A gateway is connected, which tells of calls."""
        return bool(self._gateways)

    @property
    def can_start(self) -> bool:
        """Otherwise nobody could say that an instance is ready."""
        return self.has_keeper and bool(self._gateways)

    @property
    def _home(self) -> GatewayId | None:
        return next(iter(self._gateways), None)

    # -- its life -------------------------------------------------------------------------------------------

    def start(self, known: Deployment, now: float) -> list[Action]:
        """One more of the revision."""
        self._started += 1
        started = self._add(InstanceId(f"{self._boot}-{self._started}"), known, State.STARTING, now)
        return [Start(started.id, known.id), *self._give(started, fresh=True)]

    def release(self, known: Deployment, count: int, now: float) -> list[Action]:
        """Ask for so many that are idle."""
        home = self._home
        if home is None:
            return []
        known.asked += count
        known.asked_until = now + RELEASE_S
        self._admission.note(known)
        return [Release(home, known.id, count)]

    def retire(self, found: Instance) -> list[Action]:
        """It takes no more calls, and ends after those it has. A gateway that is away hears of it when it is back, by
        what it holds."""
        if found.state is not State.RELEASING:
            found.revision.put(found, State.RELEASING)
        return [] if found.gateway is None else [Retire(found.gateway, found.id)]

    def forget(self, found: Instance) -> None:
        """It ended."""
        del self._by_id[found.id]
        self._in_namespace[found.revision.namespace] -= 1
        found.revision.remove(found)
        self._admission.note(found.revision)

    # -- who is connected -----------------------------------------------------------------------------------

    def gateway_up(
        self, gateway: GatewayId, holding: Mapping[RevisionId, Sequence[InstanceId]], now: float
    ) -> list[Action]:
        """What it holds is its; what it does not hold, though it should, or nobody does, is given away anew."""
        self._gateways[gateway] = None
        actions: list[Action] = []
        held: set[InstanceId] = set()
        for revision, instances in holding.items():
            for instance in instances:
                held.add(instance)
                actions += self._take_held(gateway, instance, revision, now)
        for found in list(self._by_id.values()):
            if found.id not in held and found.gateway in (None, gateway):
                actions += self._give(found, fresh=False)
        return actions

    def gateway_down(self, gateway: GatewayId) -> None:
        """Nobody holds its instances."""
        self._gateways.pop(gateway, None)
        for found in self._by_id.values():
            if found.gateway == gateway:
                found.gateway = None

    def lacking(self, running: Collection[InstanceId]) -> list[Instance]:
        """Those that a keeper does not have."""
        return [each for each in self._by_id.values() if each.id not in running]

    def found_running(self, running: Mapping[InstanceId, RevisionId], now: float) -> list[Action]:
        """A keeper has these: those we do not know are adopted, those that should have ended are ended again."""
        actions: list[Action] = []
        for instance, revision in running.items():
            known = self._by_id.get(instance)
            if known is None:
                actions += self._give(self._adopt(instance, revision, now), fresh=False)
            elif known.state is State.STOPPING:
                actions.append(Stop(instance, ExitCause.STOPPED))
        return actions

    # -- inside ---------------------------------------------------------------------------------------------

    def _add(self, instance: InstanceId, known: Deployment, state: State, now: float) -> Instance:
        known.has_zygote = self._admission.zygotes.is_kept(known.id)
        self._in_namespace[known.namespace] += 1
        added = self._by_id[instance] = Instance(instance, known, state, now)
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
        self._admission.note(known)
        return adopted

    def _take_held(self, gateway: GatewayId, instance: InstanceId, revision: RevisionId, now: float) -> list[Action]:
        found = self._by_id.get(instance)
        if found is None:
            found = self._adopt(instance, revision, now)
            if self.has_keeper:
                # The keeper answers that it does not run, and the gateway hears of it.
                found.revision.put(found, State.STOPPING)
                return [Stop(instance, ExitCause.KEEPER_LOST)]
        if found.gateway not in (None, gateway):
            return []
        found.gateway = gateway
        if found.state is State.STOPPING:
            return []
        return self.retire(found) if found.revision.is_removed or found.state is State.RELEASING else []

    def _give(self, found: Instance, *, fresh: bool) -> list[Action]:
        """Find an instance that no gateway holds its gateway, or its end."""
        home = self._home
        if home is None or found.state is State.STOPPING:
            return []
        if found.revision.is_removed or found.state is State.RELEASING:
            found.revision.put(found, State.STOPPING)
            return [Stop(found.id, ExitCause.REMOVED)]
        found.gateway = home
        return [Assign(found.id, found.revision.id, home, fresh)]
