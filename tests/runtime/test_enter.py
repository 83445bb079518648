"""A program in its own root: sees the allow-list and holds no rights."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .keeper import RUNTIMES, UID, interpreters, plan_fd, zygote_root

OWN = interpreters()[f"{sys.version_info[0]}.{sys.version_info[1]}"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

LOOK = """
import json, os, sys
def attempt(path):
    try:
        open(path, "a").close()
        return True
    except OSError:
        return False
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "ids": [os.getuid(), os.getgid(), os.getgroups()], "environ": dict(os.environ), "root": os.listdir("/"),
    "capabilities": {status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16},
    "no_new_privs": status["NoNewPrivs"].strip(), "writable": [path for path in sys.argv[1:] if attempt(path)],
    "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
}))
"""


def enter(
    tmp_path: Path, *arguments: str, pass_fds: tuple[int, ...] = (), **changes: Any
) -> subprocess.CompletedProcess[str]:
    staging = tmp_path / "root"
    staging.mkdir(exist_ok=True)
    plan = {
        **zygote_root(str(staging), OWN, 0),
        "uid": UID,
        "gid": UID,
        "drop": True,
        "argv": [OWN.executable, "-I", "-S", "-c", LOOK, *arguments],
        "env": {"NAME": "value"},
        "keep_fds": [],
        **changes,
    }
    fd = plan_fd(plan)
    command = [OWN.executable, "-I", "-S", str(RUNTIMES / "enter.py"), str(fd)]
    try:
        return subprocess.run(
            command, pass_fds=[fd, *pass_fds], capture_output=True, text=True, timeout=30, check=False
        )
    finally:
        os.close(fd)


def test_entered_program_holds_no_rights_and_sees_the_allow_list(tmp_path: Path) -> None:
    view = json.loads(enter(tmp_path).stdout)
    assert view["ids"] == [UID, UID, []]
    assert view["capabilities"]
    assert view["no_new_privs"] == "1"
    assert view["environ"] == {"NAME": "value"} | {k: v for k, v in view["environ"].items() if k == "LC_CTYPE"}
    assert not {"home", "var", "sys", "boot", "srv"} & set(view["root"])


def test_only_what_is_bound_for_writing_can_be_written(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    for name in ("data", "code"):
        (hidden / name).mkdir()
        os.chown(hidden / name, UID, UID)
    # The folder above is closed to the new user; the binds at the same paths work nevertheless.
    binds = [
        *zygote_root("", OWN, 0)["binds"],
        [str(hidden / "data"), "/data", "rw"],
        [str(hidden / "code"), "/code", "ro"],
    ]
    tried = ("/data/x", "/code/x", "/x", "/tmp/x", "/usr/x", "/scratch/x")
    view = json.loads(enter(tmp_path, *tried, binds=binds, tmpfs={"/scratch": "mode=1777,size=1m"}).stdout)
    assert view["writable"] == ["/data/x", "/scratch/x"]


def test_only_named_descriptors_survive(tmp_path: Path) -> None:
    kept, dropped = socket.socketpair()
    numbers = (kept.fileno(), dropped.fileno())
    view = json.loads(enter(tmp_path, pass_fds=numbers, keep_fds=[numbers[0]]).stdout)
    assert numbers[0] in view["fds"]
    assert numbers[1] not in view["fds"] or view["fds"].index(numbers[1]) == len(view["fds"]) - 1
    kept.close()
    dropped.close()


def test_fault_is_one_sentence_and_status_90(tmp_path: Path) -> None:
    ended = enter(tmp_path, binds=[["/nowhere", "/nowhere", "ro"]])
    assert ended.returncode == 90
    assert ended.stderr.count("\n") == 1
    assert "/nowhere" in ended.stderr


def test_mounts_stay_inside(tmp_path: Path) -> None:
    before = Path("/proc/self/mounts").read_text()
    assert enter(tmp_path).returncode == 0
    assert Path("/proc/self/mounts").read_text() == before
    assert list((tmp_path / "root").iterdir()) == []


def test_without_a_root_only_rights_are_given_up(tmp_path: Path) -> None:
    script = ["/bin/sh", "-c", "id -u; grep CapBnd /proc/self/status; ls /"]
    shown = enter(tmp_path, root=None, argv=script).stdout.split()
    assert shown[:3] == [str(UID), "CapBnd:", "0" * 16]
    assert "var" in shown
