"""A server for one developer: its own process, a free port, data in a temporary folder. Its end leaves nothing."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from corral.cli.client import Client
from corral.errors import BadConfiguration, CorralError

PORT = 8080
"""Taken when it is free: the address everybody knows."""
END_S = 5.0
"""`up` ends within 3 s; after this time it is killed."""
SHOWN_LINES = 20
MISUSED = 2
"""The status of `up` when its settings cannot work, a port in use among them."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class PrivateServer:
    """A context: serves from entering to leaving. Entering raises BadConfiguration or CorralError with what
    `corral up` said if it does not start."""

    client: Client

    def __init__(self, port: int | None) -> None:
        """`port` None: PORT, or any other when that is in use."""
        self._port = port
        self._folder = Path(tempfile.mkdtemp(prefix="corral-dev-"))
        # Without namespaces the server's unprivileged processes pass through it; what is inside is closed itself.
        self._folder.chmod(0o711)
        self._log = self._folder / "server.log"
        self._log.touch(mode=0o600)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            try:
                self._start(_free_port() if self._port is None else self._port)
            except BadConfiguration:
                if self._port is not None:
                    raise
                self._start(0)  # somebody took the free one meanwhile
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def check(self) -> None:
        """Raises CorralError when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise self._fault()

    def _start(self, port: int) -> None:
        # What the developer has set for other servers is not meant for this one.
        own = {name: value for name, value in os.environ.items() if name not in ("CORRAL_URL", "CORRAL_TOKEN")}
        command = [sys.executable, "-P", "-m", "corral.cli.main", "up", "--data", str(self._folder / "data")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(port)],
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                # Ctrl-C is for us: we end the server when we are through with it.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        assert self._process.stdout is not None
        greeting = self._process.stdout.readline().decode().split()
        if "at" not in greeting:
            self._process.stdout.close()
            is_misused = self._process.wait(END_S) == MISUSED
            raise BadConfiguration(self._said()) if is_misused else self._fault()
        self.client = Client(greeting[greeting.index("at") + 1], own)

    def _fault(self) -> CorralError:
        return CorralError("the server ended:\n" + self._said())

    def _said(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
        return "\n".join(line.removeprefix("corral: ") for line in lines)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _die_with_parent() -> None:
    """SIGTERM when we are killed, so that it still ends in order."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _free_port() -> int:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", PORT))
            return PORT
    return 0
