"""The real engine is killed at random moments while deployments are acknowledged. What was acknowledged is there
afterwards; what is there was asked for; numbers are never given twice."""

import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from corral.config import Boot, Settings
from corral.package.bundle import pack

ROUNDS = 20
SEED = 20261123
DEADLINE_S = 10.0
FUNCTIONS = "/corral/v1/namespaces/default/functions"


class Connection(http.client.HTTPConnection):
    """HTTP over the engine's unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(str(self._path))

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        self.request(method, path, body, {"Authorization": "Bearer admin-token"})
        response = self.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None


class Engine:
    """`python -m corral.engine.main` on a data folder; its sockets outlive it, as with the real parent."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._listeners = {name: self._listen(data / f"{name}.sock") for name in ("link", "api")}
        self._process: subprocess.Popen[bytes] | None = None

    def _listen(self, path: Path) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(64)
        return listener

    def start(self) -> None:
        fds = {name: listener.fileno() for name, listener in self._listeners.items()}
        boot = Boot(
            settings=Settings(),
            data=str(self.data),
            run=str(self.data),
            name="01234567",
            parent_pid=os.getpid(),
            fds=fds,
            admin_token_sha256=hashlib.sha256(b"admin-token").hexdigest(),
        )
        environment = os.environ | {"CORRAL_BOOT": msgspec.json.encode(boot).decode()}
        with (self.data / "engine.log").open("ab") as log:
            command = [sys.executable, "-m", "corral.engine.main"]
            self._process = subprocess.Popen(command, env=environment, pass_fds=list(fds.values()), stderr=log)

    def connection(self) -> Connection:
        return Connection(self.data / "api.sock")

    def end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(DEADLINE_S)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)
        for listener in self._listeners.values():
            listener.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    made.start()
    yield made
    made.close()


def uploaded(engine: Engine, tmp_path: Path) -> str:
    (tmp_path / "app.py").write_text("def handle(event, context): return event")
    connection = engine.connection()
    _, answer = connection.ask("POST", "/corral/v1/namespaces/default/packages", pack(tmp_path / "app.py"))
    connection.close()
    return str(answer["package"])


class Ledger:
    """What was asked and what was acknowledged, by name. Several writers share it: one name, one writer."""

    def __init__(self) -> None:
        self.asked: dict[str, set[int]] = {}
        """Name -> the memory_mib of every deployment asked for since the last acknowledged deletion."""
        self.stands: dict[str, int | None] = {}
        """Name -> memory_mib acknowledged last; None: its deletion was."""
        self.numbers: set[tuple[str, int]] = set()
        self.repeated: list[tuple[str, int]] = []
        self.unsure_deletions: set[str] = set()
        """Names whose deletion was asked for and not answered."""
        self.refusals: list[object] = []

    def acknowledged(self, name: str, memory_mib: int, number: int) -> None:
        if (name, number) in self.numbers:
            self.repeated.append((name, number))
        self.numbers.add((name, number))
        self.stands[name] = memory_mib
        self.asked[name] = {memory_mib}

    def check(self, found: dict[str, int]) -> None:
        assert not self.refusals
        assert not self.repeated, "a revision number was given twice"
        for name, memory_mib in self.stands.items():
            # After the last acknowledgement others may have been asked for: they may or may not be there.
            allowed: set[int | None] = {memory_mib, *self.asked[name]}
            if name in self.unsure_deletions:
                allowed.add(None)
            assert found.get(name) in allowed, f"{name} is {found.get(name)}, acknowledged was {memory_mib}"
        for name, memory_mib in found.items():
            assert memory_mib in self.asked[name], f"{name} with {memory_mib} MiB was never asked for"


def write(engine: Engine, ledger: Ledger, package: str, rng: random.Random, names: list[str]) -> None:
    """Deploy and delete until the engine is gone."""
    connection = engine.connection()
    try:
        while True:
            name = rng.choice(names)
            if ledger.stands.get(name) is not None and rng.random() < 0.2:
                ledger.unsure_deletions.add(name)
                status, answer = connection.ask("DELETE", f"{FUNCTIONS}/{name}")
                if status not in (204, 404):
                    ledger.refusals.append(answer)
                    return
                ledger.stands[name], ledger.asked[name] = None, set()
            else:
                memory_mib = rng.randrange(32, 100_000)
                ledger.asked.setdefault(name, set()).add(memory_mib)
                ledger.stands.setdefault(name, None)
                body = {"package": package, "spec": {"initial": 0, "memory_mib": memory_mib}}
                status, answer = connection.ask("PUT", f"{FUNCTIONS}/{name}", json.dumps(body).encode())
                if status not in (200, 201):
                    ledger.refusals.append(answer)
                    return
                ledger.acknowledged(name, memory_mib, answer["number"])
            ledger.unsure_deletions.discard(name)
    except (http.client.HTTPException, OSError):
        return
    finally:
        connection.close()


def test_what_was_acknowledged_survives_kill_9(engine: Engine, tmp_path: Path) -> None:
    package = uploaded(engine, tmp_path)
    ledger = Ledger()
    rng = random.Random(SEED)
    for _ in range(ROUNDS):
        writers = [
            threading.Thread(
                target=write,
                args=(engine, ledger, package, random.Random(rng.random()), [f"w{place}-{n}" for n in range(5)]),
            )
            for place in range(3)
        ]
        for writer in writers:
            writer.start()
        before = len(ledger.numbers)
        # The moment counts from the first acknowledgement, so that each round has something to lose.
        deadline = time.monotonic() + DEADLINE_S
        while len(ledger.numbers) == before and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0.0, 0.05))
        engine.end(signal.SIGKILL)
        for writer in writers:
            writer.join(DEADLINE_S)
        engine.start()
        connection = engine.connection()
        _, answer = connection.ask("GET", "/corral/v1/functions")
        connection.close()
        ledger.check({each["name"]: each["spec"]["memory_mib"] for each in answer["functions"]})
    assert len(ledger.numbers) >= ROUNDS


def test_sigterm_ends_the_engine_with_status_0(engine: Engine, tmp_path: Path) -> None:
    uploaded(engine, tmp_path)
    assert engine.end(signal.SIGTERM) == 0
    assert "Traceback" not in (tmp_path / "engine.log").read_text()


def test_a_damaged_store_ends_the_engine_with_a_sentence(engine: Engine, tmp_path: Path) -> None:
    uploaded(engine, tmp_path)
    engine.end(signal.SIGTERM)
    (tmp_path / "corral.db").write_bytes(b"no database at all " * 100)
    engine.start()
    assert engine.wait() == 78
    assert (tmp_path / "engine.log").read_text().strip().endswith("away to start empty")
