"""The keeper's and the gateway's side of one zygote, for tests: real processes, real sandboxes, both protocols."""

import contextlib
import ctypes
import functools
import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from corral import runtimes
from corral.runtimes import kernel

RUNTIMES = Path(runtimes.__file__).parent
UID = 190_000
DEADLINE_S = 10.0
HELLO, READY, FAILED, HEAD, BODY, END, ACK, CREDIT, CANCEL, CODE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 12
LAST, ERROR = 1, 2
WINDOW = 256 * 1024


# -- interpreters -------------------------------------------------------------------------------------------


class Interpreter(NamedTuple):
    version: str
    executable: str
    prefix: str


PROBE = "import sys; print('%d.%d' % sys.version_info[:2], sys.base_prefix)"


@functools.cache
def interpreters() -> dict[str, Interpreter]:
    """`3.N` -> an interpreter of the machine that runs; shims that only complain don't."""
    found = {}
    candidates = [sys.executable, *Path.home().glob(".pyenv/versions/3.*/bin/python3")]
    candidates += [f"/usr/bin/python3.{minor}" for minor in range(9, 14)]
    for candidate in map(str, candidates):
        with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
            command = [candidate, "-I", "-S", "-c", PROBE]
            probed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
            version, prefix = probed.stdout.split()
            found.setdefault(version, Interpreter(version, os.path.realpath(candidate), prefix))
    return found


# -- what a keeper makes ahead ------------------------------------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: Any) -> int:
    result: int = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def detached_folder(path: str) -> int:
    """A read-only clone of the mount at `path`, attached nowhere."""
    fd = system_call(428, -100, path.encode(), 1 | os.O_CLOEXEC)
    attributes = (ctypes.c_uint64 * 4)(0x1 | 0x2 | 0x4, 0, 0, 0)
    system_call(442, fd, b"", 0x1000, ctypes.byref(attributes), 32)
    return fd


def detached_tmpfs(mib: int) -> int:
    context = system_call(430, b"tmpfs", 1)
    for name, value in ((b"size", b"%dm" % mib), (b"mode", b"1777")):
        system_call(431, context, 1, name, value, 0)
    system_call(431, context, 6, None, None, 0)
    fd = system_call(432, context, 1, 0x2 | 0x4)
    os.close(context)
    return fd


def network_namespace() -> int:
    made: list[int] = []

    def make() -> None:
        kernel.unshare(kernel.CLONE_NEWNET)
        made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def zygote_root(staging: str, interpreter: Interpreter, pair_fd: int) -> dict[str, Any]:
    """The plan of an allow-list root for `enter.py`."""
    binds = [[path, path, "ro"] for path in ("/usr", interpreter.prefix, str(RUNTIMES)) if Path(path).is_dir()]
    symlinks = {}
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            symlinks[str(path)] = os.readlink(path)
        elif path.is_dir():
            binds.append([str(path), str(path), "ro"])
    return {
        "root": staging,
        "binds": binds,
        "symlinks": symlinks,
        "files": {
            "/etc/passwd": f"function:x:{UID}:{UID}::/tmp:/bin/sh\n",
            "/etc/hosts": "127.0.0.1 localhost\n",
        },
        "devices": ["null", "zero", "full", "random", "urandom"],
        "proc": "bind",
        "pdeathsig": 9,
        "argv": zygote_command(interpreter, pair_fd),
        "env": {"OPENBLAS_NUM_THREADS": "1"},
        "keep_fds": [pair_fd],
    }


def zygote_command(interpreter: Interpreter, pair_fd: int) -> list[str]:
    return [interpreter.executable, "-I", "-S", str(RUNTIMES / "python" / "zygote.py"), str(pair_fd)]


def plan_fd(plan: dict[str, Any]) -> int:
    reader, writer = os.pipe()
    os.write(writer, json.dumps(plan).encode())
    os.close(writer)
    return reader


# -- the keeper ---------------------------------------------------------------------------------------------


