"""Knative's own autoscaler behind the Scaler seam: what gateways saw goes into its windows, and every two seconds it
decides.

What it scrapes from its sidecars and is sent by its activator are here the gateways' seconds, by the same arithmetic:
the time integral of the calls at once, waiting ones too, and the calls that arrived, each added to the second in which
it came in. Ticks whose answer cannot differ from the last are skipped: an idle revision costs nothing."""

from math import floor

from corral.policy.knative.activation import Activation, Rules
from corral.policy.knative.autoscaler import Autoscaler, Spec
from corral.policy.knative.metrics import Metrics
from corral.policy.knative.settings import KnativeSettings, resolve_target
from corral.policy.knative.ticks import Ticks
from corral.policy.scaler import Decision, Situation, Terms

UNKNOWN = -1
ANY = -1.0
"""Target burst capacity: any number of calls must find room."""


class Run:
    """What begins with the first question: until then nobody knows how many instances stand."""

    def __init__(self, spec: Spec, rules: Rules, seen: Situation, now: float) -> None:
        self.ticks = Ticks(now)
        self.autoscaler = Autoscaler(spec, seen.ready, now)
        self.activation = Activation(rules, seen.have, now)
        self.wanted = UNKNOWN
        """By the autoscaler, at its last tick."""
        self.excess_burst = first_excess_burst(spec, rules.initial)
        self.averages: tuple[float, float] | None = None
        """Stable and panic, at the last tick; None: nothing was known."""
        self.evaluated_for: int | None = None
        """Ready instances at the last tick, if nothing was learnt since."""
        self.was_zero = False
        """No calls were in the windows at the last tick."""
        self.is_asleep = False
        """No tick could change anything: they are skipped."""
        self.reconciled_for: object = None
        self.look_at: float | None = None


