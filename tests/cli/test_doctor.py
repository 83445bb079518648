"""`corral doctor` works without a server."""

import json
import subprocess
import sys

from click.testing import CliRunner

from corral.cli.main import UNREACHABLE, cli

NOWHERE = "http://127.0.0.1:1"


def test_doctor_tells_the_machine_without_a_server() -> None:
    result = CliRunner().invoke(cli, ["doctor", "--json", "--url", NOWHERE])
    report = json.loads(result.output)
    assert report["tier"] in ("T0", "T1")
    assert report["host_settings_changed"] == []
    assert report["server"]["state"].startswith(f"no answer from {NOWHERE}")


def test_doctor_is_readable() -> None:
    lines = CliRunner().invoke(cli, ["doctor", "--url", NOWHERE]).output.splitlines()
    assert any(line.startswith("host settings changed  none") for line in lines)
    assert any(line.startswith("not held: ") for line in lines)


def test_doctor_without_a_server_prints_and_ends_with_4() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "corral.cli.main", "doctor", "--url", NOWHERE], capture_output=True, timeout=30
    )
    assert done.returncode == UNREACHABLE
    assert b"not held: " in done.stdout
