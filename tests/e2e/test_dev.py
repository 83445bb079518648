"""corral dev as a developer uses it: save, look, save again."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from corral.cli.dev import server

from .server import CORRAL, Server

HELLO = """
def handler(event):
    print("greeting")
    return "hello"
"""
RELOAD_MAX_MS = 2000.0
"""From the notice of a save to serving. A bound for a machine under any load; `corral bench` has the true number."""


class Dev:
    """`corral dev … --json`, its events one by one."""

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.process = subprocess.Popen(
            [*CORRAL, "dev", *arguments, "--port", "0", "--json"],
            cwd=folder,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("CORRAL_", "SUDO_"))},
                "XDG_STATE_HOME": str(folder / "state"),
                "TMPDIR": str(self.temporary),
                "CORRAL_KEEPER_UID_BASE": str(1_000_000 + os.getpid() * 30_000 + 29_000),
                "CORRAL_KEEPER_UID_COUNT": "1000",
                **(environment or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._rest = b""

    def event(self, kind: str) -> dict[str, Any]:
        """The next event of this kind; those before it go by. Fails when there is none within 20 s."""
        while True:
            event = self._next()
            if event["event"] == kind:
                return event

    def events(self, *kinds: str) -> dict[str, dict[str, Any]]:
        """The next event of each kind, in whatever order they come."""
        seen: dict[str, dict[str, Any]] = {}
        while seen.keys() != set(kinds):
            event = self._next()
            if event["event"] in kinds:
                seen.setdefault(event["event"], event)
        return seen

    def _next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], 20.0)
            chunk = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            assert chunk, (self._rest, self.process.poll())
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        event: dict[str, Any] = json.loads(line)
        return event

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=15)
        return self.process.returncode, said.decode()


@contextlib.contextmanager
def developing(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Dev]:
    """Ended by Ctrl-C, after which nothing may be left."""
    dev = Dev(folder, *arguments, environment=environment)
    try:
        yield dev
    finally:
        if dev.process.poll() is None:
            assert dev.end() == (0, "")
    assert list(dev.temporary.iterdir()) == []
    assert list((folder / "state").rglob("*.token")) == []


def call(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: bytes = answer.read()
        return found


def test_save_is_served_and_a_broken_one_leaves_the_last_good_one(tmp_path: Path) -> None:
    file = tmp_path / "hello.py"
    file.write_text(HELLO)
    with developing(tmp_path, "hello.py") as dev:
        loaded = dev.event("loaded")
        assert (loaded["function"], loaded["revision"], loaded["is_first"]) == ("hello", 1, True)
        assert call(loaded["url"]) == b"hello"
        # The line takes its way over the log, so either may come first.
        seen = dev.events("called", "logged")
        called, logged = seen["called"], seen["logged"]
        assert (called["method"], called["path"], called["status"]) == ("GET", "/", 200)
        assert (logged["line"], logged["request"]) == ("greeting", called["request"])

        file.write_text(HELLO.replace("hello", "good day"))
        again = dev.event("loaded")
        assert (again["revision"], again["took_ms"] < RELOAD_MAX_MS) == (2, True)
        assert call(loaded["url"]) == b"good day"

        file.write_text("import json\n\ndef name():\n    return nobody\n\nname()\n")
        refused = dev.event("refused")
        assert "hello.py line 4 raised NameError" in refused["error"]
        assert refused["trace"][:4] == ["hello.py:6", "    name()", "hello.py:4, in name", "    return nobody"]
        assert refused["serving"] == 2
        assert call(loaded["url"]) == b"good day"

        # As editors save: a new file in the old one's place.
        (tmp_path / ".hello.py.swp").write_text(HELLO)
        (tmp_path / ".hello.py.swp").rename(file)
        assert dev.event("loaded")["function"] == "hello"
        assert call(loaded["url"]) == b"hello"


def test_folder_is_followed_in_all_its_functions(tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "lib").mkdir(parents=True)
    (code / "corral.toml").write_text('[functions.one]\nhandler = "one.py"\n')
    with developing(tmp_path, "code") as dev:
        assert dev.event("refused")["error"].startswith("code/corral.toml: functions.one.handler = 'one.py', must be")
        (code / "one.py").write_text("from lib.words import WORD\ndef handler(event): return WORD\n")
        (code / "two.py").write_text("def handler(event): return 'two'\n")
        (code / "lib/words.py").write_text("WORD = 'first'\n")
        one, two = '[functions.one]\nhandler = "one.py:handler"\n', '[functions.two]\nhandler = "two.py:handler"\n'
        (code / "corral.toml").write_text(one + two)
        found = {event["function"]: event for event in (dev.event("loaded"), dev.event("loaded"))}
        assert call(found["one"]["url"]) + call(found["two"]["url"]) == b"firsttwo"

        (code / "lib/words.py").write_text("WORD = 'second'\n")
        assert {dev.event("loaded")["function"], dev.event("loaded")["function"]} == {"one", "two"}
        assert call(found["one"]["url"]) == b"second"

        (code / "two.py").write_text("def handler(event) return 'two'\n")
        assert dev.event("refused")["function"] == "two"
        (code / "corral.toml").write_text(one)
        assert dev.event("removed")["function"] == "two"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            call(found["two"]["url"])


def test_file_that_was_removed_is_said_to_be_gone(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "handler.py").write_text("def handler(event): return 'one'\n")
    (code / "test_handler.py").write_text("from handler import handler\n")
    with developing(tmp_path, "code") as dev:
        dev.event("loaded")
        (code / "handler.py").unlink()
        error = dev.event("refused")["error"]
        assert error == "handler.py is gone: test_handler.py line 1 imports handler, which is not there"


def test_what_the_interpreter_and_editors_leave_reloads_nothing(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    file = tmp_path / "code/hello.py"
    file.write_text(HELLO)
    with developing(tmp_path, "code") as dev:
        assert dev.event("loaded")["function"] == "code"
        for noise in ("__pycache__/hello.cpython-311.pyc", ".git/index", ".venv/pyvenv.cfg", "hello.py~"):
            (file.parent / noise).parent.mkdir(exist_ok=True)
            (file.parent / noise).write_text("x")
        file.touch()
        file.write_text(HELLO.replace("hello", "good day"))
        assert dev.event("loaded")["revision"] == 2


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """As others see a folder in /tmp; pytest's own are closed to the users that functions run as."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_files_have_their_own_names_also_without_namespaces(open_folder: Path) -> None:
    file = open_folder / "hello.py"
    file.write_text("def handler(event):\n    return 1 / 0\n")
    with developing(open_folder, "hello.py", environment={"CORRAL_KEEPER_ISOLATION": "process"}) as dev:
        with pytest.raises(urllib.error.HTTPError, match="500"):
            call(dev.event("loaded")["url"])
        dev.event("logged")
        assert dev.event("logged")["line"] == '  File "hello.py", line 2, in handler'
        # At once: an empty file would be refused first.
        other = open_folder / "next"
        other.write_text("name\n")
        other.replace(file)
        assert dev.event("refused")["trace"] == ["hello.py:1", "    name"]