class Kpa:
    def __init__(self, terms: Terms) -> None:
        self._settings = _settings_of(terms)
        self._rules, self._specs = _rules_of(terms), dict[int, Spec]()
        self._metrics = Metrics(self._settings)
        self._run: Run | None = None

    def retune(self, terms: Terms) -> None:
        self._settings = _settings_of(terms)
        self._rules, self._specs = _rules_of(terms), {}
        self._metrics.resize(self._settings)
        if self._run is not None:
            self._run.evaluated_for = None

    def decide(self, seen: Situation, now: float) -> Decision:
        if self._run is None:
            self._run = Run(self._spec(seen.concurrency), self._rules, seen, now)
        run = self._run
        if run.is_asleep:
            self._wake(run, now)
        is_called = self._learn(run, seen, floor(now))
        if is_called or now >= run.ticks.next_at:
            self._evaluate(run, seen, now)
            run.ticks.take(now)
        self._reconcile(run, seen, now)
        moments = [at for at in (run.look_at, self._tick_at(run, seen, now)) if at is not None]
        return Decision(run.activation.replicas, min(moments, default=None), self._why(run), self._inputs(run, seen))

    # -- what is learnt -------------------------------------------------------------------------------------

    def _learn(self, run: Run, seen: Situation, second: int) -> bool:
        """Whether calls came to a revision of which nothing is wanted: it is not to wait for a tick. There, it
        waits for one where nothing is known yet, as after a restart."""
        metrics, is_idle = self._metrics, run.wanted <= 0
        has_begun = metrics.sample(seen.is_watched and seen.ready > 0, second)
        if seen.second is not None:
            metrics.observed(seen.second, second)
        if seen.waiting and is_idle:
            metrics.first_call(second)
        has_calls = seen.waiting > 0 or (seen.second is not None and seen.second.concurrency_s > 0)
        if has_begun or has_calls or seen.second is not None:
            run.evaluated_for = None
        return has_calls and is_idle

    # -- deciding -------------------------------------------------------------------------------------------

    def _evaluate(self, run: Run, seen: Situation, now: float) -> None:
        second = floor(now)
        run.averages, run.evaluated_for = self._averages(second), seen.ready
        run.was_zero = self._metrics.is_zero or self._metrics.is_empty(second)
        run.autoscaler.respec(self._spec(seen.concurrency))
        if run.averages is not None:
            scale = run.autoscaler.scale(seen.ready, *run.averages, now)
            run.wanted, run.excess_burst = scale.desired, scale.excess_burst

    def _averages(self, second: int) -> tuple[float, float] | None:
        found = self._metrics.averages(self._settings, second)
        if found is None and self._settings.target_burst_capacity == ANY:
            return 0.0, 0.0  # then all calls pass the activator, and what it does not report there was not
        return found

    def _reconcile(self, run: Run, seen: Situation, now: float) -> None:
        """When something that it goes by has changed, or it is time: not at each tick, as there."""
        rules = self._rules
        given = (run.wanted, run.excess_burst < 0, seen.ready, rules)
        if given == run.reconciled_for and (run.look_at is None or now < run.look_at):
            return
        run.reconciled_for, run.activation.rules = given, rules
        run.look_at = run.activation.reconcile(run.wanted, run.excess_burst, seen.ready, now)

    # -- when to be asked again -----------------------------------------------------------------------------

    def _tick_at(self, run: Run, seen: Situation, now: float) -> float | None:
        run.is_asleep = self._is_settled(run, seen)
        if not run.is_asleep:
            return run.ticks.next_at
        if seen.ready or self._metrics.is_empty(floor(now)):
            return None
        # Once the windows are empty nothing is left to be remembered.
        return run.ticks.at_or_after(self._metrics.empty_at)

    def _is_settled(self, run: Run, seen: Situation) -> bool:
        """Each tick would answer as the last one, until something comes."""
        if run.evaluated_for != seen.ready:
            return False
        # Ready instances that nobody watches will be watched again, and those too many or too few will change.
        if seen.ready and (not seen.is_watched or seen.have != run.activation.replicas):
            return False
        # At the last tick, not now: since then the windows may have become empty of calls.
        return run.averages is None or (run.was_zero and run.autoscaler.is_settled)

    def _wake(self, run: Run, now: float) -> None:
        run.is_asleep = False
        run.ticks.skip(now)
        if run.averages is not None:
            run.autoscaler.hold(run.ticks.last_at)

    # -- what it goes by ------------------------------------------------------------------------------------

    def _spec(self, concurrency: int) -> Spec:
        """Made once: it is asked for at each tick."""
        spec = self._specs.get(concurrency)
        if spec is None:
            spec = self._specs[concurrency] = _spec_of(self._settings, concurrency)
        return spec

    # -- for people -----------------------------------------------------------------------------------------

    def _why(self, run: Run) -> str:
        activation = run.activation
        if run.averages is None:
            return f"nothing was seen for {self._settings.window_s} s; {activation.state}"
        (stable, panic), unit = run.averages, "a second" if self._settings.metric == "rps" else "at once"
        why = (
            f"{stable:.3g} calls {unit} over {self._settings.window_s} s, {panic:.3g} over "
            f"{self._settings.panic_window_s} s, {run.autoscaler.spec.target:.3g} for each: {run.wanted}"
        )
        if run.autoscaler.panicking_since is not None:
            why += "; panic"
        return why if activation.replicas == run.wanted else f"{why}; {activation.state}: {activation.replicas}"

    def _inputs(self, run: Run, seen: Situation) -> dict[str, float]:
        spec = run.autoscaler.spec
        stable, panic = run.averages or (0.0, 0.0)
        return {
            "stable": round(stable, 3),
            "panic": round(panic, 3),
            "ready": seen.ready,
            "target": spec.target,
            "excess_burst": run.excess_burst,
            "panicking": float(run.autoscaler.panicking_since is not None),
        }


def _spec_of(settings: KnativeSettings, concurrency: int) -> Spec:
    target, total = resolve_target(settings, concurrency)
    return Spec(
        target=target,
        total=total,
        burst_capacity=settings.target_burst_capacity,
        panic_threshold=settings.panic_threshold_percent / 100,
        max_up_rate=settings.max_scale_up_rate,
        max_down_rate=settings.max_scale_down_rate,
        window_s=settings.window_s,
        activation_scale=settings.activation_scale,
        delay_s=settings.scale_down_delay_s,
    )


def _rules_of(terms: Terms) -> Rules:
    settings = _settings_of(terms)
    return Rules(
        min=terms.min,
        max=terms.max,
        initial=terms.initial,
        scale_to_zero=settings.scale_to_zero,
        window_s=settings.window_s,
        grace_s=settings.grace_s,
        retention_s=settings.retention_s,
        activation_timeout_s=settings.activation_timeout_s,
        burst_capacity=settings.target_burst_capacity,
    )


def _settings_of(terms: Terms) -> KnativeSettings:
    assert isinstance(terms.settings, KnativeSettings)
    return terms.settings


def first_excess_burst(spec: Spec, initial: int) -> float:
    """Before the first tick: of the instances it begins with."""
    if spec.burst_capacity <= 0:
        return spec.burst_capacity
    return int(initial * spec.total - spec.burst_capacity)
