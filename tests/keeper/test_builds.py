"""Installations as the keeper does them, in real sandboxes: what comes out, what is refused, what they cannot reach."""

import asyncio
import base64
import contextlib
import functools
import http.server
import io
import json
import os
import re
import stat
import tempfile
import threading
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from corral import config
from corral.keeper.builds import Builds
from corral.link import Build, Built
from corral.model import FunctionSpec, Revision, RevisionId
from corral.sandbox.building import Builder
from corral.sandbox.interpreters import installed

DEADLINE_S = 60.0
UID = 101_000
LAYER, OTHER = "a" * 64, "b" * 64
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="T1 needs root")
SMALL = config.Layers(size_mib=8, memory_mib=256, timeout_s=20.0)


def wheel(name: str = "dep", version: str = "1.0", **files: str) -> dict[str, bytes]:
    """{file: contents} of a package of one module."""
    about = f"{name}-{version}.dist-info"
    texts = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **files,
    }
    texts[f"{about}/RECORD"] = "".join(f"{each},,\n" for each in [*texts, f"{about}/RECORD"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in texts.items():
            archive.writestr(path, text)
    return {f"{name}-{version}-py3-none-any.whl": packed.getvalue()}


DEP = "./dep-1.0-py3-none-any.whl"


def builds_itself(code: str) -> dict[str, bytes]:
    """A package that comes as source: `code` runs while it is built, and then it fails with what `seen` holds."""
    project = (
        "[project]\nname='evil'\nversion='1'\n[build-system]\nrequires=[]\nbuild-backend='evil'\nbackend-path=['.']\n"
    )
    backend = "import json, os, sys\nseen = {}\ndef attempt(what, act):\n    try:\n        seen[what] = act()\n"
    backend += "    except BaseException as exc:\n        seen[what] = type(exc).__name__\n"
    backend += "def build_wheel(folder, *_):\n" + "".join(f"    {line}\n" for line in code.splitlines())
    backend += "    sys.exit('SEEN ' + json.dumps(seen) + ' SEEN')\n"
    return {"evil/pyproject.toml": project.encode(), "evil/evil.py": backend.encode()}


def seen(built: Built) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(built.output.split("SEEN ")[1].split(" SEEN")[0].replace("\n", ""))
    return found


class Stage:
    """The keeper's Builds on a data folder of its own."""

    def __init__(self, root: Path, tier: str, layers: config.Layers) -> None:
        self.data, self.tier = root / "data", tier
        for folder in ("data/packages/default", "data/layers", "data/builds", "run/root"):
            (root / folder).mkdir(parents=True)
        root.chmod(0o755)
        boot = config.Boot(
            settings=config.Settings(keeper=config.Keeper(uid_base=100_000), layers=layers),
            data=str(self.data),
            run=str(root / "run"),
            name=config.data_name(self.data),
            parent_pid=os.getppid(),
            fds={},
        )
        self.builder = Builder(boot, is_isolated=tier == "T1")
        self.begun: list[str] = []
        start = self.builder.build
        self.builder.build = lambda recipe, *rest: (self.begun.append(recipe.name), start(recipe, *rest))[1]  # type: ignore[method-assign]
        user_of: Callable[[Revision], int | None] = lambda revision: revision.uid if tier == "T1" else None  # noqa: E731
        self.builds = Builds(boot, self.builder, user_of, self._hear)
        self.heard: dict[RevisionId, Built] = {}
        self._news = asyncio.Event()

    def _hear(self, built: Built) -> None:
        assert built.revision not in self.heard, "each is answered once"
        self.heard[built.revision] = built
        self._news.set()

    async def until(self, claim: Callable[[], object]) -> None:
        """Asked after each answer, and every 10 ms for what no answer tells."""
        async with asyncio.timeout(DEADLINE_S):
            while not claim():
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.01)

    def ask(
        self,
        name: str,
        files: dict[str, bytes],
        requirements: str,
        layer: str = LAYER,
        written: str | None = None,
        **spec: Any,
    ) -> Revision:
        package = self.data / "packages/default" / f"p{name}"
        for path, content in {**files, "requirements.txt": requirements.encode(), "app.py": b""}.items():
            (package / path).parent.mkdir(parents=True, exist_ok=True)
            (package / path).write_bytes(content)
        revision = Revision(
            id=RevisionId(f"default/{name}@1"),
            namespace="default",
            name=name,
            number=1,
            package=f"p{name}",
            layer=layer,
            uid=UID,
            spec=FunctionSpec(**spec),
            created_at=0.0,
        )
        self.builds.ask(Build(revision, "requirements.txt", written))
        return revision

    async def answer(self, revision: Revision) -> Built:
        await self.until(lambda: revision.id in self.heard)
        return self.heard[revision.id]

    async def built(self, files: dict[str, bytes], requirements: str, **options: Any) -> Built:
        return await self.answer(self.ask("one", files, requirements, **options))

    def layer(self, name: str = LAYER) -> Path:
        return self.data / "layers/default" / name

    def log(self, name: str = "one") -> str:
        return (self.data / f"builds/default/{name}.log").read_text()

    def left(self) -> list[str]:
        """Of an installation that did not succeed."""
        folders = [str(path) for path in self.data.glob("layers/*/*")]
        return folders + [f"process {pid}" for pid in _processes_of(UID)]


def _processes_of(user: int) -> Iterator[str]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.stat(f"/proc/{pid}").st_uid == user and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
                yield pid


@contextlib.asynccontextmanager
async def stage(tier: str, layers: config.Layers) -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="corral-", dir="/tmp") as folder:
        made = Stage(Path(folder), tier, layers)
        running = asyncio.create_task(made.builds.run())
        try:
            yield made
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def on(tier: str, play: Callable[[Stage], Awaitable[None]], layers: config.Layers = SMALL) -> None:
    async def run() -> None:
        async with stage(tier, layers) as made:
            await play(made)

    asyncio.run(run())


