"""What code that was loaded into a zygote tries on the keeper, the host and others, each attempt by name. In all cases
its own instances start plainly and nobody else notices."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from corral.model import Revision
from corral.sandbox import slices

from .stage import Stage
from .test_kept import BY_ZYGOTE, ECHO, PLAINLY, answer, kill_zygotes, on_t1, zygote_pids

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")

HARM = """
import ctypes, errno, os, signal, socket, struct, sys, time
KEEPER = 3
libc = ctypes.CDLL(None, use_errno=True)
def say(word, serial=0, number=0, pid=None):
    packet = struct.pack(">BIQ", word, serial, number)
    if pid is None:
        os.write(KEEPER, packet)
    else:
        credentials = struct.pack("3i", pid, os.getuid(), os.getgid())
        with socket.socket(fileno=os.dup(KEEPER)) as keeper:
            keeper.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)])
def call(number, *arguments):
    ctypes.set_errno(0)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def in_child(harm):
    os.register_at_fork(after_in_child=harm)
IS_ZYGOTE = os.getpid() == 2
"""
"""Only the zygote is pid 2 of its namespace."""

ON_LOADING = {
    "garbage": "os.write(KEEPER, b'garbage')",
    "a packet too long": "os.write(KEEPER, bytes(100_000))",
    "an empty packet": "socket.socket(fileno=os.dup(KEEPER)).send(b'')",
    "a flood": "\n    for number in range(100_000): say(6, number)",
    "a word that is none": "say(99)",
    "an instance nobody asked for": "say(5, 1)",
    "a second reaper": "say(1)",
    "an end of an instance that is not": "say(6, 7, 9)",
    "the keeper's own pid": "say(2, 0, 0, os.getpid()); say(1)",
    "descriptors": "socket.send_fds(socket.socket(fileno=os.dup(KEEPER)), [struct.pack('>BIQ', 2, 0, 0)], [0, 1, 2])",
    "closing it": "os.close(KEEPER)",
    "a fork bomb": "\n    try:\n        while True:\n            if os.fork() == 0: time.sleep(600)\n"
    "    except OSError: pass",
    "killing its reaper": "os.kill(1, 9); os._exit(0)",
    "killing itself": "os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("what", ON_LOADING)
def test_a_zygote_that_does_this_while_loading_is_ended_and_starts_are_plain(what: str) -> None:
    async def play(made: Stage) -> None:
        await made.warmed()
        neighbour = await made.start(ECHO)
        revision = made.deploy(f"{HARM}\nif IS_ZYGOTE: {ON_LOADING[what]}\n{ECHO}")
        made.keep(revision)
        await made.until(lambda: revision.id in made.gone)
        assert await answer(made, revision) == PLAINLY
        assert await made.call(neighbour, say="hi") == PLAINLY
        await made.until(lambda: not zygote_pids(made, revision))

    on_t1(play)


ON_START = {
    "swallows the order": "import _corral.python.orders as o\ndef swallow(s):\n    time.sleep(600)\n"
    "if IS_ZYGOTE: o.receive = swallow",
    "dies of the order": "import _corral.python.orders as o\nif IS_ZYGOTE: o.receive = lambda s: os._exit(5)",
    "answers the order with garbage": "import _corral.python.kept as k\n"
    "if IS_ZYGOTE: k.Zygote._begin = lambda self, order: os.write(KEEPER, b'?')",
    "says it forked and did not": "import _corral.python.kept as k\n"
    "if IS_ZYGOTE: k.Zygote._begin = lambda self, order: say(5, order.message['serial'])",
    "names its reaper as the instance": "import _corral.python.kept as k\n"
    "if IS_ZYGOTE: k.Zygote._begin = lambda self, order: say(5, order.message['serial'], 0, 1)",
    "refuses": "import _corral.python.kept as k\n"
    "if IS_ZYGOTE: k.Zygote._begin = lambda self, order: say(7, order.message['serial'], 11)",
    "can't dress its children": "import _corral.python.dress as d\n"
    "def inherit(*_): raise OSError(1, 'no')\nif IS_ZYGOTE: d.inherit = inherit",
    "forks a child that joins no group": "import _corral.python.dress as d\n"
    "if IS_ZYGOTE: d.join_groups, d.inherit = lambda fds: None, lambda *_: time.sleep(600)",
}


@pytest.mark.parametrize("what", ON_START)
def test_a_start_is_not_lost_by_a_zygote_that(what: str) -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(f"{HARM}\n{ON_START[what]}\n{ECHO}")
        assert await answer(made, revision) == PLAINLY
        assert await answer(made, revision) == PLAINLY
        assert made.exits == {}

    on_t1(play)


def test_a_zygote_that_dies_of_its_first_start_twice_is_not_raised_again() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(f"{HARM}\n{ON_START['dies of the order']}\n{ECHO}")
        for is_unsafe in (False, True):
            assert await answer(made, revision) == PLAINLY
            assert made.gone.pop(revision.id) == ("it ended by itself", is_unsafe)
            raised = len(made.keeping)
            made.keep(revision)
            await made.until(lambda: len(made.keeping) > raised)  # noqa: B023

    on_t1(play)


def test_a_zygote_that_is_killed_while_it_serves_is_raised_again() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(ECHO)
        for _ in range(3):
            assert await answer(made, revision) == BY_ZYGOTE
            kill_zygotes(made, revision)
            await made.until(lambda: revision.id in made.gone)
            assert made.gone.pop(revision.id) == ("it ended by itself", False)
            raised = len(made.keeping)
            made.keep(revision)
            await made.until(lambda: len(made.keeping) > raised)  # noqa: B023

    on_t1(play)


def test_instances_outlive_a_zygote_that_turns_bad() -> None:
    # The first start, and a spare before it or after.
    code = f"{HARM}\nimport _corral.python.kept as k\nbegin, LEFT = k.Zygote._begin, [1, 1]\n"
    code += "def twice(self, order): begin(self, order) if LEFT and LEFT.pop() else say(99)\n"
    code += f"if IS_ZYGOTE: k.Zygote._begin = twice\n{ECHO}"

    async def play(made: Stage) -> None:
        revision = await made.kept(code)
        first = await made.start_of(revision)
        assert await made.call(first, say="hi") == BY_ZYGOTE
        while revision.id not in made.gone:
            assert await answer(made, revision) in (BY_ZYGOTE, PLAINLY)
        assert await answer(made, revision) == PLAINLY
        assert made.gone[revision.id] == ("it said word 99, must be one of 1 to 8", True) or made.gone[revision.id][1]
        assert await made.call(first, say="hi") == BY_ZYGOTE

    on_t1(play)


LATER = """
import _corral.python.kept as k
begin, FIRST = k.Zygote._begin, []
def join(entrances):
    for fd in entrances: os.write(fd, b"0")
