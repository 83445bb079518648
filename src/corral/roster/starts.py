"""Starts: whose turn it is, and the room that is made for them."""

from collections.abc import Callable

from corral.model import RevisionId
from corral.policy.ranking import Ranking
from corral.roster.actions import Action
from corral.roster.admission import Admission, Room
from corral.roster.deployment import Deployment, State
from corral.roster.deployments import Deployments
from corral.roster.instances import Instances
from corral.roster.timers import Timers

LOOK_S = 0.25
"""Between two looks for room for what found none: in each of them the largest user may have to let one instance go."""

Step = Callable[[Deployment, float], list[Action]]
"""A revision, at a moment."""


class Starts:
    """Those that wait line up with the admission; `serve` lets them start as memory allows, and ends each event.
    `ask` asks a revision's scaler, `converge` does what is wanted of it."""

    def __init__(
        self,
        admission: Admission,
        revisions: Deployments,
        instances: Instances,
        timers: Timers,
        *,
        ask: Step,
        converge: Step,
    ) -> None:
        self._admission, self._zygotes = admission, admission.zygotes
        self._revisions, self._instances, self._timers = revisions, instances, timers
        self._ask, self._converge = ask, converge
        self._capped: Ranking[RevisionId] = Ranking()
        """Those that may not have what their scalers say as memory is short, by what their next start needs."""
        self.look_at: float | None = None
        """When to look for room again for those that found none; None: there are none."""
        self._raise_at = float("-inf")
        """When to look again for room for a zygote, at the earliest."""

    # -- who wants to start ---------------------------------------------------------------------------------

    def note(self, known: Deployment) -> None:
        """Its instances changed, or what is wanted of it."""
        self._admission.note(known)
        if known.cap is None:
            self._capped.drop(known.id)
        else:
            self._capped.put(known.id, self._admission.needs_mib(known))

    def may_start(self, known: Deployment, now: float) -> bool:
        """Whether it lacks an instance, and nothing but memory could be in the way."""
        is_short = known.wanted > known.have and len(known.instances) < known.scaling.max
        return is_short and self._instances.can_start and now >= known.start_at and not known.is_removed

    def leave(self, known: Deployment) -> list[Action]:
        """It wants none, or may not start."""
        self._admission.done(known)
        return known.unqueue()

    def forget(self, known: Deployment) -> None:
        self._capped.drop(known.id)
        self._admission.forget(known)

    # -- their turn -----------------------------------------------------------------------------------------

    def serve(self, now: float) -> list[Action]:
        """Start what may start, in fair order; find room for what does not fit. It keeps nobody else from his turn."""
        if self._is_quiet:
            return []
        actions: list[Action] = []
        while (known := self._admission.next()) is not None:
            if not self.may_start(known, now):
                actions += self.leave(known)
            elif self._admission.fits(known):
                actions += self._start(known, now)
            elif known.have < known.floor or now < known.wanted_until:
                actions += self._hold(known, now)
            else:
                # Nothing is given up for what a rule foresees, and calls that waited may have gone.
                self._admission.done(known)
                known.limit(known.have, "the machine's memory is full and no call waits for it")
                actions += self._ask(known, now)
        if not self._instances.has_keeper:
            return actions
        actions += self._zygotes.raised(self._admission.open_mib, self._admission.limit_mib)
        if self._admission.open_mib < self._zygotes.due_mib:
            return actions + self._make_room_for_zygote(now)
        return actions + self._restore(now)

    @property
    def _is_quiet(self) -> bool:
        """Nobody waits for a start, for room or for a zygote, as at nearly every event."""
        return not (len(self._capped) or self._admission.is_awaited or self._zygotes.due_mib)

    def look_again(self, now: float) -> list[Action]:
        """At `look_at`: those that found no room have another turn."""
        if self.look_at is None or now < self.look_at:
            return []
        self.look_at = None
        self._admission.look_again(now)
        return self.serve(now)

    def _start(self, known: Deployment, now: float) -> list[Action]:
        started = self._instances.start(known, now)
        self._admission.started(known, now)
        return [*known.unqueue(), *started]

    def _hold(self, known: Deployment, now: float) -> list[Action]:
        """It is its turn, and it does not fit."""
        room = self._admission.room_for(known, now)
        actions = [] if room is None else self._make_room(room, now)
        self._admission.hold(known, has_claim=room is not None)
        if self.look_at is None:
            self.look_at = now + LOOK_S
        # While idle instances and zygotes are enough it is a matter of milliseconds, unless they turn out busy.
        if not known.is_queued and (room is None or not room.is_enough or known.is_held):
            actions += known.queue(self._admission.shortage(known))
        known.is_held = True
        return actions

    def _restore(self, now: float) -> list[Action]:
        """Nobody waits for room: those that gave some up, or were refused any, may have it again."""
        revision = self._capped.first()
        known = None if revision is None else self._revisions.find(revision)
        if known is None or not self._admission.fits(known):
            return []
        known.limit(None)
        return self._converge(known, now)

    # -- room for them --------------------------------------------------------------------------------------

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
        room = self._admission.room_for_zygote(now)
        return [] if room is None else self._make_room(room, now)

    def _evict(self, known: Deployment, count: int, now: float) -> list[Action]:
        actions = self._instances.release(known, count, now)
        known.is_evicted = True
        known.limit(known.have, "idle, and the machine's memory is needed")
        actions += known.tell_decision()
        self._timers.arm(known, now)
        return actions

    def _retire_one(self, known: Deployment) -> list[Action]:
        for instance in known.instances.values():
            if instance.state is State.READY:
                actions = self._instances.retire(instance)
                self._admission.retired += 1
                self._admission.note(known)
                return actions
        return []