on_t1 = functools.partial(on, "T1")


@pytest.fixture(params=["T0", pytest.param("T1", marks=NEEDS_ROOT)])
def tier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# -- what comes out -------------------------------------------------------------------------------------------


def test_what_was_installed_is_ours_and_read_only_and_compiled(tier: str) -> None:
    async def play(made: Stage) -> None:
        assert (await made.built(wheel(), DEP)).error == ""
        assert (made.layer() / "dep.py").read_text() == "VERSION = '1.0'\n"
        assert list(made.layer().glob("__pycache__/dep.cpython-3*.pyc"))
        for path in [made.layer(), *made.layer().rglob("*")]:
            assert path.stat().st_uid == os.geteuid()
            assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o444), path
        assert made.log().endswith("+ dep==1.0 (from file:///build/package/dep-1.0-py3-none-any.whl)\ninstalled\n") or (
            tier == "T0" and "+ dep==1.0" in made.log()
        )

    on(tier, play)


def test_what_the_layer_stands_for_is_installed_whatever_the_package_says(tier: str) -> None:
    """Its key covers the words that were sent; the package's own could put another one's code under it."""

    async def play(made: Stage) -> None:
        files = {**wheel(), "pyproject.toml": b"[tool.uv]\nfind-links = ['.']\n"}
        built = await made.built(files, DEP, written="dep\n--no-index\n")
        assert "dep was not found" in " ".join(built.error.split()), built
        assert not made.left()

    on(tier, play)


def test_what_failed_leaves_nothing_but_its_log(tier: str) -> None:
    async def play(made: Stage) -> None:
        built = await made.built({}, "./missing-1.0-py3-none-any.whl")
        assert built.error.startswith("the installer ended with status 1: Distribution not found")
        assert "missing-1.0" in built.error and "missing-1.0" in built.output
        assert not made.left()
        assert built.error in made.log()

    on(tier, play)


def test_a_layer_that_is_there_is_not_installed_again(tier: str) -> None:
    async def play(made: Stage) -> None:
        await made.built(wheel(), DEP)
        assert (await made.answer(made.ask("two", wheel(), DEP))).error == ""
        assert len(made.begun) == 1

    on(tier, play)


def test_functions_that_ask_at_once_share_one_installation() -> None:
    async def play(made: Stage) -> None:
        asked = [made.ask(f"f{number}", wheel(), DEP) for number in range(5)]
        assert [(await made.answer(each)).error for each in asked] == [""] * 5
        assert len(made.begun) == 1
        assert "installed" in made.log("f0") and made.log("f0") == made.log("f4")

    on_t1(play)


@pytest.mark.skipif(not installed(), reason="needs another interpreter")
def test_another_interpreter_compiles_for_itself() -> None:
    runtime = installed()[0]

    async def play(made: Stage) -> None:
        assert (await made.built(wheel(), DEP, runtime=runtime)).error == ""
        tag = f"cpython-{runtime.removeprefix('python').replace('.', '')}"
        assert [path.name for path in made.layer().glob("__pycache__/dep.*")] == [f"dep.{tag}.pyc"]

    on_t1(play, msgspec.structs.replace(SMALL, timeout_s=60.0))


