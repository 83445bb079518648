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


def measure_deploy(contest: Contest) -> Row:
    figures: list[Figure] = []
    notes = [
        "from the start of `corral deploy` or `corral rollback`, a process of its own, to the end of the first call "
        "after it, which the right version must answer",
    ]
    for what, imports, requirements in (("numpy and pandas", PANDAS_IMPORTS, PANDAS_REQUIREMENTS), ("nothing", "", "")):
        contest.say(f"deploy: a function that imports {what}, and back")
        code = Code(f"deployed-{what.split()[0]}", imports, requirements)
        try:
            deploys, rollbacks = _there_and_back(contest, code)
        except OSError as exc:
            deploys, rollbacks = [], []
            notes.append(f"importing {what}: not measured: {exc}")
        figures += _figures(f"importing {what}: deploy", deploys, DEPLOY_MS)
        figures += _figures(f"importing {what}: rollback", rollbacks, ROLLBACK_MS)
    title = "Deploy of changed code with unchanged dependencies, and rollback"
    return Row(name="deploy", title=title, figures=figures, notes=notes)


class Code(msgspec.Struct, frozen=True):
    """A function whose versions differ in one line."""

    name: str
    imports: str
    requirements: str

    def write(self, folder: Path, version: int) -> None:
        (folder / "app.py").write_text(self.imports + VERSIONED.format(version=version))
        if self.requirements:
            (folder / "requirements.txt").write_text(self.requirements)


def _there_and_back(contest: Contest, code: Code) -> tuple[list[float], list[float]]:
    """Milliseconds of each deployment and of each rollback, which leads to the first version every time."""
    deploys: list[float] = []
    rollbacks: list[float] = []
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as name:
        folder = Path(name)
        code.write(folder, 0)
        _command(contest, code.name, 0, "deploy", code.name, name)
        for version in range(1, (QUICK_TIMES if contest.quick else TIMES) + 1):
            code.write(folder, version)
            deploys.append(_command(contest, code.name, version, "deploy", code.name, name))
            rollbacks.append(_command(contest, code.name, 0, "rollback", code.name, "--to", "1"))
    return deploys, rollbacks


def _command(contest: Contest, name: str, version: int, *words: str) -> float:
    """Milliseconds until `version` answers. Raises OSError when another one does, or the command fails."""
    time.sleep(PAUSE_S)
    wire = contest.door()()
    begin = time.perf_counter()
    run(contest.server, *words, "-n", NAMESPACE)
    answer = ask_once(wire, request("GET", f"/function/{name}.{NAMESPACE}", contest.server.netloc))
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
