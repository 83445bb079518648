"""The Roster's books: a deployed revision, its instances and what is wanted of them."""

from collections.abc import Mapping
from enum import StrEnum
from math import inf

from corral.model import GatewayId, InstanceId, RevisionId, key_of
from corral.policy import Scaler
from corral.policy.backoff import Backoff
from corral.policy.budget import WorkingSet
from corral.roster.actions import Action, Block, Decided, Queued, Scaling

FAILED_FIRST_S, FAILED_MOST_S = 1.0, 60.0
"""After a start that failed, doubling from the first to the most."""
CRASHED_FIRST_S, CRASHED_MOST_S = 0.01, 5.0
"""After an instance that ended by itself within CRASHED_EARLY_S: calls go on being held, so the waits are short."""
CRASHED_EARLY_S = 1.0
BUSY_S = 1.25
"""So long after a gateway's last word about its calls a revision is taken for busy: gateways tell of each second that
was not silent, at its end."""
START_S = 0.01
"""What a cold start is taken to cost until one was seen."""


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    RELEASING = "releasing"
    STOPPING = "stopping"

    __hash__ = str.__hash__  # an enum's own is written in Python, and these are counted by at each event


SERVING = (State.STARTING, State.READY)


class Instance:
    __slots__ = ("_cpu", "gateway", "id", "is_forked", "revision", "since", "state")

    def __init__(self, id: InstanceId, revision: "Deployment", state: State, now: float) -> None:
        self.id = id
        self.revision = revision
        self.gateway: GatewayId | None = None
        """Who holds it; None: nobody, it waits for a gateway."""
        self.state = state
        self.since = now
        self.is_forked = revision.has_zygote
        """From its revision's zygote, which holds what they share: it uses less, and is counted apart."""
        self._cpu: tuple[float, float] | None = (now, 0.0) if state is State.STARTING else None
        """Moment and cpu seconds in all of its last measurement. None: adopted, and not measured since."""

    def read_cpu(self, cpu_s: float, now: float) -> float | None:
        """Cores it took since the last measurement, or since its start, now that it used `cpu_s` in all. None: not
        known."""
        last, self._cpu = self._cpu, (now, cpu_s)
        if last is None or now <= last[0]:
            return None
        return max(0.0, cpu_s - last[1]) / (now - last[0])

    @property
    def used(self) -> WorkingSet:
        """Where its measurements belong."""
        return self.revision.used_forked if self.is_forked else self.revision.used


