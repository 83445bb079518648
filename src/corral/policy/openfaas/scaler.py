"""OpenFaaS' autoscaling behind the Scaler seam.

1. A call that finds nothing brings `min_awake` instances at once: there, the gateway holds it meanwhile.
2. Every 15 s: wanted = ceil(load / (target x proportion)), at least the fewest; the highest of the last `down_window_s`
   counts. In the mode `alert` its notifications add steps instead (alert.py).
3. With `zero`, in the same round: nothing for `zero_duration_s`, and it goes to zero. Calls under way are something;
   there, only those that begin are.
Rounds whose answer cannot differ from the last are skipped."""

from math import ceil

from corral.policy.openfaas.alert import Alert, step
from corral.policy.openfaas.settings import OpenFaasSettings
from corral.policy.openfaas.signal import ROUNDING, UNITS, Signal
from corral.policy.rhythm import next_moment
from corral.policy.scaler import Decision, Situation, Terms
from corral.policy.windows import PeakWindow

LOOP_S = 15.0


class Run:
    """What begins with the first question: until then nobody knows how many instances stand."""

    def __init__(self, desired: int, now: float) -> None:
        self.desired = desired
        self.begun, self.loop_at = now, now + LOOP_S
        self.called_at = now
        """When a call was last under way, or instances were brought."""
        self.why, self.load = "it begins", 0.0


class OpenFaas:
    def __init__(self, terms: Terms) -> None:
        self._run: Run | None = None
        self._signal: Signal | None = None
        """Of the present mode; None: it is listened to from the next question on."""
        self._alert: Alert | None = None
        """In the mode of that name."""
        self._wishes = PeakWindow(0.0)
        self._terms, self._settings = terms, _settings_of(terms)
        self.retune(terms)

    def retune(self, terms: Terms) -> None:
        before, now = self._settings, _settings_of(terms)
        self._terms, self._settings = terms, now
        self._least = min(max(terms.min, now.min_awake), terms.max)
        self._aim = now.target * now.proportion
        self._wishes.span = now.down_window_s
        if (before.mode, before.metric) != (now.mode, now.metric):
            self._signal = None

    def decide(self, seen: Situation, now: float) -> Decision:
        run = self._run
        if run is None:
            run = self._run = Run(seen.have, now)
        signal = self._signal or self._listen(run, now)
        is_scraped = signal.series.scrape(seen.is_watched, now)
        if self._alert is not None:
            self._hear(run, self._alert, is_scraped, now)
        if now >= run.loop_at:
            self._round(run, signal, seen, now)
        signal.learn(seen, now)
        self._note_calls(run, seen, now)
        if run.desired or not self._settings.zero:
            run.desired = min(max(run.desired, self._least), self._terms.max)
        return Decision(run.desired, self._next_at(run, signal), run.why, self._inputs(run, seen))

    def _listen(self, run: Run, now: float) -> Signal:
        signal = self._signal = Signal(self._settings, now)
        is_more = run.desired > self._least
        self._alert = Alert(signal.series, now, is_more) if self._settings.mode == "alert" else None
        return signal

    # -- deciding -------------------------------------------------------------------------------------------

    def _hear(self, run: Run, alert: Alert, is_scraped: bool, now: float) -> None:
        """What the Alertmanager tells."""
        if is_scraped:
            alert.evaluate(now)
            run.load = alert.rate
        told = alert.look(now)
        if told is None or not run.desired:
            return
        if told:
            added = step(self._terms.max, self._settings.factor)
            run.desired, run.why = run.desired + added, f"the alert fires at {alert.rate:.3g} good calls/s: +{added}"
        else:
            run.desired, run.why = self._least, f"the alert is resolved: back to {self._least}"

    def _round(self, run: Run, signal: Signal, seen: Situation, now: float) -> None:
        run.loop_at = next_moment(run.begun, LOOP_S, now)
        if not run.desired:
            return
        if self._settings.zero and now - run.called_at >= self._settings.zero_duration_s:
            run.desired, run.why = 0, f"no call for {now - run.called_at:.0f} s"
        elif self._alert is None and seen.is_watched:
            run.load = signal.load(now)
            self._wishes.expire(now)
            self._wishes.add(ceil(run.load / self._aim - ROUNDING), now)
            # After a restart, or another mode, what stands is not given up for want of a past.
            lowest = self._least if now >= signal.whole_at else run.desired
            run.desired = max(lowest, self._wishes.highest)
            run.why = f"{run.load:.4g} {UNITS[signal.metric]}, {self._aim:.4g} for each: {run.desired}"

    def _note_calls(self, run: Run, seen: Situation, now: float) -> None:
        is_called = seen.waiting > 0 or (seen.second is not None and seen.second.concurrency_s > 0)
        if not is_called and not seen.joined:
            return
        run.called_at = now
        if not run.desired:
            run.desired = self._least
            run.why = "the first call" if is_called else "an instance is there"

    # -- when to be asked again -----------------------------------------------------------------------------

    def _next_at(self, run: Run, signal: Signal) -> float | None:
        if not run.desired:
            return None
        moments = []
        if self._alert is not None:
            moments += self._alert_moments(self._alert, signal)
        elif run.desired != self._least or not signal.is_quiet:
            moments.append(run.loop_at)
        if self._settings.zero:
            idle_at = run.called_at + self._settings.zero_duration_s
            moments.append(max(run.loop_at, next_moment(run.begun, LOOP_S, idle_at - ROUNDING)))
        return min(moments, default=None)

    def _alert_moments(self, alert: Alert, signal: Signal) -> list[float]:
        moments = [] if alert.look_at is None else [alert.look_at]
        return moments if alert.is_quiet and signal.is_quiet else [*moments, signal.series.scrape_at]

    # -- for people -----------------------------------------------------------------------------------------

    def _inputs(self, run: Run, seen: Situation) -> dict[str, float]:
        return {
            "load": round(run.load, 3),
            "for_each": round(self._aim, 3),
            "ready": seen.ready,
            "fewest": self._least,
            "firing": float(self._alert is not None and self._alert.is_firing),
        }


def _settings_of(terms: Terms) -> OpenFaasSettings:
    assert isinstance(terms.settings, OpenFaasSettings)
    return terms.settings
