"""From what stands to what is desired."""

from corral.model import Observation
from corral.policy import Situation, Usage
from corral.roster.actions import Action
from corral.roster.admission import Admission
from corral.roster.deployment import Deployment, State
from corral.roster.deployments import Deployments
from corral.roster.instances import Instances
from corral.roster.starts import Starts
from corral.roster.timers import Timers


class Convergence:
    """Asks a revision's scaler how many it should have, and does what is allowed now of what lacks. Each event ends in
    one of these, or in `starts.serve`."""

    def __init__(self, revisions: Deployments, instances: Instances, admission: Admission, timers: Timers) -> None:
        self._revisions, self._instances, self._admission = revisions, instances, admission
        self._timers = timers
        self.wall_offset_s = 0.0
        """As in policy.Situation."""
        self.starts = Starts(admission, revisions, instances, timers, ask=self.ask, converge=self.converge)

    def ask(self, known: Deployment, now: float, *, joined: bool = False, because: str = "") -> list[Action]:
        """Its instances changed, or its terms. `because`: for people, what happened."""
        if known.is_removed:
            return []
        self._decide(known, self._situation(known, joined=joined), now, because)
        return self.converge(known, now)

    def hear(
        self,
        known: Deployment,
        now: float,
        *,
        waiting: int = 0,
        executing: int = 0,
        oldest_wait_s: float = 0.0,
        second: Observation | None = None,
        usage: Usage | None = None,
    ) -> list[Action]:
        """Calls wait, a second has closed, it was measured, or its scaler's moment has come: nothing else has changed
        since its last event. Mostly nothing is to be done, and this is asked more often than all others together."""
        if known.is_removed:
            return []
        situation = self._situation(
            known, waiting=waiting, executing=executing, oldest_wait_s=oldest_wait_s, second=second, usage=usage
        )
        self._decide(known, situation, now)
        if not known.is_even:
            return self.converge(known, now)
        self._timers.arm(known, now)
        # A zygote may take the room of instances that fall behind in worth; who waits for a start may not.
        return self.starts.serve(now) if self._admission.zygotes.due_mib else []

    def _situation(
        self,
        known: Deployment,
        *,
        waiting: int = 0,
        executing: int = 0,
        oldest_wait_s: float = 0.0,
        second: Observation | None = None,
        joined: bool = False,
        usage: Usage | None = None,
    ) -> Situation:
        return Situation(
            ready=known.ready,
            starting=known.count[State.STARTING],
            concurrency=known.scaling.at_once,
            in_namespace=self._instances.in_namespace(known),
            waiting=waiting,
            executing=executing,
            oldest_wait_s=oldest_wait_s,
            second=second,
            joined=joined,
            usage=usage,
            start_s=known.start_s,
            memory_mib=known.next_mib,
            wall_offset_s=self.wall_offset_s,
            is_watched=self._instances.is_watched,
        )

    def _decide(self, known: Deployment, situation: Situation, now: float, because: str = "") -> None:
        decision = known.scaler.decide(situation, now)
        known.ask_at = decision.next_at
        # While its start waits for room, time without an instance says nothing new: Wants tell whether calls wait.
        is_held = not situation.waiting and now < known.wanted_until and self._admission.is_waiting(known)
        if decision.desired is not None and not (is_held and decision.desired < known.desired):
            why = f"{because}; {decision.why}" if because else decision.why
            known.desired, known.why, known.inputs = decision.desired, why, decision.inputs
            known.limit(known.cap, known.cap_why)

    def miss(self, known: Deployment, now: float, why: str) -> list[Action]:
        """It has one less than its scaler knows of: what was lost comes back if that says so, or with the calls."""
        return self.converge(known, now) if known.is_removed else self.ask(known, now, because=why)

    def review(self, known: Deployment, now: float) -> list[Action]:
        """Somebody came back. Adopted instances get their time to be used, like new ones."""
        if known.have and known.ask_at is None:
            return self.ask(known, now, joined=True)
        return self.converge(known, now)

    def converge(self, known: Deployment, now: float) -> list[Action]:
        """From what stands to what is desired, as far as allowed now. Ends every event that may change either."""
        if known.is_removed:
            self.starts.note(known)
            return self.starts.serve(now)
        if known.expire(now):
            return self.ask(known, now)
        actions = known.tell_decision()
        self.starts.note(known)
        if self.starts.may_start(known, now):
            self._admission.wait(known, now)
        else:
            actions += self.starts.leave(known)
            if known.wanted < known.have:
                actions += self._instances.release(known, known.have - known.wanted, now)
        self._timers.arm(known, now)
        if known.is_at_rest:
            self._revisions.rest(known, now)
        return actions + self.starts.serve(now)