def test_private_server_ends_with_a_killed_developer(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    dev = Dev(tmp_path, "hello.py")
    url = dev.event("loaded")["url"]
    assert dev.process.stdout is not None
    # The server holds no end of it: when all is gone, so is the port.
    dev.end(signal.SIGKILL)
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        while True:
            call(url)


def test_impatient_developer_leaves_nothing_either(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    with developing(tmp_path, "hello.py") as dev:
        dev.event("loaded")
        dev.process.send_signal(signal.SIGINT)
        [folder] = dev.temporary.iterdir()
        while folder.exists() and dev.process.poll() is None:
            # Not in the moment before the first one is taken: that is one Ctrl-C.
            with contextlib.suppress(subprocess.TimeoutExpired):
                dev.process.wait(0.1)
            dev.process.send_signal(signal.SIGINT)
        status, said = dev.process.wait(10), dev.process.communicate()[1]
        assert (status, said) == (0, b"")


def test_port_that_is_taken_at_the_last_moment_is_not_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CORRAL_KEEPER_UID_BASE", str(1_000_000 + os.getpid() * 30_000 + 28_000))
    monkeypatch.setenv("CORRAL_KEEPER_UID_COUNT", "1000")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(server, "_free_port", lambda: port)
        with server.PrivateServer(None) as private:
            assert not private.client.url.endswith(f":{port}")
            assert private.client.manage("GET", "/functions") == {"functions": []}


def test_running_server_gets_the_functions_and_is_left_as_it_was(shared: Server, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HELLO)
    environment = {**shared.environment, "CORRAL_TOKEN": shared.token}
    command = [*CORRAL, "dev", "mine.py", "--server", shared.url, "-n", "trial", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["url"] == shared.url
        loaded = json.loads(process.stdout.readline())
        assert loaded["url"] == f"{shared.url}/function/mine.trial"
        assert call(loaded["url"]) == b"hello"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert shared.call("mine.trial").status == 404


def test_mistakes_at_the_start_are_sentences(tmp_path: Path) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([*CORRAL, "dev", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        return done.returncode, done.stderr

    assert said("none.py") == (2, "corral: path = none.py, must be a file or folder; there is none\n")
    (tmp_path / "packed.zip").write_bytes(b"")
    assert said("packed.zip") == (
        2,
        "corral: path = packed.zip is an archive, must be a file or folder that you write in\n",
    )
    (tmp_path / "hello.py").write_text(HELLO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        in_use = f"server.port = {port} is in use by another program; choose another --port, or 0 for a free one"
        assert said("hello.py", "--port", str(port)) == (2, f"corral: {in_use}\n")
    status, error = said("hello.py", "--server", "http://127.0.0.1:1")
    assert (status, "no answer from http://127.0.0.1:1" in error) == (4, True)
