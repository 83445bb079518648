"""Row `warm`: how many calls per second a warm function answers, against a bare uvicorn on the same cores."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from corral.bench.contest import JSON_BODY, Contest
from corral.bench.floor import bare_uvicorn
from corral.bench.functions import ECHO, ECHO_ASYNC
from corral.bench.manage import Function, path_of
from corral.bench.percentiles import median
from corral.bench.processes import cpu_by_role
from corral.bench.schedule import turns
from corral.bench.table import Figure, Row
from corral.model import FunctionSpec

THREADS, CONNECTIONS = 1, 32
BLOCK_S, ROUNDS = 8, 5
QUICK_BLOCK_S, QUICK_ROUNDS = 2, 2
TRIAL_S = 2
CALLS_PER_S, RATIO = 15_000, 0.3
SETTINGS = (
    (
        "async, concurrency 100, 1 instance",
        Function(name="echo-a1", source=ECHO_ASYNC, spec=FunctionSpec(min=1, max=1)),
    ),
    (
        "async, concurrency 100, 2 instances",
        Function(name="echo-a2", source=ECHO_ASYNC, spec=FunctionSpec(min=2, max=2)),
    ),
    ("sync, concurrency 1, 2 instances", Function(name="echo-s2", source=ECHO, spec=FunctionSpec(min=2, max=2))),
    ("sync, concurrency 1, 4 instances", Function(name="echo-s4", source=ECHO, spec=FunctionSpec(min=4, max=4))),
)
"""Which shape of the function carries most depends on the machine's cores: each is tried, the best one measured."""


class Block(msgspec.Struct, frozen=True):
    """One run of wrk."""

    calls_per_s: float
    errors: int


def measure_warm(contest: Contest) -> Row:
    title = f"Warm calls: wrk -t{THREADS} -c{CONNECTIONS}, Python echo with a JSON body"
    if shutil.which("wrk") is None:
        unknown = [
            Figure(name="calls per second", value=None, least=CALLS_PER_S),
            Figure(name="of bare uvicorn", value=None, least=RATIO),
        ]
        return Row(name="warm", title=title, figures=unknown, notes=["wrk is not installed: apt install wrk"])
    with _script() as script, bare_uvicorn() as port:
        setting, function, trials = _best_setting(contest, script)
        bare = [f"http://127.0.0.1:{port}/"]
        ours = ["-s", script, contest.server.url + path_of(function)]
        blocks, cpu_s = _contend(contest, bare, ours)
    return Row(
        name="warm",
        title=title,
        figures=_figures(blocks, cpu_s, QUICK_BLOCK_S if contest.quick else BLOCK_S),
        notes=[
            f"function: {setting}",
            f"tried {TRIAL_S} s each: {trials}",
            "closed loop: for throughput, not for latency",
        ],
    )


def _best_setting(contest: Contest, script: str) -> tuple[str, Function, str]:
    results = []
    for setting, function in SETTINGS:
        contest.say(f"warm: trying {setting}")
        contest.management.deploy([function])
        contest.management.await_instances(function.spec.min, 10.0, at_least=True)
        url = contest.server.url + path_of(function)
        _wrk(1, ["-s", script, url])
        results.append((_wrk(TRIAL_S, ["-s", script, url]).calls_per_s, setting, function))
        contest.management.delete([function])
        contest.management.await_instances(0, 10.0)
    _, setting, function = max(results, key=lambda result: result[0])
    contest.management.deploy([function])
    return setting, function, "; ".join(f"{name} {rate:,.0f}/s" for rate, name, _ in results)


def _contend(
    contest: Contest, bare: Sequence[str], ours: Sequence[str]
) -> tuple[tuple[list[Block], list[Block]], float]:
    """Blocks of uvicorn and of Corral in the order ABBA, and the CPU seconds of Corral's processes in its blocks."""
    seconds, rounds = (QUICK_BLOCK_S, QUICK_ROUNDS) if contest.quick else (BLOCK_S, ROUNDS)
    contest.say(f"warm: {2 * rounds} blocks of {seconds} s")
    blocks: tuple[list[Block], list[Block]] = ([], [])
    cpu_s = 0.0
    for arguments in (bare, ours):
        _wrk(1, arguments)
    for lane in turns(rounds):
        before = _cpu_s(contest)
        blocks[lane].append(_wrk(seconds, ours if lane else bare))
        cpu_s += _cpu_s(contest) - before if lane else 0.0
    return blocks, cpu_s


def _figures(blocks: tuple[list[Block], list[Block]], cpu_s: float, seconds: int) -> list[Figure]:
    bare, ours = (median([block.calls_per_s for block in lane]) for lane in blocks)
    calls = sum(block.calls_per_s for block in blocks[1]) * seconds
    return [
        Figure(name="calls per second", value=ours, unit="/s", least=CALLS_PER_S),
        Figure(name="of bare uvicorn", value=ours / bare, least=RATIO),
        Figure(name="errors", value=sum(block.errors for block in blocks[1]), most=0),
        Figure(name="bare uvicorn", value=bare, unit="/s"),
        Figure(name="CPU of Corral and the function per call", value=cpu_s / calls * 1e6 if cpu_s else None, unit="µs"),
    ]


def _cpu_s(contest: Contest) -> float:
    """0.0 when the server is not ours to look at."""
    return sum(cpu_by_role(contest.server.pid).values()) if contest.server.pid else 0.0


@contextmanager
def _script() -> Iterator[str]:
    """wrk sends a body only when a Lua script says so."""
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as folder:
        file = Path(folder, "post.lua")
        file.write_text(
            'wrk.method = "POST"\n'
            'wrk.headers["Content-Type"] = "application/json"\n'
            f"wrk.body = [[{JSON_BODY.decode()}]]\n"
        )
        yield str(file)


def _wrk(seconds: int, arguments: Sequence[str]) -> Block:
    command = ["wrk", f"-t{THREADS}", f"-c{CONNECTIONS}", f"-d{seconds}s", *arguments]
    return parse_wrk(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def parse_wrk(said: str) -> Block:
    """Raises ValueError when wrk printed no rate."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if rate is None:
        raise ValueError(f"wrk printed no rate: {said!r}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    errors = int(refused[1]) if refused else 0
    return Block(float(rate[1]), errors + (sum(map(int, broken.groups())) if broken else 0))
