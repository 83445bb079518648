"""`corral up`: what must be right before it starts, and what it leaves."""

import json
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

import corral

from .server import Server, refused, serving, wait_for


def test_greeting_names_url_tier_and_token(shared: Server) -> None:
    assert f"serves at {shared.url}" in shared.greeting
    assert "isolation  T1" in shared.greeting or os.geteuid() != 0
    assert str(shared.data) in shared.greeting
    assert str(shared.token_file) in shared.greeting


def test_token_file_is_its_owners_alone(shared: Server) -> None:
    assert shared.token_file.stat().st_mode & 0o777 == 0o600
    assert shared.data.stat().st_mode & 0o777 == 0o700


def test_health_is_answered_to_everybody(shared: Server) -> None:
    assert shared.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clean_stop_ends_with_0_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as server:
        server.deploy("idle", "def handler(event): return 'ok'\n")
        assert server.call("idle").body == b"ok"
        assert server.stop(number) == 0
    said = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [line for line in said if line["level"] != "info"] == []
    assert said[-1]["event"] == "Corral stopped"


def test_second_server_on_one_data_folder_is_refused(shared: Server) -> None:
    status, said = refused(shared.data, "--port", "0")
    assert status == 2
    assert f"data = {shared.data} is held by another Corral, process {shared.process.pid}; stop it or choose" in said


def test_port_in_use_is_refused(shared: Server, tmp_path: Path) -> None:
    port = shared.url.rpartition(":")[2]
    status, said = refused(tmp_path / "data", "--port", port)
    assert (status, said.count("\n")) == (2, 1)
    assert f"server.port = {port} is in use by another program; choose another --port" in said


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--host", "0.0.0.0"], "server.host = 0.0.0.0 can be reached from other machines"),
        (["--port", "99999"], "server.port = 99999, must be between 0 and 65535"),
        (["--port", "x"], "server.port = 'x', must be a whole number"),
        (["--auth", "none"], "server.auth = 'none', must be one of management, all"),
        (["--isolation", "vm"], "keeper.isolation = 'vm', must be one of auto, namespaces, process"),
        (["--keeper-slots", "-1"], "keeper.slots = -1, must be above 0"),
    ],
)
def test_setting_that_cannot_work_is_refused(tmp_path: Path, flags: list[str], sentence: str) -> None:
    status, said = refused(tmp_path / "data", "--port", "0", *flags)
    assert status == 2
    assert sentence in said
    assert "Traceback" not in said


def test_wrong_settings_file_is_refused_with_its_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "config.toml").write_text("[server]\nport = \n")
    status, said = refused(data)
    assert status == 2
    assert "config.toml: Invalid value (at line 2, column 8)" in said


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, said = refused(tmp_path / "file/data", "--port", "0")
    assert status == 2
    assert "must be a folder Corral can write to: Not a directory" in said


def test_folder_of_a_newer_version_is_refused_and_untouched(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.stop()
    file = server.data / "corral.db"
    with sqlite3.connect(file) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + 1}")
    database.close()
    before = file.read_bytes()
    status, said = refused(server.data, "--port", "0", "--keeper-uid-base", str(server.uid_base))
    assert status == 2
    assert "newer" in said
    assert "Traceback" not in said
    assert file.read_bytes() == before
    assert server.belongings() == []


def test_folder_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data/corral.db").mkdir(parents=True)
    status, said = refused(tmp_path / "data", "--port", "0")
    assert status == 2
    assert "corral.db is a folder, must be a file" in said
    assert "Traceback" not in said


def test_processes_run_the_package_that_up_was_run_from(tmp_path: Path) -> None:
    """Also one that is not installed."""
    package = tmp_path / "code/corral"
    shutil.copytree(Path(corral.__file__).parent, package)
    own = package / "__init__.py"
    own.write_text(own.read_text().replace(corral.__version__, "9.8.7"))
    with serving(tmp_path, environment={"PYTHONPATH": str(package.parent)}) as server:
        assert server.ask("GET", "/corral/v1/status", headers=server.bearer).json()["version"] == "9.8.7"
        server.deploy("hello", "def handle(event, context): return 'ok'")
        assert server.call("hello").body == b"ok"


def test_up_after_a_killed_parent_finds_and_removes_what_was_left(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.deploy("idle", "def handler(event): return 'ok'\n", "--min", "2")
        assert first.call("idle").body == b"ok"
        first.kill()
        wait_for("the end of every process", lambda: not [each for each in first.belongings() if "process" in each])
        with serving(tmp_path, "--port", first.url.rpartition(":")[2]) as second:
            assert second.data == first.data
            assert second.call("idle").body == b"ok"


def test_deployed_functions_outlive_the_server(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.deploy("kept", "def handler(event): return 'still here'\n")
    with serving(tmp_path) as second:
        assert second.call("kept").body == b"still here"
