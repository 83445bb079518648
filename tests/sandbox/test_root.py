import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corral.errors import SandboxFailed
from corral.sandbox.root import Bind, enter_command, own_binds, root_plan

PYTHON = os.path.realpath(sys.executable)


def run(tmp_path: Path, code: str, binds: list[Bind], **more: object) -> object:
    """What `code` prints as JSON, run in a root of its own."""
    staging = tmp_path / "staging"
    staging.mkdir()
    plan = root_plan(staging=staging, argv=[sys.executable, "-c", code], env={}, binds=binds, **more)  # type: ignore[arg-type]
    argv, fds = enter_command(plan)
    try:
        done = subprocess.run(argv, pass_fds=fds, stdout=subprocess.PIPE, check=True)
    finally:
        os.close(fds[0])
    return json.loads(done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_process_of_ours_runs_where_nothing_but_the_allow_list_exists(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("")
    code = "import json, os, ssl, sqlite3, corral.model\n"
    code += f"print(json.dumps([os.getuid(), os.path.exists({str(tmp_path)!r}), os.listdir('/etc/ssl')]))"
    uid, sees_secret, ssl_files = run(tmp_path, code, own_binds(), uid=100_900, gid=100_900, drop=True)  # type: ignore[misc]
    assert (uid, sees_secret) == (100_900, False)
    assert "private" not in ssl_files


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_only_what_is_bound_for_writing_can_be_written(tmp_path: Path) -> None:
    for name in ("ro", "rw"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    binds: list[Bind] = [(str(tmp_path / "ro"), "/shown", "ro"), (str(tmp_path / "rw"), "/open", "rw")]
    code = "import json, os\ndef may(path):\n    try:\n        open(path + '/file', 'w').close()\n        return True\n"
    code += "    except OSError:\n        return False\nprint(json.dumps([may('/shown'), may('/open'), may('/etc')]))"
    assert run(tmp_path, code, [*own_binds(), *binds]) == [False, True, False]


def test_a_folder_is_bound_before_what_lies_in_it(tmp_path: Path) -> None:
    inner: Bind = ("/somewhere/in", "/opt/a/in", "ro")
    outer: Bind = ("/somewhere", "/opt/a", "ro")
    binds = root_plan(staging=tmp_path, argv=["x"], env={}, binds=[inner, outer])["binds"]
    assert binds.index(outer) < binds.index(inner)


def test_what_the_system_folders_hold_is_not_bound_again(tmp_path: Path) -> None:
    plan = root_plan(staging=tmp_path, argv=["x"], env={}, binds=[("/usr/lib", "/usr/lib", "ro")])
    assert ("/usr/lib", "/usr/lib", "ro") not in plan["binds"]


@pytest.mark.parametrize("bind", [("relative", "/x", "ro"), ("/x", "relative", "ro"), ("/", "/", "ro")])
def test_a_bind_that_is_not_absolute_or_the_whole_root_is_refused(tmp_path: Path, bind: Bind) -> None:
    with pytest.raises(SandboxFailed, match="must be absolute"):
        root_plan(staging=tmp_path, argv=["x"], env={}, binds=[bind])