class Deployment:
    """A revision's instances and what is wanted of them."""

    def __init__(self, id: RevisionId, scaling: Scaling, scaler: Scaler) -> None:
        self.id = id
        self.namespace = key_of(id).partition("/")[0]
        self.scaling = scaling
        self.scaler = scaler
        self.instances: dict[InstanceId, Instance] = {}
        self.count = dict.fromkeys(State, 0)
        self.forked = dict.fromkeys(State, 0)
        """How many of `count` were forked from the revision's zygote."""
        self.asked = 0
        """Instances that the gateway was asked to give up and has not yet."""
        self.asked_until = float("-inf")
        self.is_evicted = False
        """Asked for the sake of others: what is not given up until then stays."""
        self.cap: int | None = None
        """No more than so many while memory is short, whatever the scaler says: until calls wait, or there is room."""
        self.cap_why = ""
        self.desired = 0
        """As the scaler said last, before the cap, min and max."""
        self.why = ""
        self.inputs: Mapping[str, float] = {}
        self.decided: Decided | None = None
        self.is_settled = False
        self.is_removed = False
        self.failures = Backoff(FAILED_FIRST_S, FAILED_MOST_S)
        self.crashes = Backoff(CRASHED_FIRST_S, CRASHED_MOST_S)
        self.ask_at: float | None = None
        """When the scaler wants to be asked again."""
        self.used = WorkingSet()
        """By instances that loaded the code themselves."""
        self.used_forked = WorkingSet()
        """By those forked from the revision's zygote."""
        self.has_zygote = False
        """The next one will be forked from it."""
        self.start_s = START_S
        """How long the last cold start took."""
        self.busy = 0
        """Instances that were needed at once, as a gateway said last; of no meaning after `busy_until`."""
        self.busy_until = float("-inf")
        self.wanted_until = float("-inf")
        """Calls wait for an instance, as far as is known."""
        self.is_held = False
        """Its next start had its turn, and found no room."""
        self.is_queued = False
        """Whether the gateways were told that its starts wait for room."""
        self.timer_at: float | None = None
        """The one entry of the heap that counts; others are left over."""

    @property
    def ready(self) -> int:
        """Without those asked back."""
        return max(0, self.count[State.READY] - self.asked)

    @property
    def have(self) -> int:
        """Those that start included, those asked back not. The gateway may give up one that is still starting."""
        return max(0, self.count[State.READY] + self.count[State.STARTING] - self.asked)

    @property
    def is_even(self) -> bool:
        """It has instances, as many as are wanted and as was told last, and nothing about them is under way."""
        if self.asked or self.cap is not None or self.decided is None:
            return False
        return 0 < self.have == self.wanted == self.decided.desired

    @property
    def is_short(self) -> bool:
        """It has no instance, or fewer than are promised to it."""
        return self.have == 0 or self.have < self.floor

    @property
    def floor(self) -> int:
        if self.is_removed:
            return 0
        return self.scaling.min if self.is_settled else max(self.scaling.min, self.scaling.initial)

    def price_mib(self, is_forked: bool, instances: int) -> int:
        """What one of so many is charged: what its like were seen to use, or the limit while none was seen. One that
        has just loaded shows what loading takes, which is enough to deploy by; for several it is known too little."""
        for used in (self.used_forked, self.used) if is_forked else (self.used,):
            if used.mib is not None and not (used.is_young and instances > 1):
                return used.mib
        return max(self.scaling.memory_mib, self.used.mib or 0)

    @property
    def prices(self) -> tuple[int, int]:
        """What one that loaded the code itself is charged, and one that was forked."""
        there = len(self.instances)
        plain = self.price_mib(False, there)
        return plain, plain if self.used_forked.mib is None else self.price_mib(True, there)

    @property
    def charges(self) -> tuple[int, int, int]:
        """What its instances are charged together, each by its kind: those that serve or will, those that are retiring,
        those that are ending."""
        plain, fork = self.prices
        count, forked, less = self.count, self.forked, plain - fork
        return (
            (count[State.STARTING] + count[State.READY]) * plain
            - (forked[State.STARTING] + forked[State.READY]) * less,
            count[State.RELEASING] * plain - forked[State.RELEASING] * less,
            count[State.STOPPING] * plain - forked[State.STOPPING] * less,
        )

    @property
    def mib_with_next(self) -> int:
        """What all would be charged with one more."""
        there, forked = len(self.instances) + 1, sum(self.forked.values()) + self.has_zygote
        return (there - forked) * self.price_mib(False, there) + forked * self.price_mib(True, there)

    @property
    def next_mib(self) -> int:
        """What one more would be charged."""
        return self.price_mib(self.has_zygote, len(self.instances) + 1)

    @property
    def instance_mib(self) -> int:
        """What one of those that serve is charged, on average: which of them a gateway gives up is not known."""
        serving = self.count[State.STARTING] + self.count[State.READY]
        return self.charges[0] // serving if serving else self.next_mib

    @property
    def wanted(self) -> int:
        """Desired, within its bounds."""
        desired = self.desired if self.cap is None else min(self.desired, self.cap)
        return min(max(desired, self.floor), self.scaling.max)

    def answered(self) -> None:
        """The gateway gave up one that it was asked for."""
        self.asked = max(0, self.asked - 1)
        self.is_evicted = self.is_evicted and self.asked > 0

    def expire(self, now: float) -> bool:
        """What a gateway was asked for and did not give up in time, it keeps. True: that was for the sake of others,
        and the scaler has counted it as gone."""
        if not self.asked or now < self.asked_until:
            return False
        was_evicted, self.asked, self.is_evicted = self.is_evicted, 0, False
        if self.cap is not None:
            self.limit(max(self.cap, self.have), self.cap_why)
        return was_evicted

    def limit(self, cap: int | None, why: str = "") -> None:
        """None, or as many as are desired: no limit."""
        self.cap, self.cap_why = (None, "") if cap is None or cap >= self.desired else (cap, why)

    def due_at(self, now: float) -> float | None:
        """When something is to be done about it though nothing happens; None: never."""
        at = inf if self.ask_at is None else self.ask_at
        if self.asked:
            at = min(at, self.asked_until)
        start_at = self.start_at
        if start_at > now and self.wanted > self.have:
            at = min(at, start_at)
        return None if at == inf else at

    def is_overdue(self, now: float) -> bool:
        """Something is to be done about it, besides asking its scaler."""
        return self.wanted > self.have or (self.asked > 0 and self.asked_until <= now)

    def tell_decision(self) -> list[Action]:
        """As it stands, if it is another than the one told last."""
        desired = self.wanted
        if desired == (0 if self.decided is None else self.decided.desired):
            return []
        why = self.why
        if desired > self.desired:
            name = "min" if desired == self.scaling.min else "initial"
            why = f"{name} = {desired}" if desired != self.scaling.settings.keeps else f"its rule keeps {desired}"
        elif desired < self.desired:
            why = f"{why}; held at max = {desired}" if self.cap is None else f"{why}; {self.cap_why}"
        self.decided = Decided(self.id, desired, self.have, why, self.inputs)
        return [self.decided]

    def unblock(self, now: float) -> list[Action]:
        """An end to its back-off after starts that failed."""
        was_blocked = self.failures.is_waiting(now)
        self.failures.reset()
        return [Block(self.id, "", now, "")] if was_blocked else []

    def queue(self, why: str) -> list[Action]:
        """The gateways hear why its starts wait for room."""
        self.is_queued = True
        return [Queued(self.id, why)]

    def unqueue(self) -> list[Action]:
        if not self.is_queued:
            return []
        self.is_queued = False
        return [Queued(self.id, "")]

    def note_age(self, instance: Instance, now: float) -> None:
        """The instance ended by itself: soon after its start, or after it was of use."""
        if now - instance.since < CRASHED_EARLY_S:
            self.crashes.failed(now)
        else:
            self.crashes.reset()

    def seems_busy(self, calls: int, now: float) -> None:
        self.busy, self.busy_until = -(-calls // self.scaling.at_once), now + BUSY_S

    @property
    def start_at(self) -> float:
        """No start before this moment."""
        return max(self.failures.until, self.crashes.until)

    @property
    def is_at_rest(self) -> bool:
        """Nothing of it runs, and nothing will be done before something is asked. A back-off is remembered."""
        if self.instances or self.ask_at is not None or self.is_removed:
            return False
        return max(self.desired, self.floor) == 0 and self.start_at == float("-inf")

    def add(self, instance: Instance) -> None:
        self.instances[instance.id] = instance
        self._count(instance, 1)

    def remove(self, instance: Instance) -> None:
        del self.instances[instance.id]
        self._count(instance, -1)

    def put(self, instance: Instance, state: State) -> None:
        self._count(instance, -1)
        instance.state = state
        self._count(instance, 1)

    def loaded_itself(self, instance: Instance) -> None:
        """With a zygote or without, it loaded the code itself."""
        self._count(instance, -1)
        instance.is_forked = False
        self._count(instance, 1)

    def _count(self, instance: Instance, sign: int) -> None:
        self.count[instance.state] += sign
        self.forked[instance.state] += sign * instance.is_forked
