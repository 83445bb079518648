"""What tier T0 does about what it cannot hold."""

import asyncio
import os

import pytest

from corral.model import ExitCause
from corral.sandbox import processes

from .stage import DEADLINE_S, stage

FORKS_AND_LEAVES = """
import os, time
def main(args):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        pid = os.fork()
        if pid:
            os.write(writer, str(pid).encode())
            os._exit(0)
        time.sleep(600)
    os.wait()
    return {'pid': int(os.read(reader, 20))}
"""


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_a_process_that_left_its_instance_ends_after_it() -> None:
    async def run() -> None:
        async with stage("T0") as made:
            instance = await made.start(FORKS_AND_LEAVES)
            pid = (await made.call(instance))["pid"]
            assert is_there(pid)
            await made.stop(instance)
            await made.until(lambda: not is_there(pid))

    asyncio.run(run())


def test_children_end_with_their_instance() -> None:
    code = "import os, time\ndef main(args):\n    pid = os.fork()\n    if pid == 0:\n        time.sleep(600)\n"
    code += "    return {'pid': pid}\n"

    async def run() -> None:
        async with stage("T0") as made:
            instance = await made.start(code)
            pid = (await made.call(instance))["pid"]
            await made.stop(instance)
            await made.until(lambda: not is_there(pid))

    asyncio.run(run())


def test_too_much_memory_is_refused_inside_the_function() -> None:
    async def run() -> None:
        async with stage("T0") as made:
            instance = await made.start("def main(args):\n    bytearray(200 << 20)\n", memory_mib=64)
            with pytest.raises(AssertionError, match="MemoryError"):
                await made.call(instance)
            assert (await made.stop(instance)).cause is ExitCause.STOPPED

    asyncio.run(run())


def test_what_carries_another_mark_is_left_alone() -> None:
    async def run() -> None:
        async with stage("T0") as made:
            instance = await made.start("def main(args):\n    return {}\n")
            await made.call(instance)
            assert processes.kill_marked("somebody-else") == 0
            assert await made.call(instance) == {}
            assert processes.kill_marked(made.boot.name) >= 2
            async with asyncio.timeout(DEADLINE_S):
                assert (await made.exit_of(instance)).cause is ExitCause.CRASHED

    asyncio.run(run())
