"""What every sandbox backend keeps. Runs on all of BACKENDS; what only one tier promises says so."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corral.model import ExitCause
from corral.sandbox import BACKENDS, cgroups, interpreters

from .stage import Stage, stage

ECHO = "def main(args):\n    return {'echo': args.get('say')}\n"
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")


@pytest.fixture(params=[pytest.param(tier, marks=NEEDS_ROOT if tier == "T1" else ()) for tier in BACKENDS])
def tier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def on(tier: str, play: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        async with stage(tier) as made:
            await play(made)

    asyncio.run(run())


def test_an_instance_answers_calls(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start(ECHO)
        assert await made.call(instance, say="hi") == {"echo": "hi"}
        assert made.exits == {}

    on(tier, play)


def test_an_instance_imports_from_its_layer_and_cannot_change_it(tier: str) -> None:
    code = (
        "import os, sys, dep, json\n"
        "def main(args):\n"
        "    return {'dep': dep.NAME, 'json': json.__file__, 'last': sys.path[-1],\n"
        "            'writable': os.access(os.path.dirname(dep.__file__), os.W_OK)}\n"
    )

    async def play(made: Stage) -> None:
        layer = made.data / "layers/default/abc"
        layer.mkdir(parents=True)
        (layer / "dep.py").write_text("NAME = 'from the layer'\n")
        (layer / "json.py").write_text("raise RuntimeError('not the standard library')\n")
        answer = await made.call(await made.start(code, layer=layer))
        assert answer["dep"] == "from the layer"
        assert not answer["json"].startswith(answer["last"])
        assert answer["last"] == ("/layer" if tier == "T1" else str(layer))
        assert tier == "T0" or not answer["writable"]

    on(tier, play)


def test_an_instance_sees_no_layer_but_its_own(tier: str) -> None:
    async def play(made: Stage) -> None:
        answer = await made.call(await made.start("import os, sys\ndef main(args):\n    return {'path': sys.path}\n"))
        assert not any("layer" in path for path in answer["path"])

    on(tier, play)


def test_a_stop_ends_the_process_and_its_socket(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start(ECHO)
        await made.call(instance)
        ended = await made.stop(instance)
        assert ended.cause is ExitCause.STOPPED
        assert not _alive(made.pids[instance])
        assert not _sockets(made)

    on(tier, play)


def test_a_stop_ends_an_endless_loop_with_the_cause_given(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start("def main(args):\n    print('on', flush=True)\n    while True: pass\n")
        call = asyncio.create_task(made.call(instance))
        await made.until(lambda: "on" in made.log(instance))
        assert (await made.stop(instance, ExitCause.TIMEOUT)).cause is ExitCause.TIMEOUT
        with pytest.raises(asyncio.IncompleteReadError):
            await call

    on(tier, play)


def test_a_stop_before_the_zygote_is_there_ends_the_start(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start(ECHO)
        assert (await made.stop(instance)).cause is ExitCause.STOPPED

    on(tier, play)


def test_a_stop_while_it_is_forked_leaves_nothing(tier: str) -> None:
    async def play(made: Stage) -> None:
        await made.call(await made.start(ECHO))
        instance = await made.start(ECHO)
        assert (await made.stop(instance)).cause is ExitCause.STOPPED
        assert not _alive(made.pids[instance])

    on(tier, play)


def test_a_crash_names_its_signal(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start("import ctypes\ndef main(args):\n    ctypes.string_at(0)\n")
        with pytest.raises(asyncio.IncompleteReadError):
            await made.call(instance)
        ended = await made.exit_of(instance)
        assert (ended.cause, ended.detail) == (ExitCause.CRASHED, "ended by signal 11 (SIGSEGV)")

    on(tier, play)


def test_an_exit_names_its_status(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start("import os\ndef main(args):\n    os._exit(3)\n")
        with pytest.raises(asyncio.IncompleteReadError):
            await made.call(instance)
        ended = await made.exit_of(instance)
        assert (ended.cause, ended.detail) == (ExitCause.EXITED, "exited with status 3")

    on(tier, play)


def test_code_that_does_not_load_is_told_to_the_caller_and_as_cause(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start("import nowhere_to_be_found\n")
        with pytest.raises(AssertionError, match="nowhere_to_be_found"):
            await made.call(instance)
        assert (await made.exit_of(instance)).cause is ExitCause.LOAD_FAILED

    on(tier, play)


def test_a_runtime_that_is_not_there_is_named_with_those_that_are(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start(ECHO, runtime="python3.99")
        ended = await made.exit_of(instance)
        assert ended.cause is ExitCause.START_FAILED
        assert "python3.99" in ended.detail and "there are python3" in ended.detail

    on(tier, play)


def test_functions_run_on_the_interpreter_they_name(tier: str) -> None:
    others = [name for name in interpreters.installed() if not interpreters.is_own(name)]
    if not others:
        pytest.skip("no other interpreter here")

    async def play(made: Stage) -> None:
        code = "import platform\ndef main(args):\n    return {'version': platform.python_version()}\n"
        instance = await made.start(code, runtime=others[0])
        answer = await made.call(instance)
        assert answer["version"].startswith(others[0].removeprefix("python"))

    on(tier, play)


def test_a_killed_zygote_ends_no_instance_and_is_replaced(tier: str) -> None:
    async def play(made: Stage) -> None:
        old = await made.start(ECHO)
        await made.call(old)
        # It may answer before its zygote had the time to tell of it.
        await made.until(lambda: old in made.pids)
        zygote = made.zygotes["python3"]
        os.kill(zygote, signal.SIGKILL)
        await made.until(lambda: made.fallen)
        assert await made.call(old, say="still") == {"echo": "still"}
        new = await made.start(ECHO)
        assert await made.call(new, say="again") == {"echo": "again"}
        assert made.zygotes["python3"] != zygote

    on(tier, play)


def test_the_end_of_an_instance_that_outlived_its_zygote_is_seen(tier: str) -> None:
    async def play(made: Stage) -> None:
        instance = await made.start("import os\ndef main(args):\n    os._exit(7) if args.get('end') else None\n")
        await made.call(instance)
        await made.until(lambda: instance in made.pids)
        os.kill(made.zygotes["python3"], signal.SIGKILL)
        await made.until(lambda: made.fallen)
        with pytest.raises(asyncio.IncompleteReadError):
            await made.call(instance, end=True)
        assert (await made.exit_of(instance)).detail == "exited with status 7"

    on(tier, play)


def test_starts_in_progress_in_a_killed_zygote_fail_and_leave_nothing(tier: str) -> None:
    async def play(made: Stage) -> None:
        await made.call(await made.start(ECHO))
        zygote = made.zygotes["python3"]
        os.kill(zygote, signal.SIGSTOP)
        stuck = [await made.start(ECHO) for _ in range(3)]
        os.kill(zygote, signal.SIGKILL)
        for instance in stuck:
            ended = await made.exit_of(instance)
            assert ended.cause is ExitCause.START_FAILED
            assert "zygote" in ended.detail and "signal 9" in ended.detail

    on(tier, play)


def test_zygotes_killed_under_load_lose_only_starts_in_progress(tier: str) -> None:
    async def play(made: Stage) -> None:
        started, killed = [], set()
        for round_number in range(12):
            started.append(await made.start(ECHO))
            if round_number % 4 == 3:
                latest = started[-1]
                await made.until(lambda: latest in made.pids or latest in made.exits)  # noqa: B023
                killed.add(made.zygotes["python3"])
                with contextlib.suppress(ProcessLookupError):  # the one killed before has no successor yet
                    os.kill(made.zygotes["python3"], signal.SIGKILL)
        await made.until(lambda: len(made.fallen) == len(killed))
        await made.until(lambda: len(made.pids) + len(made.exits) >= len(started))
        assert {ended.cause for ended in made.exits.values()} <= {ExitCause.START_FAILED}
        for instance in started:
            if instance not in made.exits:
                assert await made.call(instance, say=instance) == {"echo": instance}

    on(tier, play)


def test_nothing_is_left_of_instances_that_ended(tier: str) -> None:
    async def play(made: Stage) -> None:
        await made.call(await made.start(ECHO))
        before = _open_fds()
        instances = [await made.start(ECHO) for _ in range(5)]
        for instance in instances:
            await made.call(instance)
            await made.stop(instance)
        await made.until(lambda: _groups(made) <= 1)
        pipes = 2 * len(instances)
        await made.until(lambda: _open_fds() <= before + pipes)
        assert len(_sockets(made)) == 1

    on(tier, play)


def test_closing_leaves_no_process_group_or_socket(tier: str) -> None:
    async def play(made: Stage) -> None:
        mounts = _mounts()
        for _ in range(3):
            await made.call(await made.start(ECHO))
        pids = [*made.pids.values(), *made.zygotes.values()]
        await made.sandbox.close()
        assert not _alive(*pids)
        assert not _sockets(made)
        assert _groups(made) == 0
        assert not _tops(made)
        assert _mounts() == mounts

    on(tier, play)


def test_usage_counts_what_runs(tier: str) -> None:
    async def play(made: Stage) -> None:
        burn = "import time\ndef main(args):\n    held.append(bytearray(20_000_000))\n"
        burn += "    end = time.process_time() + 0.05\n    while time.process_time() < end: pass\nheld = []\n"
        instance = await made.start(burn)
        await made.call(instance)
        cpu_s, memory_mib = made.sandbox.usage()[instance]
        assert 0.04 <= cpu_s < 5
        assert 19 < memory_mib < 200

    on(tier, play)


def test_a_start_takes_the_code_of_an_earlier_one(tier: str) -> None:
    async def play(made: Stage) -> None:
        first = await made.start(ECHO)
        client = await made.connect(first)
        await client.call({})
        client.close()
        assert client.code
        second = await made.start(ECHO, marshalled=client.code)
        client = await made.connect(second)
        assert await client.call({"say": "hi"}) == {"echo": "hi"}
        client.close()
        assert client.code == b""

    on(tier, play)


def _open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def _tops(made: Stage) -> list[Path]:
    points = cgroups.find_mounts(Path("/proc/self/mounts").read_text()).values()
    return [top for point in points if (top := Path(point, f"corral-{made.boot.name}")).exists()]


def _groups(made: Stage) -> int:
    """Of one hierarchy."""
    return max((len([path for path in top.iterdir() if path.is_dir()]) for top in _tops(made)), default=0)


def _alive(*pids: int) -> list[int]:
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def _sockets(made: Stage) -> list[Path]:
    return list(Path(made.boot.run, "i").iterdir())


def _mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()
