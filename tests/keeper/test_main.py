"""The real keeper process, with this test as its engine."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from corral import config
from corral.link import (
    Exited,
    Follow,
    Forget,
    FromKeeper,
    Hello,
    Inventory,
    Link,
    LogGrew,
    Measure,
    Measured,
    SlotReady,
    Start,
    Started,
    Stop,
    ToKeeper,
    Used,
    ZygoteUp,
)
from corral.model import ExitCause, FunctionKey, FunctionSpec, InstanceId, Revision, RevisionId, SlotId
from corral.sandbox.processes import children

DEADLINE_S = 20.0
ECHO = "def main(args):\n    return args\n"
WAITER = "import time\nprint('loaded', flush=True)\ntime.sleep(600)\n"
Kind = TypeVar("Kind")


class Engine:
    """Listens where the keeper connects, and remembers what it says."""

    def __init__(self, folder: Path, isolation: str) -> None:
        self.data, self.run = folder / "data", folder / "run"
        for path in (self.data / "packages/default", self.data / "code", self.data / "logs", self.run / "i"):
            path.mkdir(parents=True)
        folder.chmod(0o755)
        base = -1 if isolation == "process" else 100_000  # see tests/sandbox/stage.py
        self.boot = config.Boot(
            settings=config.Settings(keeper=config.Keeper(isolation=isolation, slots=3, uid_base=base)),
            data=str(self.data),
            run=str(self.run),
            name=config.data_name(self.data),
            parent_pid=os.getpid(),
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.heard: list[FromKeeper] = []
        self._links: list[Link[FromKeeper]] = []
        self._server: asyncio.Server | None = None
        self._news = asyncio.Event()

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._make_link, f"{self.run}/link.sock")

    def _make_link(self) -> Link[FromKeeper]:
        return Link(
            FromKeeper,
            hello=Hello(role="engine", id="e"),
            opened=lambda link, hello: self._links.append(link),
            receive=lambda link, message: self._hear(message),
            closed=lambda link: self._news.set(),
        )

    def _hear(self, message: FromKeeper) -> None:
        self.heard.append(message)
        self._news.set()

    async def go_away(self) -> None:
        """As an engine that was killed."""
        assert self._server is not None
        before = self._keepers_sockets()
        self._server.close()
        for link in self._links:
            link.close()
        # Closing takes a turn of the loop: what happens next must find us gone.
        await self.until(lambda: not any(link.is_open for link in self._links))
        self._links.clear()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.run}/link.sock")
        # And must find the keeper knowing it: what it sends before is lost with us.
        await self.until(lambda: not before or before - self._keepers_sockets())

    def _keepers_sockets(self) -> set[str]:
        """Empty when it ended."""
        found = set()
        with contextlib.suppress(FileNotFoundError):
            folder = f"/proc/{self.process.pid if self.process else 0}/fd"
            for fd in os.listdir(folder):
                with contextlib.suppress(OSError):
                    found.add(os.readlink(f"{folder}/{fd}"))
        return {link for link in found if link.startswith("socket:")}

    def start_keeper(self) -> None:
        environment = {"CORRAL_BOOT": msgspec.json.encode(self.boot).decode(), "PATH": os.environ["PATH"]}
        self.process = subprocess.Popen([sys.executable, "-P", "-m", "corral.keeper.main"], env=environment)

    def send(self, message: ToKeeper) -> None:
        self._links[-1].send(message)

    def all(self, kind: type[Kind]) -> list[Kind]:
        return [message for message in self.heard if isinstance(message, kind)]

    async def until(self, claim: Callable[[], Any]) -> Any:
        """The first true answer of `claim`; asked after each message, and every 10 ms for what no message tells."""
        async with asyncio.timeout(DEADLINE_S):
            while not (found := claim()):
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.01)
            return found

    async def first(self, kind: type[Kind], number: int = 1) -> Kind:
        found: list[Kind] = await self.until(lambda: self.all(kind)[number - 1 :])
        return found[0]

    def revision(self, name: str, code: str, /, **changes: Any) -> Revision:
        package = self.data / "packages/default" / name
        package.mkdir(exist_ok=True)
        (package / "app.py").write_text(code)
        revision = Revision(
            id=RevisionId(f"default/{name}@1"),
            namespace="default",
            name=name,
            number=1,
            package=name,
            uid=100_700,
            spec=FunctionSpec(handler="app:main"),
            created_at=0.0,
        )
        return msgspec.structs.replace(revision, **changes)

    def start(self, instance: str, revision: Revision, slot: SlotId | None = None) -> None:
        self.send(Start(instance=InstanceId(instance), slot=slot, revision=revision, code=None, stamps={}))

    def held(self) -> tuple[int, int]:
        """How many descriptors the keeper has, and how many sockets of instances there are."""
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd")), len(list((self.run / "i").iterdir()))

    def is_at_rest(self) -> bool:
        """Whether a child waits in each slot: then nothing is being made."""
        zygote = self.all(ZygoteUp)[-1].pid
        return len([pid for pid in children(zygote) if len(os.listdir(f"/proc/{pid}/fd")) == 5]) == 3

    def log(self, name: str) -> list[str]:
        file = self.data / "logs/default" / name / "current.jsonl"
        return [json.loads(line)["line"] for line in file.read_text().splitlines()] if file.exists() else []


TIERS = [pytest.param("auto", marks=pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")), "process"]


@pytest.fixture(params=TIERS)
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.asynccontextmanager
async def engine(isolation: str) -> AsyncIterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="corral-", dir="/tmp") as folder:
        made = Engine(Path(folder), isolation)
        await made.listen()
        made.start_keeper()
        try:
            yield made
        finally:
            assert made.process is not None
            made.process.terminate()
            status = await asyncio.to_thread(made.process.wait, DEADLINE_S)
            await made.go_away()
        assert status == 0


def play(isolation: str, scene: Callable[[Engine], Awaitable[None]]) -> None:
    async def run() -> None:
        async with engine(isolation) as made:
            await scene(made)

    asyncio.run(run())


def test_it_says_what_it_is_and_offers_slots_and_a_zygote(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        inventory = await made.first(Inventory)
        assert inventory.instances == {}
        assert inventory.memory_mib > 64
        assert inventory.tier == ("T1" if isolation == "auto" else "T0")
        assert bool(inventory.not_held) == (inventory.tier == "T0")
        slots = {(await made.first(SlotReady, number)).address for number in (1, 2, 3)}
        assert len(slots) == 3
        assert (await made.first(ZygoteUp)).runtime == "python3"

    play(isolation, scene)


def test_a_used_slot_is_replaced_and_its_instance_measured(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        slot = (await made.first(SlotReady, 3)).slot
        made.start("one", made.revision("f", WAITER), slot)
        await made.first(SlotReady, 4)
        used = await made.first(Used)
        assert list(used.instances) == ["one"]
        assert used.instances[InstanceId("one")][1] > 0
        assert made.all(Started) == [], "the engine knows where it is"
        made.send(Stop(instance=InstanceId("one"), cause=ExitCause.STOPPED))
        assert (await made.first(Exited)).cause is ExitCause.STOPPED

    play(isolation, scene)


def test_an_instance_is_measured_when_the_engine_asks(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        await made.first(SlotReady)
        made.start("one", made.revision("f", WAITER))
        await made.until(lambda: made.log("f") == ["loaded"])
        made.send(Measure(instance=InstanceId("nobody")))
        made.send(Measure(instance=InstanceId("one")))
        measured = await made.first(Measured)
        assert measured.instance == "one"
        assert 0 < measured.memory_mib < 256

    play(isolation, scene)


def test_a_start_without_a_slot_gets_one_that_was_not_offered(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        await made.first(SlotReady, 3)
        made.start("one", made.revision("f", ECHO))
        address = (await made.first(Started)).address
        assert address not in {ready.address for ready in made.all(SlotReady)}

    play(isolation, scene)


def test_a_slot_serves_once(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        slot = (await made.first(SlotReady, 3)).slot
        revision = made.revision("f", ECHO)
        made.start("one", revision, slot)
        made.start("two", revision, slot)
        ended = await made.first(Exited)
        assert (ended.instance, ended.cause, ended.detail) == (
            "two",
            ExitCause.START_FAILED,
            f"slot {slot} is not there",
        )

    play(isolation, scene)


def test_starts_that_fail_or_are_stopped_leave_no_slot(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        await made.first(SlotReady, 3)
        await made.first(ZygoteUp)
        await made.until(made.is_at_rest)
        before = made.held()
        broken = made.revision("f", "1 / 0\n")
        absurd = msgspec.structs.replace(broken, package="../x")
        for number in range(60):
            made.start(f"i{number}", broken)
        for number in range(60):
            made.send(Stop(instance=InstanceId(f"i{number}"), cause=ExitCause.STOPPED))
        # One that is refused gives its slot up, and another one takes its place.
        made.start("refused", absurd, made.all(SlotReady)[0].slot)
        await made.first(Exited, 61)
        await made.first(SlotReady, 4)
        await made.until(lambda: made.held() == before)
        made.start("good", made.revision("g", ECHO), made.all(SlotReady)[-1].slot)
        await made.first(SlotReady, 5)

    play(isolation, scene)


def test_an_abnormal_end_stands_in_the_functions_log(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        await made.first(Inventory)
        made.send(Follow(key=FunctionKey("default/f"), on=True))
        made.start("one", made.revision("f", "import os\nprint('so far', flush=True)\nos._exit(3)\n"))
        ended = await made.first(Exited)
        assert (ended.cause, ended.detail) == (ExitCause.EXITED, "exited with status 3")
        await made.first(LogGrew)
        await made.until(lambda: made.log("f") == ["so far", "exited: exited with status 3"])
        made.send(Forget(key=FunctionKey("default/f")))
        await made.until(lambda: not (made.data / "logs/default/f").exists())

    play(isolation, scene)


def test_ends_are_remembered_while_the_engine_is_away(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        await made.first(Inventory)
        made.start("stays", made.revision("f", WAITER))
        made.start("goes", made.revision("g", WAITER))
        await made.until(lambda: len(made.all(Started)) == 2 and made.log("f") and made.log("g"))
        pid = next(started.pid for started in made.all(Started) if started.instance == "goes")
        await made.go_away()
        made.heard.clear()
        os.kill(pid, signal.SIGKILL)
        await made.until(lambda: made.log("g")[-1:] == ["crashed: ended by signal 9 (SIGKILL)"])
        await made.listen()
        inventory = await made.first(Inventory)
        assert inventory.instances == {"stays": "default/f@1"}
        [ended] = inventory.exited
        assert (ended.instance, ended.cause, ended.revision) == ("goes", ExitCause.CRASHED, "default/g@1")
        await made.first(SlotReady, 3)
        assert not made.all(Exited), "it is said once"

    play(isolation, scene)


def test_a_stop_of_what_does_not_run_is_answered(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        await made.first(Inventory)
        made.send(Stop(instance=InstanceId("nobody"), cause=ExitCause.REMOVED))
        ended = await made.first(Exited)
        assert (ended.instance, ended.cause) == ("nobody", ExitCause.REMOVED)

    play(isolation, scene)


BAD = {
    "a path as name": ({"name": "../../etc", "id": "default/../../etc@1"}, "must be namespace/name@number"),
    "another's id": ({"id": "other/f@1"}, "must be namespace/name@number"),
    "a path as package": ({"package": "../../x"}, "must be a hexadecimal number"),
    "an absurd limit": ({"spec": FunctionSpec(memory_mib=1)}, "memory_mib = 1, must be between"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_the_engine_cannot_mean_is_refused(name: str) -> None:
    changes, sentence = BAD[name]

    async def scene(made: Engine) -> None:
        await made.first(Inventory)
        made.start("one", made.revision("f", ECHO, **changes))
        ended = await made.first(Exited)
        assert ended.cause is ExitCause.START_FAILED
        assert sentence in ended.detail

    play("process", scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")
@pytest.mark.parametrize("uid", [0, 100_000, 100_001, 165_536])
def test_no_function_runs_as_root_or_as_corral(uid: int) -> None:
    async def scene(made: Engine) -> None:
        await made.first(Inventory)
        made.start("one", made.revision("f", ECHO, uid=uid))
        assert (await made.first(Exited)).detail == f"uid = {uid}, must be between 100002 and 165535"

    play("auto", scene)


def test_a_killed_keeper_leaves_nothing_once_its_successor_is_there(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        await made.first(Inventory)
        made.start("one", made.revision("f", WAITER))
        pids = [(await made.first(Started)).pid, (await made.first(ZygoteUp)).pid]
        await made.until(lambda: made.log("f"))
        assert made.process is not None
        made.process.kill()
        await asyncio.to_thread(made.process.wait)
        made.heard.clear()
        made.start_keeper()
        assert (await made.first(Inventory)).instances == {}
        await made.until(lambda: not [pid for pid in pids if _is_alive(pid)])
        ready = {slot.address for slot in [await made.first(SlotReady, number) for number in (1, 2, 3)]}
        assert {f"unix:{path}" for path in (made.run / "i").iterdir()} == ready

    play(isolation, scene)


def test_what_waits_in_slots_ends_with_a_killed_keeper(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        zygote = (await made.first(ZygoteUp)).pid
        await made.first(SlotReady, 3)
        waiting = await made.until(lambda: pids if len(pids := children(zygote)) == 3 else None)
        assert made.process is not None
        made.process.kill()
        await asyncio.to_thread(made.process.wait)
        await made.until(lambda: not [pid for pid in [zygote, *waiting] if _is_alive(pid)])
        made.heard.clear()
        made.start_keeper()  # for `engine`, which ends one
        await made.first(Inventory)

    play(isolation, scene)


def test_when_the_parent_is_gone_everything_ends(isolation: str) -> None:
    async def scene(made: Engine) -> None:
        await made.first(Inventory)
        made.start("one", made.revision("f", WAITER))
        pids = [(await made.first(Started)).pid, (await made.first(ZygoteUp)).pid]
        assert made.process is not None
        # What the kernel sends it when its parent ends.
        made.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(made.process.wait)
        assert not [pid for pid in pids if _is_alive(pid)]
        assert not list((made.run / "i").iterdir())

    play(isolation, scene)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
