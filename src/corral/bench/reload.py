"""Row `reload`: from a save under `corral dev` to the new code serving."""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from corral.bench.command import CommandFailed, command, environment
from corral.bench.contest import Contest
from corral.bench.functions import PANDAS_IMPORTS, PANDAS_REQUIREMENTS, VERSIONED
from corral.bench.percentiles import percentile, spread
from corral.bench.server import Lines
from corral.bench.table import Figure, Row
from corral.bench.wires import HttpWire, ask_once, request

SAVES, QUICK_SAVES = 40, 8
WARM_UP = 2
P95_MS = 200.0
PAUSE_S = 0.3
"""Between a reload and the next save."""
FIRST_S, AGAIN_S = 120.0, 20.0
"""The first one installs its requirements."""
TITLE = "corral dev: from a save to serving it"


class Told(msgspec.Struct, frozen=True):
    """What `corral dev --json` tells, as far as it matters here."""

    event: str
    url: str = ""
    error: str = ""


class Session:
    """`corral dev` on a folder with one function."""

    def __init__(self, descriptor: int, folder: Path, imports: str) -> None:
        """`descriptor`: the end of the pipe to read what it tells from."""
        self._lines = Lines(descriptor)
        self._file = folder / "app.py"
        self._imports = imports

    def await_loaded(self, within_s: float) -> Told:
        """Raises CommandFailed when what was saved is refused, or nothing comes in time."""
        deadline = time.monotonic() + within_s
        while True:
            line = self._lines.next(deadline - time.monotonic())
            if line is None:
                raise CommandFailed(f"corral dev told of no reload within {within_s:g} s")
            told = msgspec.json.decode(line, type=Told)
            if told.event == "refused":
                raise CommandFailed(f"corral dev refused what bench saved: {told.error}")
            if told.event == "loaded":
                return told

    def save(self, version: int) -> None:
        self._file.write_text(self._imports + VERSIONED.format(version=version))


@contextlib.contextmanager
def _session(contest: Contest, folder: Path, imports: str, requirements: str) -> Iterator[Session]:
    folder.mkdir()
    if requirements:
        (folder / "requirements.txt").write_text(requirements)
    words = ("dev", str(folder), "--server", contest.server.url, "-n", "bench", "--json")
    with (folder.parent / "complaints").open("wb") as complaints:
        process = subprocess.Popen(
            command(*words), env=environment(contest.server), stdout=subprocess.PIPE, stderr=complaints
        )
        try:
            assert process.stdout is not None
            session = Session(process.stdout.fileno(), folder, imports)
            session.save(0)
            yield session
        finally:
            process.terminate()
            process.communicate()


def measure_reload(contest: Contest) -> Row:
    figures: list[Figure] = []
    notes = ["from before the file is written to the line `corral dev --json` prints; a call then checks the answer"]
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as name:
        for what, imports, requirements in (
            ("numpy and pandas", PANDAS_IMPORTS, PANDAS_REQUIREMENTS),
            ("nothing", "", ""),
        ):
            contest.say(f"reload: a function that imports {what}")
            try:
                seconds = _reloads(contest, Path(name, what.split()[0]), imports, requirements)
            except OSError as exc:
                seconds = []
                notes.append(f"importing {what}: not measured: {exc}")
            figures += _figures(what, [second * 1000 for second in seconds])
    return Row(name="reload", title=TITLE, figures=figures, notes=notes)


def _reloads(contest: Contest, folder: Path, imports: str, requirements: str) -> list[float]:
    seconds = []
    with _session(contest, folder, imports, requirements) as session:
        url = session.await_loaded(FIRST_S).url
        for version in range(1, WARM_UP + (QUICK_SAVES if contest.quick else SAVES) + 1):
            time.sleep(PAUSE_S)
            begin = time.perf_counter()
            session.save(version)
            session.await_loaded(AGAIN_S)
            seconds.append(time.perf_counter() - begin)
            _check(contest, url, version)
    return seconds[WARM_UP:]


def _check(contest: Contest, url: str, version: int) -> None:
    """Raises OSError when another version answers."""
    path = url.removeprefix(contest.server.url)
    wire = HttpWire(contest.server.host, contest.server.port)
    answer = ask_once(wire, request("GET", path, contest.server.netloc))
    wire.close()
    if answer.status != 200 or msgspec.json.decode(answer.body) != {"version": version}:
        raise OSError(f"version {version} was said to serve, and {answer.status} {answer.body[:200]!r} came")


def _figures(what: str, milliseconds: list[float]) -> list[Figure]:
    seen, p95 = spread(milliseconds), percentile(sorted(milliseconds), 0.95) if milliseconds else None
    prefix = f"importing {what}: "
    return [
        Figure(name=f"{prefix}p95", value=p95, unit="ms", most=P95_MS),
        Figure(name=f"{prefix}p50", value=seen.p50 if seen else None, unit="ms"),
        Figure(name=f"{prefix}max", value=seen.max if seen else None, unit="ms"),
    ]
