"""The Corral under measurement: one of our own in a temporary folder, or somebody else's."""

import contextlib
import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

START_S = 30.0
STOP_S = 10.0
SERVES = re.compile(r"serves at (http://\S+)")
TOKEN = re.compile(r"^\s*token\s+(\S+)$", re.MULTILINE)


class NoServer(Exception):
    """Corral could not be started; the message holds what it said."""


class Lines:
    """What a process writes to a pipe, line by line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._kept = b""

    def next(self, within_s: float) -> bytes | None:
        """None when no whole line came in time, or none will come any more."""
        deadline = time.monotonic() + within_s
        while b"\n" not in self._kept:
            if not select.select([self._descriptor], [], [], max(deadline - time.monotonic(), 0.0))[0]:
                return None
            chunk = os.read(self._descriptor, 65_536)
            if not chunk:
                return None
            self._kept += chunk
        line, _, self._kept = self._kept.partition(b"\n")
        return line


class Server(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    token: str
    pid: int | None
    """Of `corral up`; None when it is not ours, and its processes are unknown."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    @property
    def netloc(self) -> str:
        return urlsplit(self.url).netloc


@contextlib.contextmanager
def own_server(settings: Mapping[str, object] | None = None, data: Path | None = None) -> Iterator[Server]:
    """`corral up` on a free port, with state and logs, and data where no folder is given, in a folder that goes with
    it. `settings`: `group.field` -> value, where it is not to be the default."""
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as folder:
        environment = os.environ | {"XDG_STATE_HOME": f"{folder}/state"}
        # A fresh server measures Corral as it comes: settings of the person at the keyboard are not part of it.
        environment = {name: value for name, value in environment.items() if not name.startswith("CORRAL_")}
        for name, value in (settings or {}).items():
            environment["CORRAL_" + name.replace(".", "_").upper()] = str(value)
        complaints = Path(folder, "stderr")
        kept = data or Path(folder, "data")
        command = [sys.executable, "-m", "corral.cli.main", "up", "--data", str(kept), "--port", "0"]
        with complaints.open("wb") as stderr:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr)
        try:
            yield _greeted(process, complaints)
        finally:
            _end(process)


def _greeted(process: "subprocess.Popen[bytes]", complaints: Path) -> Server:
    """Waits for the lines in which `up` names its URL and the file of its token."""
    assert process.stdout is not None
    lines, said = Lines(process.stdout.fileno()), b""
    deadline = time.monotonic() + START_S
    while (line := lines.next(deadline - time.monotonic())) is not None:
        said += line + b"\n"
        url, token = SERVES.search(said.decode()), TOKEN.search(said.decode())
        if url and token:
            return Server(url=url[1], token=Path(token[1]).read_text().strip(), pid=process.pid)
    words = (said + complaints.read_bytes()).decode(errors="replace").strip()
    raise NoServer(f"`corral up` did not serve within {START_S:g} s; it said:\n{words[-2000:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
