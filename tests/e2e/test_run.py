"""./run as a newcomer types it, in a closed folder with nothing prepared."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .server import wait_for

PROJECT = Path(__file__).parents[2]
TAKEN = ("src", "examples", ".ci", "run", "requirements.lock", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project that only its owner may enter, made under a narrow umask."""
    folder = tmp_path / "checkout"
    folder.mkdir(mode=0o700)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in TAKEN:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / name)
    for path in (folder / "src").rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    return folder


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


@contextlib.contextmanager
def running(checkout: Path, environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """`./run` until it has said all and waits; what it said. Ended by Ctrl-C, which must leave no token."""
    with log.open("wb") as out:
        run = subprocess.Popen(["./run"], cwd=checkout, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for("the invitation", lambda: "until Ctrl-C" in log.read_text() or run.poll() is not None, 240)
        assert run.poll() is None, log.read_text()
        yield log.read_text()
    finally:
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(10) == 0
    assert list(Path(environment["XDG_STATE_HOME"]).rglob("*.token")) == []


def test_run_takes_no_arguments_and_says_where_settings_go(checkout: Path) -> None:
    refused = subprocess.run(["./run", "--port", "81"], cwd=checkout, capture_output=True, text=True, timeout=30)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("./run takes no arguments, but was given: --port 81\n")
    assert "CORRAL_PORT=8081 ./run" in refused.stderr
    assert not (checkout / ".venv").exists()


def test_run_sets_up_deploys_calls_and_stops_on_ctrl_c(checkout: Path, tmp_path: Path) -> None:
    port = free_port()
    taken = {name: value for name, value in os.environ.items() if not name.startswith(("CORRAL_", "SUDO_", "VIRTUAL_"))}
    environment = {**taken, "CORRAL_PORT": str(port), "XDG_STATE_HOME": str(tmp_path / "state")}
    corral = [str(checkout / ".venv/bin/corral")]
    client = {**environment, "CORRAL_URL": f"http://127.0.0.1:{port}"}
    with running(checkout, environment, tmp_path / "first") as said:
        answer = next(line for line in said.splitlines() if line.startswith('{"words"'))
        assert json.loads(answer)["words"] == 6
        assert f"curl http://127.0.0.1:{port}/function/words" in said
        assert "POLICY" in said and "is best for callers" in said, "the race was shown"
        again = subprocess.run(["./run"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)
        assert (again.returncode, again.stderr.count(f"Port {port} is in use")) == (2, 1)
        (tmp_path / "words.py").write_text("def handler(event): return 'mine'\n")
        subprocess.run([*corral, "deploy", "words", str(tmp_path / "words.py")], env=client, check=True, timeout=30)
        subprocess.run([*corral, "delete", "table"], env=client, check=True, timeout=30)
    # The second time everything is its owner's.
    with running(checkout, environment, tmp_path / "second") as said:
        assert "deployed" not in said.replace("not deployed again", "")
        assert "POLICY" not in said
        listed = subprocess.run([*corral, "list"], env=client, capture_output=True, text=True, timeout=30).stdout
        assert "/function/words" in listed and "/function/table" not in listed
        called = subprocess.run([*corral, "invoke", "words"], env=client, capture_output=True, timeout=30)
        assert called.stdout == b"mine"
    wrong = subprocess.run(
        ["./run"], cwd=checkout, env={**environment, "CORRAL_PORT": "abc"}, capture_output=True, text=True, timeout=60
    )
    assert wrong.returncode == 2
    assert "server.port = 'abc', must be a whole number" in wrong.stderr