def leave_behind(self, order):
    entrances = [fd for name, fd in order.fds.items() if name.startswith("tasks")]
    if not FIRST:
        FIRST.extend(map(os.dup, entrances))
    else:
        done, tell = os.pipe()
        if os.fork() == 0:
            join(entrances)
            harm(tell)
            os._exit(0)
        os.close(tell)
        os.read(done, 1)
        os.close(done)
    begin(self, order)
if IS_ZYGOTE: k.Zygote._begin = leave_behind
"""
"""A helper in the group of every instance but the first, whose entrances are kept."""

HOARD = """
def harm(tell):
    held = bytearray(b"x") * (24 << 20)
    join(FIRST)
    os.write(tell, b"0")
    time.sleep(600)
"""


def test_memory_taken_in_groups_of_short_lived_instances_is_bounded_and_given_back() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(f"{HARM}{LATER}{HOARD}{ECHO}", memory_mib=64)
        first = await made.start_of(revision)
        assert await made.call(first, say="hi") == BY_ZYGOTE
        around = made.sandbox._keeping.of(revision.id).slice  # type: ignore[attr-defined]
        others = []
        for _ in range(4):
            others.append(await made.start_of(revision))
            assert await made.call(others[-1], say="hi") == BY_ZYGOTE
        assert around._group.held()[0] > 4 * 24
        for instance in others:
            await made.stop(instance)
        await made.until(lambda: revision.id in made.gone)
        why, is_unsafe = made.gone[revision.id]
        assert is_unsafe and why.endswith(" MiB were left in groups of instances that have ended")
        await made.until(lambda: around._group.held()[0] < 48)
        await made.until(lambda: around._group._limits.memory_mib == 2 * (64 + slices.SPARE_MIB))
        assert await made.call(first, say="hi") == BY_ZYGOTE
        assert await answer(made, revision) == PLAINLY

    on_t1(play)


def test_nothing_a_zygote_does_takes_it_beyond_the_limits_of_what_it_forked() -> None:
    code = f"{HARM}{LATER}{HOARD}{ECHO}".replace("24 << 20", "29 << 20")

    async def play(made: Stage) -> None:
        revision = await made.kept(code, memory_mib=32)
        around = made.sandbox._keeping.of(revision.id).slice  # type: ignore[attr-defined]
        for instance in [await made.start_of(revision) for _ in range(6)]:
            # The kernel may have ended it, as there was no memory for all.
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await made.call(instance)
            if around._limits:
                assert around._group.toll().memory_peak_mib <= 7 * (32 + slices.SPARE_MIB)
            if instance not in made.exits:
                await made.stop(instance)

    on_t1(play)


def test_processes_that_nobody_collects_end_with_a_zygote_that_left_them() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(f"{HARM}{LATER}\ndef harm(tell): pass\n{ECHO}")
        first, second = await made.start_of(revision), await made.start_of(revision)
        for instance in (first, second):
            assert await made.call(instance, say="hi") == BY_ZYGOTE
        await made.stop(second)
        await made.until(lambda: revision.id in made.gone)
        assert made.gone[revision.id] == ("1 of its processes were left in groups of instances that have ended", True)
        await made.until(lambda: not zombies(revision))
        assert await made.call(first, say="hi") == BY_ZYGOTE

    on_t1(play)


def zombies(revision: Revision) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = path.read_text()
            if "State:\tZ" in text and f"Uid:\t{revision.uid}\t" in text:
                found.append(text)
    return found


REACH = """
def attempt(what):
    try:
        return what()
    except Exception as exc:
        return type(exc).__name__ + ":" + errno.errorcode.get(getattr(exc, "errno", None) or 0, "")