def test_an_interpreter_that_is_not_there_is_a_sentence() -> None:
    async def play(made: Stage) -> None:
        built = await made.built(wheel(), DEP, runtime="python3.2")
        assert built.error.startswith("runtime = 'python3.2': no such interpreter runs on this machine")
        assert not made.left()

    on_t1(play)


def test_an_installation_nobody_waits_for_ends_and_leaves_nothing(tier: str) -> None:
    async def play(made: Stage) -> None:
        code = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
        revision = made.ask("one", builds_itself(code), "./evil")
        await made.until(lambda: made.begun and made.builder.running)
        made.builds.drop(revision.id)
        await made.until(lambda: not made.builder.running and not made.builds._asked)
        assert not made.heard
        await made.until(lambda: not made.left())

    on(tier, play)


def test_who_asks_when_the_first_has_just_given_up_is_not_told_of_his_end() -> None:
    async def play(made: Stage) -> None:
        code = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
        first = made.ask("one", builds_itself(code), "./evil")
        await made.until(lambda: made.builder.running)
        made.builds.drop(first.id)
        assert (await made.answer(made.ask("two", wheel(), DEP))).error == ""
        assert (made.layer() / "dep.py").exists()

    on_t1(play)


def test_who_asks_while_what_nobody_waits_for_is_copied_keeps_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(made: Stage) -> None:
        layers, go_on = made.builds._layers, threading.Event()
        copy, copied = layers.copy, threading.Event()

        def slowly(namespace: str, installed: int) -> str:
            incoming = copy(namespace, installed)
            copied.set()
            assert go_on.wait(DEADLINE_S)
            return incoming

        monkeypatch.setattr(layers, "copy", slowly)
        first = made.ask("one", wheel(), DEP)
        await made.until(copied.is_set)
        made.builds.drop(first.id)
        second = made.ask("two", wheel(), DEP)
        go_on.set()
        assert (await made.answer(second)).error == ""
        await made.until(lambda: [path.name for path in made.data.glob("layers/default/*")] == [LAYER])
        assert first.id not in made.heard and made.layer().is_dir()

    on_t1(play)


def test_a_mistake_of_ours_ends_one_installation_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(made: Stage) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(made.builder, "place", lambda recipe: 1 / 0)
            assert (await made.built(wheel(), DEP)).error == "the keeper made a mistake; its log has more"
        assert (await made.answer(made.ask("two", wheel(), DEP))).error == ""

    on_t1(play)


def test_dropped_layers_and_what_no_engine_knows_are_removed(tier: str) -> None:
    async def play(made: Stage) -> None:
        for name, layer in (("one", LAYER), ("two", OTHER), ("three", "c" * 64)):
            await made.answer(made.ask(name, wheel(), DEP, layer=layer))
        made.builds.remove("default", LAYER)
        assert not made.layer().exists(), "at once, so that nobody finds half of it"
        made.builds.keep_only({"default": [OTHER]}, [])
        await made.until(lambda: [path.name for path in made.data.glob("layers/default/*")] == [OTHER])

    on(tier, play)


def test_an_instances_layer_stays_though_no_engine_knows_it() -> None:
    async def play(made: Stage) -> None:
        await made.built(wheel(), DEP)
        made.builds.keep_only({}, [("default", LAYER)])
        assert made.layer().exists()

    on_t1(play)


# -- what code that is built can do ---------------------------------------------------------------------------