class Zygote:
    """A running zygote. Isolated: inside its own root, as on T1."""

    def __init__(self, interpreter: Interpreter, isolated: bool, folder: Path) -> None:
        self.isolated = isolated
        self._folder = folder
        self._numbers = itertools.count()
        self._exits: dict[str, int] = {}
        self.instances: list[Instance] = []
        pair, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pair = pair
        pair.settimeout(DEADLINE_S)
        command = zygote_command(interpreter, theirs.fileno())
        inherited = [theirs.fileno()]
        if isolated:
            staging = folder / "root"
            staging.mkdir()
            entry = plan_fd(zygote_root(str(staging), interpreter, theirs.fileno()))
            inherited.append(entry)
            command = [interpreter.executable, "-I", "-S", str(RUNTIMES / "enter.py"), str(entry)]
        self.process = subprocess.Popen(command, pass_fds=inherited, env={})
        for fd in inherited[1:]:
            os.close(fd)
        theirs.close()
        self.up = self._receive()[0]

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        packet, fds, _, _ = socket.recv_fds(self.pair, 65_536, 4)
        if not packet:
            raise EOFError(f"the zygote ended with status {self.process.wait(DEADLINE_S)}")
        return json.loads(packet), fds

    def start(self, source: str | dict[str, str], **plan: Any) -> "Instance":
        """An instance of a package: the text of handler.py, or file names with their texts."""
        number = next(self._numbers)
        folder = self._folder / f"package{number}"
        folder.mkdir(mode=0o755)
        for name, text in ({"handler.py": source} if isinstance(source, str) else source).items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return self.start_package(folder, **plan)

    def start_package(
        self, folder: Path, *, code: bytes = b"", tasks: tuple[Path, ...] = (), **plan: Any
    ) -> "Instance":
        name = f"i{next(self._numbers)}"
        instance = Instance(self, name, self._folder / f"{name}.sock")
        fds = {"listen": os.dup(instance.listener.fileno()), "log": os.dup(instance.log_fd)}
        if self.isolated:
            fds |= {"code_root": detached_folder(str(folder)), "tmp": detached_tmpfs(8), "netns": network_namespace()}
        if code:
            fds["code"] = os.memfd_create("code")
            os.write(fds["code"], code)
        for place, path in enumerate(tasks):
            fds[f"tasks{place}"] = os.open(path, os.O_WRONLY)
        full = {
            "hostname": "instance-1",
            "package": "/function" if self.isolated else str(folder),
            "function": "greet",
            "namespace": "default",
            "memory_mib": 256,
            "env": {"GREETING": "hello"},
            "uid": UID if self.isolated else None,
            "gid": UID if self.isolated else None,
            **plan,
        }
        fds["plan"] = os.memfd_create("plan")
        os.write(fds["plan"], json.dumps(full).encode())
        message = {"op": "start", "instance": name, "fds": list(fds), "isolated": self.isolated}
        socket.send_fds(self.pair, [json.dumps(message).encode()], list(fds.values()))
        for fd in fds.values():
            os.close(fd)
        self.instances.append(instance)
        return instance

    def wait_started(self, instance: "Instance") -> None:
        while instance.pid is None:
            self._take(*self._receive())

    def wait_exited(self, instance: "Instance") -> int:
        """The wait status."""
        while instance.name not in self._exits:
            self._take(*self._receive())
        return self._exits[instance.name]

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        if message["op"] == "exited":
            self._exits[message["instance"]] = message["status"]
            return
        if message["op"] == "failed":
            raise AssertionError(message["error"])
        instance = next(each for each in self.instances if each.name == message["instance"])
        instance.pid, instance.pidfd = message["pid"], fds[0]

    def close(self) -> None:
        for instance in self.instances:
            instance.close()
        self.pair.close()
        self.process.wait(DEADLINE_S)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    error: str
    """Of END with ERROR; empty when the call ended well."""

    def json(self) -> Any:
        return json.loads(self.body)


class Frame(NamedTuple):
    kind: int
    flags: int
    call: int
    payload: bytes


