"""What goes into a package, and that it is the same bytes each time."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from corral.errors import Invalid
from corral.package.bundle import pack


def members(content: bytes) -> dict[str, int]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: member.mode for member in tar}


def test_file_is_packed_alone(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    (tmp_path / "b.py").write_text("y")
    assert members(pack(tmp_path / "a.py")) == {"a.py": 0o644}


def test_folder_keeps_executables_and_leaves_out_nobodys_code(tmp_path: Path) -> None:
    for name in ("a.py", "lib/b.py", "__pycache__/a.pyc", ".git/config", "corral.toml", ".venv/bin/python", "c.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "lib/b.py").chmod(0o700)
    assert members(pack(tmp_path)) == {"a.py": 0o644, "lib/b.py": 0o755}


def test_files_of_secrets_stay_where_they_are(tmp_path: Path) -> None:
    for name in ("a.py", ".env", ".env.local", "lib/.env", ".environment", "env.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert set(members(pack(tmp_path))) == {"a.py", ".environment", "env.py"}


def test_same_contents_make_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, names in ((one, "ab"), (two, "ba")):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
            os.utime(folder / name, (len(names), ord(name) if folder == one else 7))
    assert pack(one) == pack(two)


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/a.py").symlink_to("../secret")
    with pytest.raises(Invalid, match=r"a\.py is a link to something outside"):
        pack(tmp_path / "code")


def test_link_inside_the_folder_becomes_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    (tmp_path / "b.py").symlink_to("a.py")
    assert set(members(pack(tmp_path))) == {"a.py", "b.py"}


def test_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Invalid, match="pipe is no file"):
        pack(tmp_path)


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="must hold at least one file"):
        pack(tmp_path)
