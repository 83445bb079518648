"""A real `corral up` for tests, and what they want to know of it."""

import contextlib
import http.client
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from corral.config import data_name

CORRAL = [sys.executable, "-m", "corral.cli.main"]
EXAMPLES = Path(__file__).parents[2] / "examples/plain"
START_S = 20.0
Found = TypeVar("Found")
_numbers = itertools.count()


def wait_for(what: str, look: Callable[[], Found], within_s: float = 10.0) -> Found:
    """The first true answer of `look`. Looks every 20 ms; the deadline is for a broken Corral, not a pace."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        select.select([], [], [], 0.02)


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"{self.status} {self.body[:300]!r}"


class Follower:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self._out = process.stdout
        self._rest = b""

    def has_line(self) -> bool:
        """Whether there is one to read by now."""
        return b"\n" in self._rest or bool(select.select([self._out], [], [], 0.0)[0])

    def line(self) -> str:
        """The next line, as soon as it is whole."""
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._out], [], [], 10.0)
            chunk = os.read(self._out.fileno(), 65_536) if ready else b""
            assert chunk, f"no line within 10 s; the last began {self._rest!r}"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


class Server:
    """One `corral up`. Its uid range is its own, so that its processes can be told from everybody else's."""

    def __init__(self, folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        self.data = folder / "data"
        self.state = folder / "state"
        # A data folder stays with the users it was made for.
        owner = self.data.stat().st_uid if self.data.exists() else 0
        self.uid_base = owner - 1 if owner else 1_000_000 + os.getpid() * 30_000 + next(_numbers) * 1000
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CORRAL_", "SUDO_"))},
            "XDG_STATE_HOME": str(self.state),
            **(environment or {}),
        }
        self.log = folder / "log"
        arguments = ["up", "--data", str(self.data), "--port", "0", "--keeper-uid-base", str(self.uid_base)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*CORRAL, *arguments, "--keeper-uid-count", "1000", *flags],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
            )
        self.greeting = self._read_greeting()
        self.url = self.greeting.split("serves at ")[1].split()[0]
        self.host = urlsplit(self.url).netloc
        self.token_file = next((self.state / "corral/servers").glob("*.token"))
        self.token = self.token_file.read_text().strip()

    def _read_greeting(self) -> str:
        """Up to the token's line, which is the last."""
        assert self.process.stdout is not None
        said, deadline = b"", time.monotonic() + START_S
        while b"  token  " not in said or not said.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            if not chunk:
                self.kill()
                raise AssertionError(f"no greeting from corral up: {said!r}\n{self.log.read_text()[-3000:]}")
            said += chunk
        return said.decode()

    # -- using it -------------------------------------------------------------------------------------------

    def cli(self, *arguments: str, stdin: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
        environment = {**self.environment, "CORRAL_URL": self.url}
        return subprocess.run([*CORRAL, *arguments], env=environment, input=stdin, capture_output=True, timeout=180)

    def ok(self, *arguments: str) -> str:
        """Run a command that must succeed; what it printed."""
        done = self.cli(*arguments)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout.decode()

    @contextlib.contextmanager
    def following(self, name: str, *flags: str) -> Iterator["Follower"]:
        """`corral logs -f NAME`, ended afterwards."""
        environment = {**self.environment, "CORRAL_URL": self.url}
        process = subprocess.Popen([*CORRAL, "logs", "-f", name, *flags], env=environment, stdout=subprocess.PIPE)
        try:
            yield Follower(process)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def described(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("describe", name, "--json"))
        return found

    def deploy(self, name: str, code: str, *flags: str) -> str:
        """Deploy one file."""
        file = self.data.parent / f"{name}.py"
        file.write_text(code)
        return self.ok("deploy", name, str(file), *flags)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=timeout_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()
        return answer

    def call(self, name: str, value: Any = None, timeout_s: float = 30.0) -> Answer:
        body = None if value is None else json.dumps(value).encode()
        headers = {} if value is None else {"Content-Type": "application/json"}
        return self.ask("GET" if value is None else "POST", f"/function/{name}", body, headers, timeout_s)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    # -- its processes --------------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        """Of `keeper`, `engine` or `gateway`, once it runs its own program."""
        wanted = f"corral.{name}.main".encode()
        return wait_for(
            f"a {name}", lambda: next((pid for pid in descendants(self.process.pid) if _runs(pid, wanted)), 0)
        )

    def zygotes(self) -> list[int]:
        """Children of the keeper; an instance, forked from one, looks the same but is its child."""
        children = Path(f"/proc/{self.pid('keeper')}/task/{self.pid('keeper')}/children").read_text().split()
        return [pid for pid in map(int, children) if b"zygote" in b" ".join(_arguments(pid))]

    def belongings(self) -> list[str]:
        """What of this server is on the machine: processes, groups, sockets, tokens."""
        name = data_name(self.data)
        found = [f"process {pid}: {_arguments(pid)}" for pid in _all_pids() if self._is_ours(pid, name)]
        # os.walk, unlike glob, is not troubled by groups that others remove meanwhile.
        folders = os.walk("/sys/fs/cgroup")
        found += [
            f"group {path}/{each}" for path, inner, _ in folders for each in inner if each.startswith(f"corral-{name}")
        ]
        found += [
            f"folder {path}" for path in (Path("/run/corral") / name, Path(f"/tmp/corral-0-{name}")) if path.exists()
        ]
        return found + [f"token {file}" for file in self.state.glob("corral/servers/*")]

    def _is_ours(self, pid: int, name: str) -> bool:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False
        uid = int(status.split("Uid:")[1].split()[0])
        if "State:\tZ" in status:
            return False
        in_range = os.geteuid() == 0 and self.uid_base <= uid < self.uid_base + 1000
        return in_range or f'"name":"{name}"'.encode() in environ

    # -- its end --------------------------------------------------------------------------------------------

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self._gone()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self._gone()

    def _gone(self) -> int:
        try:
            return self.process.wait(10)
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()


@contextlib.contextmanager
def serving(folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that is stopped at the end, and must then have left nothing."""
    server = Server(folder, *flags, environment=environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
    left = server.belongings()
    assert not left, left


def refused(folder: Path, *flags: str) -> tuple[int, str]:
    """`corral up` that must not start: its status and what it said."""
    done = subprocess.run(
        [*CORRAL, "up", "--data", str(folder), *flags],
        env={**os.environ, "XDG_STATE_HOME": str(folder.parent / "state-of-refused")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stderr


def descendants(pid: int) -> Iterator[int]:
    """Children first; those that end meanwhile are left out."""
    waiting = [pid]
    while waiting:
        parent = waiting.pop(0)
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        waiting += map(int, children)
        yield from map(int, children)


def _all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _arguments(pid: int) -> Sequence[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _runs(pid: int, module: bytes) -> bool:
    return module in _arguments(pid)
