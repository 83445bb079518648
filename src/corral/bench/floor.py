"""The floors that Corral's numbers are held against, measured in the same run on the same machine."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import corral
from corral.bench.wires import Door, HttpWire, PairWire

START_S = 10.0


class NoFloor(Exception):
    """This machine does not let the floor be measured; the message says what is missing."""


@contextlib.contextmanager
def bare_fork() -> Iterator[PairWire]:
    """A wire to bench/fork.py. Raises NoFloor where namespaces cannot be made (not root)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        program, runtimes = Path(__file__).with_name("fork.py"), Path(corral.__file__).parent / "runtimes"
        command = [sys.executable, "-I", "-S", str(program), str(theirs.fileno()), str(runtimes)]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True)
        theirs.close()
        try:
            ours.settimeout(START_S)
            if ours.recv(1) != b"!":
                raise NoFloor(f"a fork into new namespaces is not possible here: {_last_line(process)}")
            yield PairWire(ours)
        finally:
            ours.close()
            process.terminate()
            process.communicate()


def _last_line(process: "subprocess.Popen[str]") -> str:
    _, complaint = process.communicate(timeout=START_S)
    return (complaint.strip().splitlines() or ["it ended without a word"])[-1]


@contextlib.contextmanager
def bare_uvicorn() -> Iterator[int]:
    """The port of an uvicorn that answers "hello" as fast as it can: uvloop, httptools, no access log."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "corral.bench.hello:answer", "--port", str(port)]
    command += ["--http", "httptools", "--lifespan", "off", "--no-access-log", "--log-level", "error"]
    process = subprocess.Popen(command)
    try:
        await_listener(lambda: HttpWire("127.0.0.1", port), process)
        yield port
    finally:
        process.terminate()
        process.wait()


def await_listener(door: Door, process: "subprocess.Popen[bytes]") -> None:
    """Returns once `door` opens. Raises NoFloor when the process ends or START_S pass first."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            door().close()
            return
        time.sleep(0.01)
    raise NoFloor(f"{process.args!r} does not listen")
