"""Row `deploy`: from the command to the new code answering, with dependencies that did not change; and back."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from corral.bench.command import run
from corral.bench.contest import Contest
from corral.bench.functions import PANDAS_IMPORTS, PANDAS_REQUIREMENTS, VERSIONED
from corral.bench.manage import NAMESPACE
from corral.bench.percentiles import percentile, spread
from corral.bench.table import Figure, Row
from corral.bench.wires import ask_once, request

TIMES, QUICK_TIMES = 20, 4
DEPLOY_MS, ROLLBACK_MS = 1000.0, 300.0
PAUSE_S = 1.0
"""Between two commands: what the last one left to do in the background is done."""
NAME = "deployed"


def measure_deploy(contest: Contest) -> Row:
    times = QUICK_TIMES if contest.quick else TIMES
    deploys: list[float] = []
    rollbacks: list[float] = []
    notes = [
        "a function that imports numpy and pandas from its requirements.txt",
        "from the start of `corral deploy` or `corral rollback`, a process of its own, to the end of the first call "
        "after it, which the right version must answer",
    ]
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as name:
        folder = Path(name)
        (folder / "requirements.txt").write_text(PANDAS_REQUIREMENTS)
        contest.say("deploy: installing numpy and pandas")
        _write(folder, 0)
        _command(contest, 0, "deploy", NAME, str(folder))
        contest.say(f"deploy: {times} times, and back")
        try:
            for version in range(1, times + 1):
                _write(folder, version)
                deploys.append(_command(contest, version, "deploy", NAME, str(folder)))
                # Each rollback leads to the first version, and each deployment away from it.
                rollbacks.append(_command(contest, 0, "rollback", NAME, "--to", "1"))
        except OSError as exc:
            notes.append(f"ended early: {exc}")
    figures = _figures("deploy", deploys, DEPLOY_MS) + _figures("rollback", rollbacks, ROLLBACK_MS)
    title = "Deploy of changed code with unchanged dependencies, and rollback"
    return Row(name="deploy", title=title, figures=figures, notes=notes)


def _write(folder: Path, version: int) -> None:
    (folder / "app.py").write_text(PANDAS_IMPORTS + VERSIONED.format(version=version))


def _command(contest: Contest, version: int, *words: str) -> float:
    """Milliseconds until `version` answers. Raises OSError when another one does, or the command fails."""
    time.sleep(PAUSE_S)
    wire = contest.door()()
    begin = time.perf_counter()
    run(contest.server, *words, "-n", NAMESPACE)
    answer = ask_once(wire, request("GET", f"/function/{NAME}.{NAMESPACE}", contest.server.netloc))
    took_ms = (time.perf_counter() - begin) * 1000
    wire.close()
    if answer.status != 200 or msgspec.json.decode(answer.body) != {"version": version}:
        raise OSError(f"after corral {words[0]} version {version} must answer; {answer.status} {answer.body[:200]!r}")
    return took_ms


def _figures(what: str, milliseconds: Sequence[float], most: float) -> list[Figure]:
    seen = spread(milliseconds)
    p95 = percentile(sorted(milliseconds), 0.95) if milliseconds else None
    return [
        Figure(name=f"{what}: p95", value=p95, unit="ms", most=most),
        Figure(name=f"{what}: p50", value=seen.p50 if seen else None, unit="ms"),
        Figure(name=f"{what}: max", value=seen.max if seen else None, unit="ms"),
    ]
