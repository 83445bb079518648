"""`corral record` beside a test's load."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .server import CORRAL, Server, wait_for


@contextlib.contextmanager
def recording(server: Server, file: Path) -> Iterator[None]:
    """Of all that the server is asked and decides while the block lasts; ended by Ctrl-C."""
    process = subprocess.Popen(
        [*CORRAL, "record", "--out", str(file), "--seconds", "600"],
        env={**server.environment, "CORRAL_URL": server.url},
        stdout=subprocess.PIPE,
    )
    try:
        wait_for("a recording", file.exists)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"ended as it was interrupted" in said
