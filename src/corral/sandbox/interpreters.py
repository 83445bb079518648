"""Which Python interpreters this machine has. One is believed only after it ran: what a name on PATH points to may be
a launcher that ends with an error."""

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from corral.errors import SandboxFailed

DEFAULT = "python3"
"""The interpreter Corral itself runs on."""
OLDEST = (3, 9)
TRIAL_MAX_S = 10.0

_TRIAL = (
    "import json,os,platform,sys;"
    "print(json.dumps([platform.python_version(),os.path.realpath(sys.executable),sys.base_prefix,sys.base_exec_prefix]))"
)
_NAME = re.compile(r"python3\.([0-9]{1,2})\Z")


class Interpreter(msgspec.Struct, frozen=True):
    path: str
    """The executable itself, no link."""
    version: str
    prefixes: tuple[str, ...]
    """Folders it needs, besides the system's."""


def find_interpreter(runtime: str) -> Interpreter:
    """The interpreter of a runtime's name, `python3` or `python3.N`. Blocks: it is run. Raises SandboxFailed."""
    if runtime in ("python", DEFAULT):
        return _own()
    for path in _places(runtime):
        found = _try(path)
        if found is not None and found.version.startswith(runtime.removeprefix("python") + "."):
            return found
    there = ", ".join(installed()) or "none"
    raise SandboxFailed(
        f"runtime = {runtime!r}: no such interpreter runs on this machine; there are {DEFAULT}, {there}"
    )


def installed() -> list[str]:
    """Names of runtimes `python3.N` that run here, oldest first."""
    minors = {int(found[1]) for folder in _folders() for found in map(_NAME.match, _names(folder)) if found}
    names = [f"python3.{minor}" for minor in sorted(minors) if minor >= OLDEST[1]]
    with ThreadPoolExecutor(len(names) or 1) as trials:
        return [name for name, runs in zip(names, trials.map(_runs, names), strict=True) if runs]


def _runs(runtime: str) -> bool:
    return any(_try(path) is not None for path in _places(runtime))


def _own() -> Interpreter:
    # In an environment made with copies `sys.executable` is no link to the base interpreter.
    path = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return Interpreter(path, platform.python_version(), _prefixes(sys.base_prefix, sys.base_exec_prefix))


def _prefixes(*prefixes: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(spelling for prefix in prefixes for spelling in (prefix, os.path.realpath(prefix))))


def _places(runtime: str) -> Iterator[str]:
    for folder in _folders():
        path = os.path.join(folder, runtime)
        if os.access(path, os.X_OK):
            yield path


def _folders() -> Iterator[str]:
    yield from (folder for folder in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(folder))
    yield from ("/usr/local/bin", "/usr/bin", "/bin")
    homes = [Path.home() / ".pyenv/versions", Path.home() / ".local/share/uv/python", Path("/opt")]
    for home in homes:
        with contextlib.suppress(OSError):
            yield from (str(folder / "bin") for folder in sorted(home.iterdir(), reverse=True))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _try(path: str) -> Interpreter | None:
    """None: it does not run, or is too old."""
    try:
        trial = subprocess.run(
            [path, "-I", "-S", "-c", _TRIAL],
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TRIAL_MAX_S,
            check=False,
        )
        version, executable, *prefixes = json.loads(trial.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return None
    return Interpreter(executable, version, _prefixes(*prefixes))


def is_own(runtime: str) -> bool:
    """Whether `python3.N` is the interpreter we run on."""
    return runtime == f"python3.{sys.version_info.minor}"
