"""Zygotes of functions: what their instances are like, and what nothing they do can change."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from corral.model import ExitCause, Revision
from corral.sandbox import cgroups

from .stage import Stage, stage

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")

ECHO = """
import os
LOADED_BY = os.getpid()
def main(args):
    return {"echo": args.get("say"), "loaded_by": LOADED_BY}
"""
BY_ZYGOTE = {"echo": "hi", "loaded_by": 2}
"""Pid 2 of its namespace; a plain instance loads its code itself, as pid 1."""
PLAINLY = {"echo": "hi", "loaded_by": 1}


def on_t1(play: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        async with stage("T1") as made:
            await play(made)

    asyncio.run(run())


async def answer(made: Stage, revision: Revision) -> Any:
    """Of a new instance."""
    return await made.call(await made.start_of(revision, slot=await made.prepare(is_bare=True)), say="hi")


def zygote_pids(made: Stage, revision: Revision) -> list[int]:
    """Of the processes in the zygote's own groups: the reaper, then the zygote."""
    own = re.compile(rf"/corral-{made.boot.name}/slice-[^/\n]+/zygote-")
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            if own.search(Path(f"/proc/{pid}/cgroup").read_text()) and os.stat(f"/proc/{pid}").st_uid in (
                0,
                revision.uid,
            ):
                found.append(pid)
    return sorted(found)


def kill_zygotes(made: Stage, revision: Revision, of_layer: bool = False) -> None:
    """And not their reapers, nor an instance that has not left for its own groups yet."""
    for pid in zygote_pids(made, revision):
        with contextlib.suppress(OSError):
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            is_layers = "-layer\n" in Path(f"/proc/{pid}/cgroup").read_text()
            if status["NSpid"].split()[-1:] == ["2"] and is_layers == of_layer:
                os.kill(pid, signal.SIGKILL)


def test_an_instance_has_its_code_from_the_zygote() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        for _ in range(3):
            assert await answer(made, revision) == BY_ZYGOTE

    on_t1(play)


def test_a_start_in_a_slot_with_a_waiting_child_is_forked_by_the_zygote_too() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        assert await made.call(await made.start_of(revision), say="hi") == BY_ZYGOTE

    on_t1(play)


def test_an_instance_of_a_zygote_holds_what_any_other_does() -> None:
    code = """
import os
def main(args):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {
        "capabilities": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "rest": [status[name].strip() for name in ("NoNewPrivs", "Seccomp", "Threads")],
        "fds": {fd: os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
                if os.path.lexists("/proc/self/fd/" + fd)},
        "ids": [os.getpid(), os.getuid(), os.getgid(), os.getgroups()], "cwd": os.getcwd(), "tmp": os.listdir("/tmp"),
        "pids": [name for name in os.listdir("/proc") if name.isdigit()], "session": os.getsid(0) == os.getpid(),
        "root": sorted(os.listdir("/")), "threads": os.environ.get("OMP_NUM_THREADS"),
    }
"""

    async def play(made: Stage) -> None:
        revision = await made.kept(code)
        seen = await answer(made, revision)
        assert seen["capabilities"] == ["0000000000000000"] * 5
        assert seen["rest"] == ["1", "2", "1"]
        # Its listener and its connection.
        assert set(seen["fds"]) == {"0", "1", "2", "3", "4"}
        assert seen["fds"]["0"] == "/dev/null" and seen["fds"]["1"] == seen["fds"]["2"]
        assert seen["ids"] == [1, revision.uid, revision.uid, []]
        assert (seen["cwd"], seen["tmp"], seen["pids"], seen["session"]) == ("/tmp", [], ["1"], True)
        assert not {"home", "var", "sys", "boot"} & set(seen["root"])
        assert seen["threads"] is None

    on_t1(play)


def test_siblings_of_a_zygote_draw_different_numbers() -> None:
    code = """
import os, random, secrets, ssl, sys, tempfile, types, uuid
numpy_random = sys.modules["numpy.random"] = types.ModuleType("numpy.random")
numpy_random.seed = lambda: setattr(numpy_random, "state", os.urandom(8).hex())
DRAWN = [random.random(), ssl.RAND_bytes(8), uuid.uuid4(), next(tempfile._get_candidate_names())]
def main(args):
    return [random.random(), os.urandom(8).hex(), ssl.RAND_bytes(8).hex(), str(uuid.uuid4()), str(uuid.uuid1()),
            secrets.token_hex(8), next(tempfile._get_candidate_names()), numpy_random.state]
"""

    async def play(made: Stage) -> None:
        revision = await made.kept(code)
        drawn = [await answer(made, revision) for _ in range(3)]
        for values in zip(*drawn, strict=True):
            assert len(set(values)) == 3, values

    on_t1(play)