@NEEDS_ROOT
def test_code_that_is_built_sees_nothing_but_its_own_package() -> None:
    async def play(made: Stage) -> None:
        other = made.data / "packages/other/p"
        other.mkdir(parents=True)
        code = f"""
attempt('data', lambda: os.listdir({str(made.data)!r}))
attempt('other', lambda: os.listdir({str(other)!r}))
attempt('layers', lambda: os.listdir({str(made.data / "layers")!r}))
attempt('root', lambda: sorted(os.listdir('/')))
attempt('shadow', lambda: open('/etc/shadow').read())
attempt('pids', lambda: len([name for name in os.listdir('/proc') if name.isdigit()]))
attempt('environment', lambda: sorted(os.environ))
attempt('user', lambda: [os.getuid(), os.getgid(), os.getgroups()])
status = open('/proc/self/status').readlines()
attempt('capabilities', lambda: [line for line in status if line.startswith(('Cap', 'NoNew', 'Seccomp:'))])
attempt('descriptors', lambda: [os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd')])
attempt('site', lambda: __import__('msgspec').__file__)
"""
        facts = seen(await made.built(builds_itself(code), "./evil"))
        assert facts["data"] == facts["other"] == facts["layers"] == "FileNotFoundError"
        assert facts["shadow"] == "FileNotFoundError"
        assert {"build", "package", "corral", "proc", "tmp", "usr"} <= set(facts["root"])
        assert facts["pids"] < 10, "a namespace of its own"
        assert facts["user"] == [UID, UID, []]
        assert all("0000000000000000" in line or line[0] in "NS" for line in facts["capabilities"])
        assert {"NoNewPrivs:\t1\n", "Seccomp:\t2\n"} <= set(facts["capabilities"])
        assert not any("memfd" in each or "cgroup" in each for each in facts["descriptors"])
        assert not any("CORRAL" in name or "INDEX" in name for name in facts["environment"])
        assert facts["site"] == "ModuleNotFoundError"

    on_t1(play)


@NEEDS_ROOT
def test_code_that_is_built_can_write_nowhere_else() -> None:
    async def play(made: Stage) -> None:
        places = ["/package/app.py", "/usr/evil", "/etc/evil", "/evil", "/layer/evil", "/corral/uv.toml", "/dev/evil"]
        code = f"for place in {places}:\n    attempt(place, lambda: open(place, 'w').close())\n"
        code += "attempt('mount', lambda: __import__('ctypes').CDLL(None).mount(b'/', b'/tmp', None, 4096, None))\n"
        code += "attempt('chroot', lambda: os.chroot('/tmp'))\nattempt('kill', lambda: os.kill(1, 9))"
        facts = seen(await made.built(builds_itself(code), "./evil"))
        assert {facts[place] for place in places} <= {"OSError", "PermissionError", "FileNotFoundError"}
        assert facts["mount"] == -1 and facts["chroot"] == "PermissionError"
        assert (made.data / "packages/default/pone/app.py").read_bytes() == b""

    on_t1(play)


PLANTED = {
    "a symbolic link out": ("os.symlink('/etc/passwd', '/build/out/evil')", "'evil', a symbolic link"),
    "a chain of links": (
        "os.symlink('.', '/build/out/a')\nos.symlink('a/../..', '/build/out/b')",
        "'a', a symbolic link",
    ),
    "a setuid file": (
        "open('/build/out/evil', 'w').close()\nos.chmod('/build/out/evil', 0o4755)",
        "'evil' with a setuid",
    ),
    "a setgid file": (
        "open('/build/out/evil', 'w').close()\nos.chmod('/build/out/evil', 0o2755)",
        "'evil' with a setuid",
    ),
    "a pipe": ("os.mkfifo('/build/out/evil')", "'evil', a device, pipe or socket"),
    "a folder that is a link": (
        "os.rename('/build/out', '/build/was')\nos.symlink('/etc', '/build/out')",
        "it left no folder|a symbolic link|status",
    ),
    "too many files": ("for n in range(300): open(f'/build/out/{n}', 'w').close()", "more than 200 files"),
    "too much": ("open('/build/out/evil', 'wb').write(b'x' * (9 << 20))", "more than 8 MiB"),
}


@NEEDS_ROOT
@pytest.mark.parametrize("case", PLANTED)
def test_planted_in_the_result_it_is_refused(case: str) -> None:
    """The installer succeeds; a process it started for a build has put something beside its result."""
    code, why = PLANTED[case]
    files = builds_itself(code)
    # In place of the failure: a wheel, made by hand.
    made_wheel = wheel("evil", "1")["evil-1-py3-none-any.whl"]
    backend = files["evil/evil.py"].decode().split("    sys.exit")[0]
    backend += f"    open(folder + '/evil-1-py3-none-any.whl', 'wb').write({made_wheel!r})\n"
    backend += "    return 'evil-1-py3-none-any.whl'\n"
    files["evil/evil.py"] = backend.encode()

    async def play(made: Stage) -> None:
        built = await made.built(files, "./evil")
        assert re.search(why, built.error), built
        assert not made.left()

    on_t1(play, msgspec.structs.replace(SMALL, files_max=200))


