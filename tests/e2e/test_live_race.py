"""A race on a real server: the same calls live and simulated, and nothing left behind."""

import json
import signal
import subprocess
from pathlib import Path

from .server import CORRAL, Server, wait_for


def traced(folder: Path) -> Path:
    """Two functions; 40 calls of 20 ms within a second, and after them one of each."""
    rows = [("a", "busy", at / 40, 0.02) for at in range(40)] + [("a", "busy", 1.2, 0.02), ("a", "rare", 1.2, 0.3)]
    file = folder / "calls.csv"
    text = "".join(f"{app},{func},{begins + took:.6f},{took}\n" for app, func, begins, took in rows)
    file.write_text("app,func,end_timestamp,duration\n" + text)
    return file


def functions_left(server: Server) -> list[str]:
    return [each["name"] for each in json.loads(server.ok("list", "-n", "bench", "--json"))]


def test_live_and_simulated_stand_side_by_side(shared: Server, tmp_path: Path) -> None:
    file = tmp_path / "live.json"
    said = shared.ok(
        "race", "--live", "--url", shared.url, "--trace", str(traced(tmp_path)), "--json", str(file),
        "--policies", "corral",
    )  # fmt: skip
    lines = said.splitlines()
    kinds = [line.split()[:2] for line in lines[1:5]]
    assert kinds == [["corral", "live"], ["corral", "live"], ["corral", "simulated"], ["corral", "simulated"]]
    told = json.loads(file.read_text())
    assert (told["functions"], told["calls"]) == (2, 42)
    [policy] = told["policies"]
    assert [run["calls"] - run["failed"] for run in policy["live"]] == [42, 42]
    assert policy["agrees"] or policy["why"]
    assert all(run["cold_starts"] >= 2 for run in policy["live"]), "each function's first call found nothing"
    assert all(run["starts"] >= run["cold_starts"] and run["added_s"] > 0 for run in policy["live"])
    assert functions_left(shared) == []


def test_what_a_killed_race_left_is_removed_by_the_next(shared: Server, tmp_path: Path) -> None:
    file = tmp_path / "f.py"
    file.write_text("def main(args):\n    return {}\n")
    shared.ok("deploy", "race-3-f7", str(file), "-n", "bench")
    command = ["race", "--live", "--url", shared.url, "--trace", str(traced(tmp_path)), "--policies", "corral"]
    said = subprocess.run([*CORRAL, *command], env=shared.environment, capture_output=True, text=True, check=True)
    assert "removed 1 functions that an earlier race left in namespace bench" in said.stderr
    assert functions_left(shared) == []


def test_race_that_is_interrupted_removes_its_functions(shared: Server, tmp_path: Path) -> None:
    command = ["race", "--live", "--url", shared.url, "--trace", str(traced(tmp_path)), "--policies", "corral"]
    process = subprocess.Popen(
        [*CORRAL, *command], env=shared.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for("its functions", lambda: len(functions_left(shared)) == 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert functions_left(shared) == []
