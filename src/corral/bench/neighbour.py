"""Row `neighbour`: what a function's calls notice of another function that asks for everything there is."""

from collections.abc import Sequence

from corral.bench.contest import Contest, failures, planned_and_sent
from corral.bench.functions import ECHO
from corral.bench.load import Generator, Lane, Sample
from corral.bench.manage import Function
from corral.bench.percentiles import Spread, spread
from corral.bench.schedule import steady, turns
from corral.bench.table import Figure, Row
from corral.model import FunctionSpec

RATE = 100.0
"""Of the calls that are measured."""
GREEDY_RATE = 20.0
GREEDY_S = 2.0
"""How long each greedy call goes on: about GREEDY_RATE × GREEDY_S instances want everything at once."""
WANTS = ("cpu", "processes", "memory", "disk", "log", "descriptors")
BLOCK_S, ROUNDS = 15, 2
QUICK_BLOCK_S, QUICK_ROUNDS = 4, 1
MEASURED = Function(name="measured", source=ECHO, spec=FunctionSpec(min=1, idle_s=3600))
GREEDY = Function(
    name="greedy",
    source=f"""import os
import time


def main(args):
    until = time.monotonic() + {GREEDY_S}
    globals()[args["want"]](until)


def cpu(until):
    while time.monotonic() < until:
        pass


def processes(until):
    try:
        while os.fork():
            pass
    except OSError:
        cpu(until)
        return
    cpu(until)
    os._exit(0)


def memory(until):
    kept = []
    while time.monotonic() < until:
        kept.append(b"x" * 2**22)


def disk(until):
    while time.monotonic() < until:
        with open("/tmp/full", "wb") as file:
            try:
                while time.monotonic() < until:
                    file.write(bytes(2**20))
            except OSError:
                pass


def log(until):
    while time.monotonic() < until:
        print("x" * 1000)


def descriptors(until):
    kept = []
    try:
        while True:
            kept.append(open("/dev/null"))
    except OSError:
        cpu(until)
""",
    spec=FunctionSpec(initial=0, timeout_s=10, queue=10_000),
)


def measure_neighbour(contest: Contest) -> Row:
    contest.management.deploy([MEASURED, GREEDY])
    contest.management.await_instances(1, 10.0)
    seconds, rounds = (QUICK_BLOCK_S, QUICK_ROUNDS) if contest.quick else (BLOCK_S, ROUNDS)
    contest.say(f"neighbour: {2 * rounds} blocks of {seconds} s")
    quiet: list[Sample] = []
    beside: list[Sample] = []
    greedy: list[Sample] = []
    for turn in (0, *turns(rounds)):
        measured, others = _block(contest, seconds, with_greedy=bool(turn))
        (beside if turn else quiet).extend(measured)
        greedy += others
    # The first block warms up.
    quiet = quiet[round(RATE * seconds) :]
    alone, together = (spread([each.latency_ms for each in block if each.succeeded]) for block in (quiet, beside))
    measured = quiet + beside
    notes = [
        f"{GREEDY_RATE:g} greedy calls/s, each asking for one of {', '.join(WANTS)} for {GREEDY_S:g} s",
        f"of {len(greedy)} greedy calls {sum(each.succeeded for each in greedy)} were answered, "
        f"others: {'; '.join(failures(greedy)) or 'none'}",
        planned_and_sent(measured),
        *failures(measured),
    ]
    errors = sum(not each.succeeded for each in measured)
    title = "A neighbour that asks for everything"
    return Row(name="neighbour", title=title, figures=_figures(alone, together, errors), notes=notes)


def _block(contest: Contest, seconds: int, *, with_greedy: bool) -> tuple[list[Sample], list[Sample]]:
    """The samples of the measured function and of the greedy one. What the greedy one began ends with the block."""
    plan = steady([contest.call(MEASURED, b'{"a": 1}')] * round(RATE * seconds), RATE)
    if with_greedy:
        count = round(GREEDY_RATE * seconds)
        wants = [b'{"want": "%b"}' % WANTS[number % len(WANTS)].encode() for number in range(count)]
        plan += steady([contest.call(GREEDY, want) for want in wants], GREEDY_RATE, lane=1)
        plan.sort(key=lambda ask: ask.at)
    lanes = [Lane(contest.door(), ready=4), Lane(contest.door(), ready=0)]
    samples = Generator(lanes).run(plan)
    for lane in lanes:
        lane.close()
    return [each for each in samples if each.lane == 0], [each for each in samples if each.lane == 1]


def _figures(alone: Spread | None, together: Spread | None, errors: int) -> Sequence[Figure]:
    both = (alone, together) if alone and together else None
    return [
        Figure(name="errors of the measured function", value=errors, most=0),
        Figure(name="p50 beside it / alone", value=both[1].p50 / both[0].p50 if both else None),
        Figure(name="p99 beside it / alone", value=both[1].p99 / both[0].p99 if both else None),
        Figure(name="p50 alone", value=alone.p50 if alone else None, unit="ms"),
        Figure(name="p50 beside it", value=together.p50 if together else None, unit="ms"),
        Figure(name="p99 alone", value=alone.p99 if alone else None, unit="ms"),
        Figure(name="p99 beside it", value=together.p99 if together else None, unit="ms"),
        Figure(name="max beside it", value=together.max if together else None, unit="ms"),
    ]
