"""Row `functions`: what ten thousand functions cost that nobody calls, against ten."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from corral.bench.command import run
from corral.bench.contest import Contest
from corral.bench.functions import distinct
from corral.bench.idle import Rest, at_rest
from corral.bench.load import closed_loop
from corral.bench.manage import NAMESPACE, Function
from corral.bench.percentiles import Spread, median, spread
from corral.bench.processes import pss_mib, tree
from corral.bench.schedule import turns
from corral.bench.table import Figure, Row
from corral.bench.wires import ask_once
from corral.model import FunctionSpec

FEW, MANY, QUICK_MANY = 10, 10_000, 1_000
BLOCKS, QUICK_BLOCKS = 5, 2
CALLS, QUICK_CALLS = 200, 50
"""To each of the FEW functions, one after the other, in one block."""
REST_S, QUICK_REST_S = 10.0, 3.0
LISTS = 5
SETTLE_S = 1.0
SERVES_S = 60.0
MORE_MIB, P50_RATIO, P99_RATIO, RESTART_S, LIST_MS = 100.0, 1.05, 1.20, 3.0, 300.0
MORE_WAKEUPS = 1.0
AT_ZERO = FunctionSpec(initial=0)
WARM = FunctionSpec(min=1, idle_s=3600)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the row is about; moments in seconds, sizes in MiB."""

    more_mib: float | None
    few: Spread | None
    """Of warm calls, in microseconds."""
    many: Spread | None
    few_rest: Rest
    many_rest: Rest
    restart_s: float
    list_s: float
    deploy_s: float


def measure_many(contest: Contest) -> Row:
    count = QUICK_MANY if contest.quick else MANY
    title = f"{count:,} functions at zero, against {FEW}"
    if contest.server.pid is None:
        return Row(name="functions", title=title, notes=["not measured: needs servers of bench's own"])
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as folder:
        seen = _watch(contest, count, Path(folder, "data"))
    notes = [
        f"deployed in {seen.deploy_s:.0f} s, each with a package of its own",
        f"warm: {FEW} functions of each server in turn, one connection, blocks in turns",
        f"wakeups of the permanent processes: {seen.few_rest.wakeups_per_s:.1f}/s with {FEW} functions, "
        f"{seen.many_rest.wakeups_per_s:.1f}/s with {count:,}; "
        f"CPU {seen.few_rest.cpu_ms_per_s:.2f} and {seen.many_rest.cpu_ms_per_s:.2f} ms/s",
        "restart: from `corral up` on the same data to the first answer of one of them, cold",
    ]
    return Row(name="functions", title=title, figures=_figures(seen), notes=notes)


def _watch(contest: Contest, count: int, data: Path) -> Seen:
    functions = distinct("many", count, AT_ZERO)
    warm = [msgspec.structs.replace(each, spec=WARM) for each in functions[:FEW]]
    contest.management.deploy(warm)
    contest.management.await_instances(FEW, 10.0)
    with contest.beside(data=data) as crowd:
        pid = crowd.server.pid or 0
        before = _settled_mib(pid)
        contest.say(f"functions: deploying {count:,}")
        began = time.monotonic()
        crowd.management.deploy(functions)
        deploy_s = time.monotonic() - began
        after = _settled_mib(pid)
        contest.say("functions: at rest")
        rest_s = QUICK_REST_S if contest.quick else REST_S
        rests = [at_rest(each.server.pid or 0, rest_s) for each in (contest, crowd)]
        list_s = median([run(crowd.server, "list", "-n", NAMESPACE) for _ in range(LISTS)])
        crowd.management.deploy(warm)
        crowd.management.await_instances(FEW, 10.0)
        few, many = _warm(contest, crowd, warm)
    contest.say("functions: restarting")
    began = time.monotonic()
    with contest.beside(data=data) as again:
        _await_answer(again, functions[-1])
        restart_s = time.monotonic() - began
    return Seen(
        more_mib=after - before if before is not None and after is not None else None,
        few=few, many=many, few_rest=rests[0], many_rest=rests[1],
        restart_s=restart_s, list_s=list_s, deploy_s=deploy_s,
    )  # fmt: skip


def _settled_mib(pid: int) -> float | None:
    """PSS of all processes together once none has come or gone for SETTLE_S; None when one could not be read."""
    seen, since = {process.pid for process in tree(pid)}, time.monotonic()
    while time.monotonic() - since < SETTLE_S:
        time.sleep(SETTLE_S / 10)
        now = {process.pid for process in tree(pid)}
        if now != seen:
            seen, since = now, time.monotonic()
    sizes = [pss_mib(each) for each in seen]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _await_answer(contest: Contest, function: Function) -> None:
    """Call until it answers: a server that has just begun may not know its functions yet, and says so (503)."""
    wire, answer = contest.door()(), None
    deadline = time.monotonic() + SERVES_S
    while answer is None or answer.status == 503:
        if time.monotonic() > deadline:
            raise OSError(f"no answer but 503 within {SERVES_S:g} s of a restart")
        time.sleep(0.01 if answer else 0.0)
        answer = ask_once(wire, contest.call(function))
    wire.close()
    if answer.status != 200:
        raise OSError(f"after a restart {function.name} answered {answer.status}: {answer.body[:200]!r}")


def _warm(few: Contest, many: Contest, functions: Sequence[Function]) -> tuple[Spread | None, Spread | None]:
    few.say("functions: warm calls in turns")
    contests = (few, many)
    wires = [each.door()() for each in contests]
    seconds: tuple[list[float], list[float]] = ([], [])
    blocks, calls = (QUICK_BLOCKS, QUICK_CALLS) if few.quick else (BLOCKS, CALLS)
    for block in range(1 + blocks):
        # Within a block they take turns function by function: what else the machine does meets both alike.
        for function, lane in zip([each for each in functions for _ in contests], turns(FEW), strict=True):
            taken = closed_loop(wires[lane], contests[lane].call(function), calls)
            if block > 0:  # the first one warms up
                seconds[lane].extend(taken)
    for wire in wires:
        wire.close()
    return spread([second * 1e6 for second in seconds[0]]), spread([second * 1e6 for second in seconds[1]])


def _figures(seen: Seen) -> list[Figure]:
    both = (seen.few, seen.many) if seen.few and seen.many else None
    more_wakeups = seen.many_rest.wakeups_per_s - seen.few_rest.wakeups_per_s
    return [
        Figure(name="memory more (PSS)", value=seen.more_mib, unit="MiB", most=MORE_MIB),
        Figure(name="warm p50, many / few", value=both[1].p50 / both[0].p50 if both else None, most=P50_RATIO),
        Figure(name="warm p99, many / few", value=both[1].p99 / both[0].p99 if both else None, most=P99_RATIO),
        Figure(name="warm p50 with few", value=both[0].p50 if both else None, unit="µs"),
        Figure(name="warm p99 with few", value=both[0].p99 if both else None, unit="µs"),
        Figure(name="restart to serving", value=seen.restart_s, unit="s", most=RESTART_S),
        Figure(name="corral list", value=seen.list_s * 1000, unit="ms", most=LIST_MS),
        Figure(name="wakeups more at rest", value=more_wakeups, unit="/s", most=MORE_WAKEUPS),
    ]
