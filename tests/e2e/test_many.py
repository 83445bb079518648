"""Thousands of functions on a real server: deployed at once, listed, called, at rest, and there again after a kill."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.package.bundle import pack

from .server import Server, serving, wait_for

COUNT = 2000
USERS = ("--keeper-uid-count", str(COUNT + 100))
FUNCTIONS = "/corral/v1/namespaces/many/functions"
QUIET_S = 1.5
"""Longer than the second after which gateway and keeper would look again."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("many")


@pytest.fixture(scope="module")
def many(folder: Path) -> Iterator[Server]:
    """A server with COUNT functions in one package."""
    with serving(folder, *USERS) as server:
        (folder / "f.py").write_text("def main(args):\n    return {'n': args['n'] + 1}\n")
        package = server.ask("POST", "/corral/v1/namespaces/many/packages", pack(folder / "f.py"), server.bearer)
        rows = [
            {"name": f"f-{number:04}", "package": package.json()["package"], "spec": {"initial": 0, "idle_s": 0.2}}
            for number in range(COUNT)
        ]
        deployed = server.ask("POST", FUNCTIONS, json.dumps(rows).encode(), server.bearer)
        assert deployed.status == 200, deployed
        assert len(deployed.json()["functions"]) == COUNT
        yield server


def switches(pid: int) -> int:
    """How often its threads gave up a processor so far: each awakening ends in one."""
    threads = Path(f"/proc/{pid}/task")
    lines = "".join((threads / thread / "status").read_text() for thread in os.listdir(threads)).splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def test_package_that_many_share_is_stored_once(many: Server) -> None:
    assert len(list((many.data / "packages/many").iterdir())) == 1


def test_list_names_all_of_them(many: Server) -> None:
    lines = many.ok("list", "-n", "many").splitlines()
    assert [line.split()[0] for line in lines[1:]] == [f"f-{number:04}" for number in range(COUNT)]
    assert len(json.loads(many.ok("list", "-n", "many", "--json"))) == COUNT


def test_page_of_metrics_holds_those_that_were_called(many: Server) -> None:
    for number in (0, COUNT // 2, COUNT - 1):
        answer = many.call(f"f-{number:04}.many", {"n": number})
        assert answer.json() == {"n": number + 1}
    page = many.ask("GET", "/metrics").body.decode()
    assert f"corral_functions {COUNT}\n" in page
    called = {line.split('function="')[1].split('"')[0] for line in page.splitlines() if 'function="' in line}
    assert called == {"f-0000", f"f-{COUNT // 2:04}", f"f-{COUNT - 1:04}"}


def test_server_at_rest_does_nothing_at_all(many: Server) -> None:
    pids = [many.process.pid, many.pid("keeper"), many.pid("engine"), many.pid("gateway")]

    def is_quiet() -> bool:
        before = list(map(switches, pids))
        time.sleep(QUIET_S)
        return list(map(switches, pids)) == before

    # Connections of the tests before, their instances and what is learned from them have their time to go.
    wait_for(f"{QUIET_S} s in which nobody wakes up", is_quiet, within_s=30.0)


def test_demand_is_shown_by_its_command(many: Server) -> None:
    many.call("f-0007.many", {"n": 1})
    said = wait_for("the call", lambda: "idle times" in (text := many.ok("demand", "-n", "many", "f-0007")) and text)
    assert "DAY         CALLS  MINUTES WITH CALLS  MOST IN A MINUTE\n" in said
    assert said.splitlines()[1].split()[1:] == ["1", "1", "1"]
    assert many.ok("demand", "-n", "many", "f-0008") == "many/f-0008 was not called in the last 14 days\n"


def test_all_are_there_after_everything_was_killed(many: Server, folder: Path) -> None:
    before = many.ask("GET", FUNCTIONS, headers=many.bearer).json()["functions"]
    many.kill()
    wait_for("the end of every process", lambda: not [each for each in many.belongings() if "process" in each])
    with serving(folder, *USERS, "--port", many.url.rpartition(":")[2]) as again:
        after = again.ask("GET", FUNCTIONS, headers=again.bearer).json()["functions"]
        assert [each | {"instances": 0} for each in after] == [each | {"instances": 0} for each in before]
        assert again.call("f-1234.many", {"n": 1}).json() == {"n": 2}