class Instance:
    """One instance: its socket, its log, and connections to it."""

    def __init__(self, zygote: Zygote, name: str, path: Path) -> None:
        self._zygote = zygote
        self.name = name
        self.path = path
        self.pid: int | None = None
        self.pidfd: int | None = None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        fifo = str(path) + ".log"
        os.mkfifo(fifo)
        self.log_fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.logged = b""
        self.gateways: list[Gateway] = []

    def connect(self) -> "Gateway":
        gateway = Gateway(self.path)
        self.gateways.append(gateway)
        return gateway

    def serve(self) -> "Gateway":
        """A connection whose READY has come."""
        gateway = self.connect()
        gateway.wait_ready()
        return gateway

    def log(self) -> str:
        """All that was written so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.logged += os.read(self.log_fd, 65_536)
        return self.logged.decode()

    def wait_log(self, text: str) -> None:
        """Until something is written, which must be `text`."""
        before = len(self.logged)
        select.select([self.log_fd], [], [], DEADLINE_S)
        assert self.log()[before:] == text

    def wait_exited(self) -> int:
        return self._zygote.wait_exited(self)

    def close_process(self) -> None:
        """Kill it and wait for its end."""
        with contextlib.suppress(EOFError, OSError):
            self._zygote.wait_started(self)
            if self.name not in self._zygote._exits and self.pidfd is not None:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
                self.wait_exited()

    def close(self) -> None:
        for gateway in self.gateways:
            gateway.close()
        self.listener.close()
        self.close_process()
        os.close(self.log_fd)
        if self.pidfd is not None:
            os.close(self.pidfd)


# -- the gateway --------------------------------------------------------------------------------------------


class Gateway:
    """One connection to an instance. Frames of all calls are kept until somebody asks for them."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(str(path))
        self._calls = itertools.count(1)
        self._buffer = b""
        self._kept: list[Frame] = []
        self.hello: dict[str, Any] = {}
        self.ready: dict[str, Any] = {}
        self.failed: dict[str, Any] = {}
        self.code = b""
        self.send(HELLO, 0, 0, b'{"version": 1, "in_flight": 0}')

    def send(self, kind: int, flags: int, call: int, payload: bytes = b"") -> None:
        self.socket.sendall(struct.pack(">BBHI", kind, flags, len(payload), call) + payload)

    def receive(self) -> Frame:
        while True:
            if len(self._buffer) >= 8:
                kind, flags, length, call = struct.unpack_from(">BBHI", self._buffer)
                if len(self._buffer) >= 8 + length:
                    frame = Frame(kind, flags, call, self._buffer[8 : 8 + length])
                    self._buffer = self._buffer[8 + length :]
                    return frame
            received = self.socket.recv(262_144)
            if not received:
                raise EOFError("the instance closed the connection")
            self._buffer += received

    def next(self, call: int) -> Frame:
        """The next frame of this call."""
        for place, frame in enumerate(self._kept):
            if frame.call == call:
                return self._kept.pop(place)
        while True:
            frame = self.receive()
            if frame.call == call:
                return frame
            self._kept.append(frame)

    def wait_ready(self) -> dict[str, Any]:
        while not self.ready:
            frame = self.next(0)
            if frame.kind == HELLO:
                self.hello = json.loads(frame.payload)
            elif frame.kind == CODE:
                self.code = frame.payload
            elif frame.kind == FAILED:
                self.failed = json.loads(frame.payload)
                raise AssertionError(self.failed)
            elif frame.kind == READY:
                self.ready = json.loads(frame.payload)
        return self.ready

    def wait_failed(self) -> dict[str, Any]:
        while not self.failed:
            frame = self.next(0)
            assert frame.kind in (HELLO, FAILED)
            if frame.kind == FAILED:
                self.failed = json.loads(frame.payload)
        return self.failed

    def begin(
        self,
        body: bytes | None = None,
        *,
        target: str = "/",
        method: str = "",
        headers: dict[str, str] | None = None,
        is_whole: bool = True,
        timeout_ms: int = 60_000,
    ) -> int:
        """Send a request; its number. Not whole: more body follows by `send`."""
        call = next(self._calls)
        fields = {"x-request-id": f"request-{call}", **(headers or {})}
        lines = [f"{method or ('POST' if body else 'GET')} {target}", *(f"{k}: {v}" for k, v in fields.items()), ""]
        has_body = bool(body) or not is_whole
        head = struct.pack(">I", timeout_ms) + "\r\n".join(lines).encode("latin-1")
        self.send(HEAD, 0 if has_body else LAST, call, head)
        if body:
            chunks = [body[start : start + 65_528] for start in range(0, len(body), 65_528)]
            for place, chunk in enumerate(chunks):
                self.send(BODY, LAST if is_whole and place == len(chunks) - 1 else 0, call, chunk)
        return call

    def finish(self, call: int) -> Answer:
        """Read an answer to its end, giving credit as it comes. Its ACK must come first, unless the instance has one
        call at a time: then there is none."""
        status, headers, body = 0, {}, b""
        frame = self.next(call)
        is_acknowledged = self.ready.get("concurrency", 1) > 1
        assert frame.kind in ((ACK, END) if is_acknowledged else (HEAD, END)), frame
        while frame.kind != END:
            if frame.kind == HEAD:
                status, headers = parse_head(frame.payload)
            elif frame.kind == BODY:
                body += frame.payload
                if not frame.flags & LAST:
                    self.send(CREDIT, 0, call, struct.pack(">I", len(frame.payload)))
            if frame.flags & LAST:
                return Answer(status, headers, body, "")
            frame = self.next(call)
        return Answer(status, headers, body, frame.payload.decode() if frame.flags & ERROR else "")

    def call(self, body: bytes | None = None, **request: Any) -> Answer:
        return self.finish(self.begin(body, **request))

    def close(self) -> None:
        self.socket.close()


def parse_head(payload: bytes) -> tuple[int, dict[str, str]]:
    (status,) = struct.unpack_from(">H", payload)
    headers: dict[str, str] = {}
    for line in payload[2:].decode().split("\r\n"):
        name, _, value = line.partition(": ")
        if name:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return status, headers


@contextlib.contextmanager
def zygote(interpreter: Interpreter, isolated: bool) -> Iterator[Zygote]:
    # Not pytest's folder: paths of sockets must be short, and the function's user must reach them.
    with tempfile.TemporaryDirectory(prefix="corral-t-") as folder:
        os.chmod(folder, 0o755)
        made = Zygote(interpreter, isolated, Path(folder))
        try:
            yield made
        finally:
            made.close()
