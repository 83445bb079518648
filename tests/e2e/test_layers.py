"""Dependencies, by the command line: installed once, seen by instances, removed when nobody needs them."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest

from .server import CORRAL, Server, serving, wait_for

HANDLER = "import dep\n\ndef main(args):\n    return {'version': dep.VERSION, 'file': dep.__file__}\n"


def wheel(folder: Path, name: str = "dep", version: str = "1.0", code: str | None = None) -> str:
    """A package of one module, built by hand; its file's name."""
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n" if code is None else code,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{each},,\n" for each in [*files, f"{about}/RECORD"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    file = f"{name}-{version}-py3-none-any.whl"
    (folder / file).write_bytes(packed.getvalue())
    return file


def function(folder: Path, requirements: str, handler: str = HANDLER) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "handler.py").write_text(handler)
    (folder / "requirements.txt").write_text(requirements)
    return folder


def layers(server: Server) -> list[str]:
    return sorted(path.name for path in server.data.glob("layers/*/*"))


def test_a_requirement_is_installed_once_and_imported(server: Server, tmp_path: Path) -> None:
    code = function(tmp_path / "one", "")
    (code / "requirements.txt").write_text(f"./{wheel(code)}  # in the package\n")
    server.ok("deploy", "one", str(code))
    assert server.call("one").json() == {"version": "1.0", "file": "/layer/dep.py"}
    [layer] = layers(server)
    assert server.described("one")["layer"] == layer
    log = server.ok("logs", "one", "--build")
    assert "+ dep==1.0" in log and log.endswith("installed\n")
    # The code changes, its dependencies do not: a local wheel makes the package a part of the key, names do not.
    server.ok("delete", "one")
    wait_for("the layer's end", lambda: not layers(server))
    assert server.cli("logs", "one", "--build").returncode == 3


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive_may_hold_the_folder_itself(shared: Server, tmp_path: Path, kind: str) -> None:
    function(tmp_path / "repo-main", "", "def handler(event): return 'inside'\n")
    archive = shutil.make_archive(str(tmp_path / f"inside-{kind}"), kind, tmp_path, "repo-main")
    assert f"deployed inside-{kind} as revision 1" in shared.ok("deploy", archive)
    assert shared.call(f"inside-{kind}").body == b"inside"


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive_is_deployed_like_the_folder_in_it(shared: Server, tmp_path: Path, kind: str) -> None:
    code = function(tmp_path / "code", "./dep-1.0-py3-none-any.whl\n")
    wheel(code)
    archive = Path(shutil.make_archive(str(tmp_path / f"packed-{kind}"), kind, code))
    said = shared.ok("deploy", str(archive))
    assert f"deployed packed-{kind} as revision 1" in said
    assert shared.call(f"packed-{kind}").json()["version"] == "1.0"
    (code / "corral.toml").write_text('name = "by-its-file"\nmemory = 64\n')
    archive = Path(shutil.make_archive(str(tmp_path / f"packed-{kind}"), kind, code))
    assert "deployed by-its-file" in shared.ok("deploy", str(archive))
    assert shared.described("by-its-file")["spec"]["memory_mib"] == 64
    sent = shared.ask("POST", "/corral/v1/namespaces/default/packages", archive.read_bytes(), shared.bearer)
    assert sent.status == 201