def pids(): return sorted(name for name in os.listdir("/proc") if name.isdigit())
def below_proc():
    # Taking it away is forbidden; moving it shows what lies below.
    move, home = (165, b"/proc", b"/tmp", None, 0x2000, None), (165, b"/tmp", b"/proc", None, 0x2000, None)
    call(*move)
    seen = [pids(), attempt(lambda: call(*move)), os.path.exists("/proc/self")]
    call(*home)
    return seen
def bind(source):
    call(165, source, b"/tmp", None, 0x1000 | 0x4000, None)
    return os.listdir("/tmp")
def write_package():
    call(165, None, b"/function", None, 0x20 | 0x1000, None)
    open("/function/app.py", "w")
STATUS = dict(line.split(":", 1) for line in open("/proc/self/status"))
FOUND = {
    "capabilities": [STATUS[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "pids": attempt(pids),
    "reaper's memory": attempt(lambda: open("/proc/1/mem", "r+b")),
    "reaper's files": attempt(lambda: os.listdir("/proc/1/fd")),
    "other user": attempt(lambda: os.setuid(0)),
    "another user namespace": attempt(lambda: call(272, 0x10000000)),
    "another network": attempt(lambda: call(272, 0x40000000)),
    "unmount the package": attempt(lambda: call(166, b"/function", 2)),
    "unmount the root's part": attempt(lambda: call(166, b"/usr", 2)),
    "write the package": attempt(write_package),
    "ptrace": attempt(lambda: call(101, 16, 1, 0, 0)),
    "open by handle": attempt(lambda: call(304, 0, 0, 0)),
    "bpf": attempt(lambda: call(321, 0, 0, 0)),
    "hostname": attempt(lambda: socket.sethostname("other")),
    "device": attempt(lambda: os.mknod("/tmp/sda", 0o060666, os.makedev(8, 0))),
    "cgroups": attempt(lambda: call(165, b"none", b"/tmp", b"cgroup", 0, b"memory")),
    "a disk": attempt(lambda: call(165, b"/dev/vda", b"/tmp", b"ext4", 0, None)),
    "kernel's settings": attempt(lambda: open("/proc/sys/kernel/hostname", "w")),
    "network outside": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 5)),
    "the host's pids": attempt(below_proc),
} if IS_ZYGOTE else {}
def main(args): return FOUND
"""
EPERM = "PermissionError:EPERM"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the attempts are those of x86_64")
def test_what_code_reaches_while_a_zygote_loads_it() -> None:
    async def play(made: Stage) -> None:
        revision = await made.kept(HARM + REACH)
        found: dict[str, Any] = await answer(made, revision)
        sys_admin = "0000000000200000"
        assert found.pop("capabilities") == ["0" * 16, sys_admin, sys_admin, "0" * 16, "0" * 16]
        assert found.pop("pids") == ["1", "2"]
        # What shows is the proc of a namespace in which nobody is; and that can't be moved.
        assert found.pop("the host's pids") == [[], "OSError:EINVAL", False]
        assert found.pop("network outside") == "OSError:ENETUNREACH"
        assert all(refusal.split(":")[-1] in ("EPERM", "EACCES", "EINVAL", "EROFS") for refusal in found.values()), (
            found
        )

    on_t1(play)
