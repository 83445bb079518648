"""The administrator's token lies where the person who ran `up` finds it, and nobody else."""

import os
import pwd
from pathlib import Path

import pytest

from corral.errors import BadConfiguration
from corral.parent import token
from corral.parent.token import digest, remove_token, state_folder, token_file, write_token


def test_token_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = token_file("http://127.0.0.1:8080", {"XDG_STATE_HOME": str(tmp_path)})
    made = write_token(file, {})
    assert file == tmp_path / "corral/servers/http_127.0.0.1_8080.token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert file.read_text().strip() == made
    assert len(made) >= 40
    assert digest(made) != made


def test_localhost_and_its_address_are_one_server() -> None:
    at = [token_file(url, {}) for url in ("http://localhost:8080", "http://127.0.0.1:8080/")]
    assert at[0] == at[1]
    assert token_file("http://127.0.0.1:8081", {}) != at[0]


def test_each_start_makes_another_token(tmp_path: Path) -> None:
    file = tmp_path / "x.token"
    first, second = write_token(file, {}), write_token(file, {})
    assert first != second
    assert [each.name for each in tmp_path.iterdir()] == ["x.token"]


def test_token_of_a_later_server_is_left(tmp_path: Path) -> None:
    file = tmp_path / "x.token"
    first, second = write_token(file, {}), write_token(file, {})
    remove_token(file, first, {})
    assert file.read_text().strip() == second
    remove_token(file, second, {})
    assert not file.exists()


def test_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfiguration, match=r"the token cannot be kept in .*: File exists; set XDG_STATE_HOME"):
        write_token(tmp_path / "file/x.token", {})


def test_sudo_keeps_the_token_with_the_person_at_the_keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    # pytest's own folder is root's alone: the person needs a way in.
    for folder in [tmp_path, *tmp_path.parents[:2]]:
        folder.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 4321, 4321)
    person = pwd.struct_passwd(("ann", "x", 4321, 4321, "", str(home), "/bin/sh"))
    monkeypatch.setattr(token.pwd, "getpwuid", lambda uid: person)
    environment = {"SUDO_UID": "4321", "XDG_STATE_HOME": "/root/elsewhere"}
    assert state_folder(environment) == home / ".local/state/corral"
    file = token_file("http://127.0.0.1:8080", environment)
    made = write_token(file, environment)
    assert (file.stat().st_uid, file.stat().st_gid, os.geteuid()) == (4321, 4321, 0)
    remove_token(file, made, environment)
    assert not file.exists()


def test_sudo_does_not_write_as_root_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for folder in [tmp_path, *tmp_path.parents[:2]]:
        folder.chmod(0o755)
    home, target = tmp_path / "home", tmp_path / "roots"
    home.mkdir()
    os.chown(home, 4321, 4321)
    target.mkdir(mode=0o700)
    (home / ".local").symlink_to(target)
    person = pwd.struct_passwd(("ann", "x", 4321, 4321, "", str(home), "/bin/sh"))
    monkeypatch.setattr(token.pwd, "getpwuid", lambda uid: person)
    environment = {"SUDO_UID": "4321"}
    with pytest.raises(BadConfiguration, match="Permission denied"):
        write_token(token_file("http://127.0.0.1:8080", environment), environment)
    assert list(target.iterdir()) == []