def test_a_bad_archive_is_refused_before_anything_is_sent(shared: Server, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.py", "x")
    refused = shared.cli("deploy", str(tmp_path / "evil.zip"))
    assert refused.returncode == 2
    assert refused.stderr == b"corral: package member '../evil.py' leads out of the package by ..\n"


def test_what_cannot_be_installed_is_a_sentence_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    code = function(tmp_path / "none", "./missing-1.0-py3-none-any.whl\n")
    failed = server.cli("deploy", "none", str(code))
    said = failed.stderr.decode()
    assert failed.returncode == 1
    assert said.startswith("corral: the dependencies of requirements.txt could not be installed: ")
    assert "missing-1.0-py3-none-any.whl" in said.splitlines()[0]
    assert not layers(server)
    assert server.call("none").status == 404
    assert "missing" in server.ok("logs", "none", "--build")


def test_a_package_of_the_index_is_there_for_a_redeploy_at_once(server: Server, tmp_path: Path) -> None:
    code = function(tmp_path / "index", "iniconfig\n", "import iniconfig\ndef main(args): return {'n': 1}\n")
    first = server.cli("deploy", "index", str(code))
    if b"error sending request" in first.stderr or b"dns error" in first.stderr:
        pytest.skip("no package index can be reached")
    assert first.returncode == 0, first.stderr
    before = layers(server)
    (code / "handler.py").write_text("import iniconfig\ndef main(args): return {'n': 2}\n")
    server.ok("deploy", "index", str(code))
    assert server.call("index").json() == {"n": 2}
    assert layers(server) == before
    assert json.loads(server.ok("describe", "index", "--json"))["number"] == 2


SLOW = """
import time
def build_wheel(*_):
    print('building for ever', flush=True)
    time.sleep(600)
"""
PROJECT = "[project]\nname='slow'\nversion='1'\n[build-system]\nrequires=[]\nbuild-backend='slow'\nbackend-path=['.']\n"


def builders(server: Server) -> list[int]:
    """Processes in which a package of this server's is built."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            is_ours = 0 <= os.stat(f"/proc/{pid}").st_uid - server.uid_base < 1000
            if is_ours and b"/build/cache/" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def test_a_keeper_killed_in_an_installation_leaves_nothing_of_it(server: Server, tmp_path: Path) -> None:
    code = function(tmp_path / "slow", "./slow\n")
    (code / "slow").mkdir()
    (code / "slow/pyproject.toml").write_text(PROJECT)
    (code / "slow/slow.py").write_text(SLOW)
    environment = {**server.environment, "CORRAL_URL": server.url}
    deploy = subprocess.Popen([*CORRAL, "deploy", "slow", str(code)], env=environment, stderr=subprocess.PIPE)
    try:
        [builder, *_] = wait_for("a build", lambda: builders(server), 30.0)
        os.kill(server.pid("keeper"), signal.SIGKILL)
        _, said = deploy.communicate(timeout=30)
    finally:
        deploy.kill()
        deploy.communicate()
    assert deploy.returncode == 4, said  # unreachable, for a while
    assert said.startswith(b"corral: the keeper ended while it installed the dependencies: nothing is left of them")
    wait_for("the build's end", lambda: not Path(f"/proc/{builder}").exists())
    assert not layers(server)
    (code / "requirements.txt").write_text(f"./{wheel(code)}\n")
    wait_for("a keeper", lambda: server.cli("deploy", "slow", str(code)).returncode == 0, 30.0)
    assert server.call("slow").json()["version"] == "1.0"


def test_functions_with_a_layer_serve_after_a_restart_of_everything(tmp_path: Path) -> None:
    code = function(tmp_path / "kept", "./dep-1.0-py3-none-any.whl\n")
    wheel(code)
    with serving(tmp_path) as server:
        server.ok("deploy", "kept", str(code))
        before = layers(server)
    with serving(tmp_path) as server:
        assert server.call("kept").json()["version"] == "1.0"
        assert layers(server) == before


def test_where_nothing_may_reach_the_network_nothing_is_installed(tmp_path: Path) -> None:
    code = function(tmp_path / "code", "jinja2\n")
    with serving(tmp_path, "--keeper-network-host", "forbidden") as server:
        refused = server.cli("deploy", "code", str(code))
        assert refused.returncode == 2
        assert b"requirements.txt names 1 requirement, must be empty: layers.install = none" in refused.stderr


def test_the_password_of_the_index_is_in_no_process_but_the_keeper(tmp_path: Path) -> None:
    url = "http://me:s3cr3t@127.0.0.1:9/simple"
    with serving(tmp_path, environment={"PIP_INDEX_URL": url}) as server:
        code = function(tmp_path / "code", "jinja2\n")
        failed = server.cli("deploy", "code", str(code))
        assert failed.returncode == 1 and b"s3cr3t" not in failed.stderr + failed.stdout
        assert "s3cr3t" not in server.ok("logs", "code", "--build") + server.log.read_text()
        for name in ("engine", "gateway"):
            assert b"s3cr3t" not in Path(f"/proc/{server.pid(name)}/environ").read_bytes()


def test_the_password_of_a_proxy_is_in_no_answer_and_no_log(tmp_path: Path) -> None:
    environment = {
        "HTTP_PROXY": "http://me:s3cr3t@127.0.0.1:9",
        "PIP_INDEX_URL": "http://index.invalid/me:s3cr3t@/simple",
    }
    with serving(tmp_path, environment=environment) as server:
        code = function(tmp_path / "code", "jinja2\n")
        failed = server.cli("deploy", "code", str(code))
        assert failed.returncode == 1 and b"s3cr3t" not in failed.stderr + failed.stdout
        assert b"****" in failed.stderr
        assert "s3cr3t" not in server.ok("logs", "code", "--build") + server.log.read_text()