@NEEDS_ROOT
def test_a_build_that_fills_the_disk_fills_its_own() -> None:
    async def play(made: Stage) -> None:
        code = "attempt('fill', lambda: open('/build/big', 'wb').write(b'x' * (64 << 20)))\n"
        code += "attempt('files', lambda: [open(f'/build/tmp/{n}', 'w').close() for n in range(10 ** 6)])\n"
        code += "seen['files'] = seen['files'] if isinstance(seen['files'], str) else 'all'"
        facts = seen(await made.built(builds_itself(code), "./evil"))
        assert facts == {"fill": "OSError", "files": "OSError"}
        assert not made.left()

    on_t1(play, msgspec.structs.replace(SMALL, files_max=500))


@NEEDS_ROOT
def test_a_build_that_forks_for_ever_is_ended_with_all_it_started() -> None:
    async def play(made: Stage) -> None:
        code = "while True:\n    try:\n        os.fork()\n    except OSError: pass"
        built = await made.built(builds_itself(code), "./evil")
        assert built.error.startswith("it was not done after 3 s (layers.timeout_s)")
        assert not made.left()

    on_t1(play, msgspec.structs.replace(SMALL, timeout_s=3.0))


@NEEDS_ROOT
def test_a_build_that_takes_all_memory_is_ended() -> None:
    async def play(made: Stage) -> None:
        built = await made.built(builds_itself("x = [bytearray(1 << 20) for _ in range(4096)]"), "./evil")
        assert "memory" in built.error
        assert not made.left()

    on_t1(play, msgspec.structs.replace(SMALL, memory_mib=128))


def test_a_flood_of_output_is_cut(tier: str) -> None:
    async def play(made: Stage) -> None:
        code = "for n in range(20_000): print('\\x1b[2Jline', n, 'x' * 100)"
        built = await made.built(builds_itself(code), "./evil")
        assert built.error and len(built.error) < 1000
        assert len(built.output) <= 8192 and len(made.log()) < 300_000
        assert "\x1b" not in made.log() + built.output, "a terminal may show it"

    on(tier, play)


def test_where_only_wheels_are_allowed_nothing_is_built(tier: str) -> None:
    async def play(made: Stage) -> None:
        built = await made.built(builds_itself("pass"), "./evil")
        assert "SEEN" not in built.output + built.error
        assert "building source distributions" in built.error.lower() or "no-build" in built.error.lower(), built.error
        assert (await made.answer(made.ask("two", wheel(), DEP, layer=OTHER))).error == ""

    on(tier, play, msgspec.structs.replace(SMALL, install="wheels"))


# -- the index ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def index(password: str) -> Iterator[tuple[str, list[str]]]:
    """A package index on loopback that answers those who know the password; its address, and what was asked for."""
    asked: list[str] = []
    [(file, content)] = wheel().items()
    pages = {"/simple/dep/": f"<a href='/{file}'>{file}</a>".encode(), f"/{file}": content}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            knows = self.headers.get("authorization") == "Basic " + base64.b64encode(f"me:{password}".encode()).decode()
            body = pages.get(self.path, b"") if knows else b""
            self.send_response(200 if body else 404 if knows else 401)
            self.send_header("content-type", "text/html" if self.path.endswith("/") else "application/zip")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://me:{password}@127.0.0.1:{server.server_address[1]}/simple", asked
        finally:
            server.shutdown()
            thread.join()


def test_packages_come_from_the_index_that_is_set_and_its_password_is_never_shown(tier: str) -> None:
    async def play(made: Stage) -> None:
        assert (await made.built({}, "dep==1.0")).error == ""
        assert (made.layer() / "dep.py").exists()
        failed = await made.answer(made.ask("two", {}, "dep==2.0\nother", layer=OTHER))
        assert "No solution found" in failed.error, failed
        assert "s3cr3t" not in failed.error + failed.output + made.log("one") + made.log("two")

    with index("s3cr3t") as (url, _):
        on(tier, play, msgspec.structs.replace(SMALL, index_url=url, install="wheels"))


@NEEDS_ROOT
def test_a_requirement_cannot_name_what_the_installer_was_told() -> None:
    """What a requirement could carry off is the environment: the address of the index is not in there."""

    async def play(made: Stage) -> None:
        path = "${UV_DEFAULT_INDEX}/${UV_INDEX}/${UV_INDEX_URL}"
        await made.built({}, f"dep @ {address}/{path}/dep-1.0-py3-none-any.whl")
        assert asked and not any("s3cr3t" in path for path in asked), asked

    with index("s3cr3t") as (url, asked):
        address = "http://" + url.split("@")[1]
        on_t1(play, msgspec.structs.replace(SMALL, index_url=url, install="wheels"))
