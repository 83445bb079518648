"""`corral` as a person runs it: a process of its own, against the server under measurement."""

import os
import subprocess
import sys
import time

from corral.bench.server import Server

TIMEOUT_S = 120.0


class CommandFailed(OSError):
    """The command ended with a status; the message holds its words."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "corral.cli.main", *words]


def environment(server: Server) -> dict[str, str]:
    """Only what leads to `server`: nothing of the person at the keyboard."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CORRAL_")}
    return kept | {"CORRAL_URL": server.url, "CORRAL_TOKEN": server.token}


def run(server: Server, *words: str) -> float:
    """Seconds that `corral WORDS` took, its interpreter's start included. Raises CommandFailed."""
    begin = time.perf_counter()
    done = subprocess.run(
        command(*words), env=environment(server), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise CommandFailed(f"corral {' '.join(words)} ended with {done.returncode}: {said}")
    return seconds
