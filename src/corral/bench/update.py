"""Row `update`: new revisions and rollbacks of a function that is being called all the time."""

import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from corral.bench.command import CommandFailed, run
from corral.bench.contest import Contest, failures, planned_and_sent
from corral.bench.functions import VERSIONED
from corral.bench.load import Generator, Lane, Sample
from corral.bench.manage import NAMESPACE, Function
from corral.bench.percentiles import spread
from corral.bench.schedule import steady
from corral.bench.table import Figure, Row
from corral.model import FunctionSpec

RATE = 1000.0
CALLS, CHANGES = 100_000, 20
QUICK_CALLS, QUICK_CHANGES = 6_000, 2
NAME = "updated"
SPEC = FunctionSpec(min=2)


class Change(msgspec.Struct, frozen=True):
    """One update or rollback that was carried out. Moments are perf_counter seconds."""

    begun: float
    done: float
    version: int
    """Of the code that was deployed or, by a rollback, left."""
    is_rollback: bool

    def is_wrong(self, version: int) -> bool:
        """Whether a call sent after it may not be answered by this version's code."""
        return (version == self.version) is self.is_rollback


class Changes:
    """Updates and rollbacks by turns, evenly over a span of time, by the commands a person would use. They run beside
    the generator, in processes of their own."""

    def __init__(self, contest: Contest, folder: Path, count: int, span_s: float) -> None:
        self._server = contest.server
        self._file = folder / "app.py"
        self._count = count
        self._pause_s = span_s / (2 * count + 1)
        self.done: list[Change] = []
        self.problem = ""
        """Why it ended early; empty: it did not."""
        self._thread = threading.Thread(target=self._run, name="changes")

    def start(self) -> None:
        self._thread.start()

    def join(self) -> list[Change]:
        self._thread.join()
        return self.done

    def _run(self) -> None:
        begun = time.perf_counter()
        try:
            for number in range(2 * self._count):
                due = begun + (number + 0.5) * self._pause_s
                time.sleep(max(due - time.perf_counter(), 0.0))
                self._change(number // 2 + 1, is_rollback=bool(number % 2))
        except CommandFailed as exc:
            self.problem = str(exc)

    def _change(self, version: int, *, is_rollback: bool) -> None:
        if not is_rollback:
            self._file.write_text(VERSIONED.format(version=version))
        words = ("rollback", NAME) if is_rollback else ("deploy", NAME, str(self._file), "--min", str(SPEC.min))
        begun = time.perf_counter()
        run(self._server, *words, "-n", NAMESPACE)
        self.done.append(Change(begun, time.perf_counter(), version, is_rollback))


def measure_update(contest: Contest) -> Row:
    calls, count = (QUICK_CALLS, QUICK_CHANGES) if contest.quick else (CALLS, CHANGES)
    function = Function(name=NAME, source=VERSIONED.format(version=0), spec=SPEC)
    contest.management.deploy([function])
    contest.management.await_instances(SPEC.min, 10.0)
    contest.say(f"update: {count} updates and rollbacks in {calls:,} calls at {RATE:g}/s: {calls / RATE:.0f} s")
    lane = Lane(contest.door(), ready=16)
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as folder:
        changes = Changes(contest, Path(folder), count, calls / RATE)
        changes.start()
        samples = Generator([lane]).run(steady([contest.call(function)] * calls, RATE))
        done = changes.join()
    lane.close()
    answered = [each.latency_ms for each in samples if each.succeeded]
    seen = spread(answered)
    figures = [
        Figure(name="failed calls", value=len(samples) - len(answered), most=0),
        Figure(name="updates and rollbacks", value=len(done), most=2 * count, least=2 * count),
        Figure(name="answers of the wrong revision", value=strangers(samples, done), most=0),
        Figure(name="p50", value=seen.p50 if seen else None, unit="ms"),
        Figure(name="p99", value=seen.p99 if seen else None, unit="ms"),
        Figure(name="max", value=seen.max if seen else None, unit="ms"),
    ]
    notes = [
        f"`corral deploy` and `corral rollback` by turns, {count} times each, among {calls:,} calls",
        "wrong: sent after the command had ended, and answered by the code it had taken out of service",
        planned_and_sent(samples),
        *failures(samples),
        *([f"ended early: {changes.problem}"] if changes.problem else []),
    ]
    title = f"Updates and rollbacks under {RATE:,.0f} calls/s"
    return Row(name="update", title=title, figures=figures, notes=notes)


def strangers(samples: Sequence[Sample], changes: Sequence[Change]) -> int:
    """Calls sent between the end of one change and the beginning of the next that the wrong code answered."""
    count, upcoming = 0, iter([*changes, None])
    last, following = None, next(upcoming)
    for sample in sorted((each for each in samples if each.succeeded), key=lambda each: each.sent):
        while following is not None and sample.sent >= following.done:
            last, following = following, next(upcoming)
        if last is None or (following is not None and sample.done >= following.begun):
            continue
        count += last.is_wrong(msgspec.json.decode(sample.body)["version"])
    return count