def test_instances_of_a_zygote_share_no_tmp_and_see_no_sibling() -> None:
    code = "import os\ndef main(args):\n    open('mine', 'x')\n    return [os.listdir('/tmp'), os.listdir('/proc')]\n"

    async def play(made: Stage) -> None:
        revision = await made.kept(code)
        for _ in range(2):
            tmp, proc = await answer(made, revision)
            assert tmp == ["mine"]
            assert [name for name in proc if name.isdigit()] == ["1"]

    on_t1(play)


def test_a_killed_zygote_ends_no_instance_and_the_next_start_is_plain() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        old = await made.start_of(revision)
        assert await made.call(old, say="hi") == BY_ZYGOTE
        kill_zygotes(made, revision)
        await made.until(lambda: revision.id in made.gone)
        assert made.gone[revision.id] == ("it ended by itself", False)
        assert await made.call(old, say="hi") == BY_ZYGOTE
        assert await answer(made, revision) == PLAINLY
        assert (await made.stop(old)).cause is ExitCause.STOPPED

    on_t1(play)


def test_a_zygote_that_is_given_up_ends_no_instance_and_leaves_with_the_last() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        instances = [await made.start_of(revision) for _ in range(3)]
        for instance in instances:
            await made.call(instance)
        made.sandbox.drop(revision.id)
        await made.until(lambda: revision.id in made.gone)
        assert made.gone[revision.id] == ("it was given up", False)
        for instance in instances:
            assert await made.call(instance, say="hi") == BY_ZYGOTE
        for instance in instances:
            await made.stop(instance)
        await made.until(lambda: not zygote_pids(made, revision))

    on_t1(play)


def test_a_revision_gets_a_zygote_again_after_one_was_given_up() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        old = await made.start_of(revision)
        await made.call(old)
        made.sandbox.drop(revision.id)
        await made.until(lambda: revision.id in made.gone)
        made.keep(revision)
        await made.until(lambda: made.keeping.count(revision.id) == 2)
        assert await answer(made, revision) == BY_ZYGOTE
        assert await made.call(old, say="hi") == BY_ZYGOTE

    on_t1(play)


def test_starts_go_on_while_zygotes_are_killed_given_up_and_raised() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        started = []
        for number in range(16):
            started.append(await made.start_of(revision, slot=await made.prepare(is_bare=True)))
            if number % 4 == 1:
                kill_zygotes(made, revision)
            if number % 4 == 3:
                made.sandbox.drop(revision.id)
            if number % 2:
                raised = len(made.keeping)
                await made.until(lambda: revision.id in made.gone)
                made.gone.clear()
                made.keep(revision)
                await made.until(lambda: len(made.keeping) > raised)  # noqa: B023
        answers = [await made.call(instance, say="hi") for instance in started]
        assert all(said in (BY_ZYGOTE, PLAINLY) for said in answers) and BY_ZYGOTE in answers
        assert made.exits == {}

    on_t1(play)


def test_an_instance_of_a_zygote_ends_with_its_cause() -> None:
    code = """
import os
def main(args):
    if args.get("hoard"): bytearray(200 << 20)
    if args.get("end"): os._exit(args["end"])
    return os.getpid()
"""

    async def play(made: Stage) -> None:
        revision = await made.kept(code, memory_mib=64)
        for request, cause, detail in (
            ({"end": 3}, ExitCause.EXITED, "exited with status 3"),
            ({"hoard": True}, ExitCause.OUT_OF_MEMORY, "used more than its 64 MiB"),
        ):
            instance = await made.start_of(revision)
            with pytest.raises(asyncio.IncompleteReadError):
                await made.call(instance, **request)
            ended = await made.exit_of(instance)
            assert (ended.cause, ended.detail) == (cause, detail)
        assert made.gone == {}

    on_t1(play)


def test_the_end_of_an_instance_whose_zygote_is_gone_is_seen() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept("import os\ndef main(args):\n    os._exit(3)\n")
        instance = await made.start_of(revision)
        await made.until(lambda: instance in made.pids)
        made.sandbox.drop(revision.id)
        await made.until(lambda: revision.id in made.gone)
        with pytest.raises(asyncio.IncompleteReadError):
            await made.call(instance)
        ended = await made.exit_of(instance)
        assert (ended.cause, ended.detail) == (ExitCause.EXITED, "ended unseen, its status is not known")

    on_t1(play)


