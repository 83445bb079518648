"""An instance that belongs to no gateway: the Python runtime itself, started as the keeper starts it (docs/zygote.md),
with the same function. What a call to it costs is what Corral cannot be faster than."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import corral

PACKET_BYTES = 65_536
START_S = 10.0


class NoInstance(Exception):
    """The runtime did not start; the message holds its reason."""


@contextlib.contextmanager
def direct_instance(source: str) -> Iterator[str]:
    """The path of the socket of an instance serving `source`. It has the runtime's seccomp filter and no capabilities,
    but no namespaces, user or groups of its own: what it lacks can only make it faster, and so Corral's added latency
    look longer."""
    zygote = Path(corral.__file__).parent / "runtimes/python/zygote.py"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with tempfile.TemporaryDirectory(prefix="corral-bench-") as folder, ours:
        Path(folder, "app.py").write_text(source)
        with theirs:
            command = [sys.executable, "-I", "-S", str(zygote), str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        try:
            ours.settimeout(START_S)
            yield _start(ours, folder)
        finally:
            _end(ours, process)


def _start(zygote: socket.socket, folder: str) -> str:
    _expect(zygote, "up")
    path = f"{folder}/instance.sock"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        open(os.devnull, "wb") as log,
        open(os.memfd_create("plan", os.MFD_CLOEXEC), "wb") as plan,
    ):
        listener.bind(path)
        listener.listen()
        plan.write(json.dumps(_plan(folder)).encode())
        plan.flush()
        start = {"op": "start", "instance": "direct", "fds": ["plan", "listen", "log"], "isolated": False}
        descriptors = [plan.fileno(), listener.fileno(), log.fileno()]
        socket.send_fds(zygote, [json.dumps(start).encode()], descriptors)
        _expect(zygote, "started")
    return path


def _plan(folder: str) -> dict[str, object]:
    return {
        "uid": None,
        "gid": None,
        "hostname": "direct",
        "memory_bytes": 256 * 2**20,
        "nofile": 1024,
        "data_limit": None,
        "package": folder,
        "handler": None,
        "style": None,
        "concurrency": None,
        "env": {},
        "function": "direct",
        "namespace": "bench",
        "memory_mib": 256,
        "timeout_s": 60.0,
        "want_code": False,
        "stamps": {},
    }


def _expect(zygote: socket.socket, op: str) -> dict[str, object]:
    packet, descriptors, _, _ = socket.recv_fds(zygote, PACKET_BYTES, 4)
    for descriptor in descriptors:
        os.close(descriptor)
    said: dict[str, object] = json.loads(packet) if packet else {"op": "end"}
    if said["op"] != op:
        raise NoInstance(f"the zygote said {said}, must be {op}")
    return said


def _end(zygote: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    """The zygote ends with its socket; the instance, with its connection gone, would wait for another one for ever."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    pids = children.read_text().split() if children.exists() else []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)
    zygote.close()
    process.wait(START_S)
