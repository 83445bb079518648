"""What tier T1 promises beyond the contract of all backends."""

import asyncio
import os
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corral.model import ExitCause
from corral.sandbox import mounts, namespaces, syscalls
from corral.sandbox.cgroups import NoGroups

from .stage import Stage, stage

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")

ECHO = "def main(args):\n    return {'echo': args.get('say')}\n"
HOARDER = "def main(args):\n    return {'size': len(bytearray(args['mib'] << 20))}\n"


def on_t1(play: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        async with stage("T1") as made:
            await play(made)

    asyncio.run(run())


def test_too_much_memory_ends_the_instance_with_that_cause_and_no_neighbour() -> None:
    async def play(made: Stage) -> None:
        neighbour = await made.start(ECHO)
        hoarder = await made.start(HOARDER, memory_mib=64)
        assert await made.call(hoarder, mib=16) == {"size": 16 << 20}
        with pytest.raises(asyncio.IncompleteReadError):
            await made.call(hoarder, mib=100)
        ended = await made.exit_of(hoarder)
        assert (ended.cause, ended.detail) == (ExitCause.OUT_OF_MEMORY, "used more than its 64 MiB")
        assert 32 < ended.memory_peak_mib <= 64
        assert await made.call(neighbour, say="unharmed") == {"echo": "unharmed"}

    on_t1(play)


def test_a_limit_above_the_usual_one_holds() -> None:
    async def play(made: Stage) -> None:
        instance = await made.start(HOARDER, memory_mib=512)
        assert await made.call(instance, mib=300) == {"size": 300 << 20}

    on_t1(play)


def test_a_relative_path_is_in_the_instances_own_tmp() -> None:
    async def play(made: Stage) -> None:
        code = "import os\ndef main(args):\n    open('mine', 'x')\n    return os.listdir('/tmp')\n"
        assert await made.call(await made.start(code)) == ["mine"]

    on_t1(play)


def test_files_in_tmp_count_as_memory() -> None:
    async def play(made: Stage) -> None:
        code = "def main(args):\n    with open('/tmp/big', 'wb') as file:\n"
        code += "        for _ in range(60): file.write(bytes(1 << 20))\n"
        instance = await made.start(code, memory_mib=40)
        with pytest.raises(asyncio.IncompleteReadError):
            await made.call(instance)
        assert (await made.exit_of(instance)).cause is ExitCause.OUT_OF_MEMORY

    on_t1(play)


def test_a_child_killed_for_memory_is_named_when_its_parent_gives_up() -> None:
    async def play(made: Stage) -> None:
        code = "import os\ndef main(args):\n    if os.fork() == 0:\n        bytearray(200 << 20)\n        os._exit(0)\n"
        code += "    os.wait()\n    os._exit(5)\n"
        instance = await made.start(code, memory_mib=64)
        with pytest.raises(asyncio.IncompleteReadError):
            await made.call(instance)
        ended = await made.exit_of(instance)
        assert ended.cause is ExitCause.OUT_OF_MEMORY
        # v1 kills the child alone, v2 the whole instance.
        assert ended.detail in ("used more than its 64 MiB; it exited with status 5", "used more than its 64 MiB")

    on_t1(play)


def test_a_fork_bomb_is_held_named_and_wiped_out() -> None:
    bomb = "import os, time\ndef main(args):\n    made = 0\n    try:\n        while True:\n"
    bomb += "            if os.fork() == 0:\n                time.sleep(600)\n            made += 1\n"
    bomb += "    except BlockingIOError:\n        return {'made': made}\n"

    async def play(made: Stage) -> None:
        neighbour = await made.start(ECHO)
        bomber = await made.start(bomb)
        answer = await made.call(bomber)
        assert 50 < answer["made"] < made.boot.settings.keeper.pids_max
        assert await made.call(neighbour, say="unharmed") == {"echo": "unharmed"}
        ended = await made.stop(bomber)
        assert "refused a process beyond its limit of 128" in ended.detail
        user = made.users[bomber]
        assert not _processes_of(user)

    on_t1(play)


def test_a_function_sees_its_code_the_system_and_nothing_of_the_host() -> None:
    async def play(made: Stage) -> None:
        code = "import os\ndef main(args):\n    return {'root': os.listdir('/'), 'code': os.listdir('/function'),"
        code += " 'tmp': os.listdir('/tmp'), 'pids': [p for p in os.listdir('/proc') if p.isdigit()],"
        code += f" 'data': os.path.exists({str(made.data)!r}), 'uid': os.getresuid(), 'groups': os.getgroups(),"
        code += " 'status': open('/proc/self/status').read()}\n"
        instance = await made.start(code)
        seen = await made.call(instance)
        assert set(seen["root"]) & {"function", "usr", "proc", "tmp"} == {"function", "usr", "proc", "tmp"}
        assert not set(seen["root"]) & {"home", "var", "srv", "sys", "mnt", "boot"}
        assert (seen["code"], seen["tmp"], seen["pids"], seen["data"]) == (["app.py"], [], ["1"], False)
        assert seen["uid"] == [made.users[instance]] * 3
        assert seen["groups"] == []
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert re.search(rf"{kind}:\s0+\n", seen["status"])
        assert "NoNewPrivs:\t1" in seen["status"]

    on_t1(play)


def test_tmp_is_private_and_the_code_cannot_be_changed() -> None:
    code = "import os\ndef main(args):\n    found = os.listdir('/tmp')\n    open('/tmp/mine', 'w').close()\n"
    code += "    try:\n        open('/function/app.py', 'a')\n    except OSError as exc:\n"
    code += "        return {'found': found, 'refused': exc.strerror}\n"

    async def play(made: Stage) -> None:
        for _ in range(2):
            instance = await made.start(code)
            assert await made.call(instance) == {"found": [], "refused": "Read-only file system"}

    on_t1(play)


def test_without_a_network_a_function_has_a_loopback_of_its_own() -> None:
    code = "import socket\ndef main(args):\n    server = socket.create_server(('127.0.0.1', 8765))\n"
    code += "    socket.create_connection(('127.0.0.1', 8765)).close()\n"
    code += "    return {'names': [name for _, name in socket.if_nameindex()]}\n"

    async def play(made: Stage) -> None:
        for _ in range(2):
            assert await made.call(await made.start(code)) == {"names": ["lo"]}

    on_t1(play)


def test_on_the_hosts_network_a_function_reaches_what_the_host_reaches() -> None:
    code = "import socket\ndef main(args):\n    socket.create_connection(('127.0.0.1', args['port']), 5).close()\n"
    code += "    return {'reached': True}\n"

    async def play(made: Stage) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            instance = await made.start(code, network="host")
            assert await made.call(instance, port=port) == {"reached": True}

    on_t1(play)


def test_only_the_gateway_may_connect_to_an_instance() -> None:
    async def play(made: Stage) -> None:
        instance = await made.start(ECHO)
        status = os.stat(made.addresses[instance].removeprefix("unix:"))
        assert (status.st_uid, status.st_mode & 0o777) == (made.boot.settings.keeper.uid_base, 0o600)

    on_t1(play)


def test_cpu_beyond_its_share_is_not_given() -> None:
    burn = "import time\ndef main(args):\n    wall, cpu = time.monotonic(), time.process_time()\n"
    burn += "    while time.process_time() - cpu < 0.06: pass\n    return {'wall': time.monotonic() - wall}\n"

    async def play(made: Stage) -> None:
        instance = await made.start(burn, cpu=0.2)
        assert (await made.call(instance))["wall"] > 0.12

    on_t1(play)


def test_a_package_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/evil").symlink_to("/etc")
    data = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        for path in ("packages/evil", "../..", "packages/evil/ssl"):
            with pytest.raises(OSError):
                mounts.tree_beneath(data, path)
    finally:
        os.close(data)


def test_a_start_whose_package_is_gone_fails_with_a_sentence() -> None:
    async def play(made: Stage) -> None:
        await made.call(await made.start(ECHO))
        instance = await made.start(None)
        ended = await made.exit_of(instance)
        assert ended.cause is ExitCause.START_FAILED
        assert "packages/default" in ended.detail and "No such file" in ended.detail

    on_t1(play)


def test_without_groups_each_process_is_limited_in_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "open_groups", lambda owner, **_: NoGroups())

    async def play(made: Stage) -> None:
        instance = await made.start(HOARDER, memory_mib=64)
        assert await made.call(instance, mib=8) == {"size": 8 << 20}
        with pytest.raises(AssertionError, match="MemoryError"):
            await made.call(instance, mib=100)
        assert (await made.stop(instance)).cause is ExitCause.STOPPED

    on_t1(play)


def test_detached_mounts_leave_with_their_descriptor() -> None:
    before = Path("/proc/self/mountinfo").read_text()
    tmp = mounts.private_tmp(1)
    syscalls.mount_setattr(tmp, syscalls.MOUNT_ATTR_RDONLY)
    os.close(tmp)
    assert Path("/proc/self/mountinfo").read_text() == before


def _processes_of(user: int) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}").st_uid == user:
                found.append(pid)
        except FileNotFoundError:
            continue
    return found