def test_nothing_is_left_of_zygotes_and_their_instances() -> None:
    async def play(made: Stage) -> None:
        await made.warmed()
        before = len(os.listdir("/proc/self/fd"))
        revision = await made.kept(ECHO)
        instances = [await made.start_of(revision) for _ in range(3)]
        for instance in instances:
            await made.call(instance)
        pids = zygote_pids(made, revision) + [made.pids[instance] for instance in instances]
        for instance in instances:
            await made.stop(instance)
        made.sandbox.drop(revision.id)
        await made.until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
        # Two of each log are the test's.
        await made.until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2 * 4)
        await made.until(lambda: not groups(made))

    on_t1(play)


def test_closing_leaves_no_zygote() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        await made.call(await made.start_of(revision))
        pids = zygote_pids(made, revision)
        await made.sandbox.close()
        assert len(pids) == 2
        await made.until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
        assert not groups(made)

    on_t1(play)


def groups(made: Stage) -> list[Path]:
    points = cgroups.find_mounts(Path("/proc/self/mounts").read_text()).values()
    return [found for point in points for found in Path(point, f"corral-{made.boot.name}").glob("*/")]


UNSAFE = {
    "1 thread": "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
    "1 socket": "import socket\nLISTENER = socket.create_server(('127.0.0.1', 0))\n",
    "1 child process": "import os, time\nif os.fork() == 0:\n    time.sleep(600)\n",
    "2 open files": "FILE = open(__file__)\nimport os\nfd = os.dup(FILE.fileno())\n",
    "1 file in /tmp": "open('/tmp/cache', 'w').close()\n",
    "1 thread, 2 sockets": "import socket, threading\nS = socket.socketpair()\n"
    "threading.Thread(target=threading.Event().wait, daemon=True).start()\n",
}


@pytest.mark.parametrize("what", UNSAFE)
def test_code_that_leaves_something_behind_gets_no_zygote(what: str) -> None:
    async def play(made: Stage) -> None:
        await made.warmed()
        revision = made.deploy(UNSAFE[what] + ECHO)
        name = made.keep(revision)
        await made.until(lambda: revision.id in made.gone)
        why, is_unsafe = made.gone[revision.id]
        assert is_unsafe and f"loading its code leaves behind {what}: " in why
        assert "each instance loads this code by itself" in made.log(name)
        assert await answer(made, revision) == PLAINLY

    on_t1(play)


def test_a_thread_that_python_does_not_know_is_found() -> None:
    code = """
import ctypes
libc, stack = ctypes.CDLL(None), ctypes.create_string_buffer(8)
pause = ctypes.cast(libc.pause, ctypes.c_void_p)
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, pause, None)
"""

    async def play(made: Stage) -> None:
        await made.warmed()
        revision = made.deploy(code + ECHO)
        made.keep(revision)
        await made.until(lambda: revision.id in made.gone)
        assert "1 thread" in made.gone[revision.id][0]

    on_t1(play)


def test_what_was_used_and_given_back_while_loading_is_no_hindrance() -> None:
    code = """
import concurrent.futures, os, socket, subprocess, tempfile
subprocess.run(["true"], check=True)
with concurrent.futures.ThreadPoolExecutor(2) as pool: list(pool.map(str, range(4)))
with tempfile.NamedTemporaryFile() as file: file.write(b"x")
socket.socket().close()
"""

    async def play(made: Stage) -> None:
        assert await answer(made, await made.kept(code + ECHO)) == BY_ZYGOTE

    on_t1(play)


def test_code_that_needs_more_than_its_memory_to_load_gets_no_zygote() -> None:
    async def play(made: Stage) -> None:
        await made.warmed()
        revision = made.deploy("HELD = bytearray(200 << 20)\n" + ECHO, memory_mib=64)
        made.keep(revision)
        await made.until(lambda: revision.id in made.gone)
        assert made.gone[revision.id] == ("it used more than the function's 64 MiB", False)

    on_t1(play)


def test_code_that_does_not_load_is_told_in_the_log() -> None:
    async def play(made: Stage) -> None:
        await made.warmed()
        revision = made.deploy("import nowhere_to_be_found\n")
        name = made.keep(revision)
        await made.until(lambda: revision.id in made.gone)
        assert made.gone[revision.id] == ("its code could not be loaded", False)
        assert "nowhere_to_be_found" in made.log(name)

    on_t1(play)
