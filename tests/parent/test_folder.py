"""The data folder is taken by one server at a time, and RUN leaves nothing behind."""

import os
import socket
from pathlib import Path

import pytest

from corral.errors import BadConfiguration, DataFolderBusy
from corral.parent.folder import make_run, open_data, remove_run

ME = os.geteuid()


def test_data_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    os.close(open_data(tmp_path / "a/b", ME))
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


def test_second_server_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    lock = open_data(tmp_path, ME)
    with pytest.raises(DataFolderBusy, match=f"is held by another Corral, process {os.getpid()}; stop it or choose"):
        open_data(tmp_path, ME)
    os.close(lock)
    os.close(open_data(tmp_path, ME))


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    mode = tmp_path.stat().st_mode
    with pytest.raises(BadConfiguration, match=r"must be empty or a data folder of Corral; it holds 'thesis\.tex'"):
        open_data(tmp_path, ME)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    assert tmp_path.stat().st_mode == mode


def test_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfiguration, match="must be a folder Corral can write to: File exists"):
        open_data(tmp_path / "file", ME)


def test_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if ME != 0:
        pytest.skip("only root can make a folder that belongs to somebody else")
    os.chown(tmp_path, 4321, 4321)
    with pytest.raises(BadConfiguration, match=r"must belong to user 0 or 100001, .*; it belongs to user 4321"):
        open_data(tmp_path, 100_001)


def test_folder_in_use_is_said_to_be_so_before_anything_else(tmp_path: Path) -> None:
    lock = open_data(tmp_path, ME)
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataFolderBusy):
        open_data(tmp_path, 4321)
    os.close(lock)


def test_engine_owns_the_folder_but_not_the_logs(tmp_path: Path) -> None:
    if ME != 0:
        pytest.skip("without root everything belongs to one user")
    os.close(open_data(tmp_path, 100_001))
    os.close(open_data(tmp_path, 100_001))
    logs = (tmp_path / "logs").stat()
    assert (tmp_path.stat().st_uid, logs.st_uid, logs.st_gid) == (100_001, 0, 100_001)
    assert logs.st_mode & 0o777 == 0o750


def test_run_folder_is_new_and_short_enough(tmp_path: Path) -> None:
    places = {"XDG_RUNTIME_DIR": str(tmp_path)}
    run = make_run("0123test", places, ME)
    try:
        (run / "i/left.sock").write_text("")
        assert make_run("0123test", places, ME) == run
        assert list((run / "i").iterdir()) == []
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(run / "i" / ("s" * 24 + ".sock")))
    finally:
        remove_run(run)
    assert not run.exists()


def test_somebody_elses_run_folder_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    with pytest.raises(PermissionError):
        remove_run(tmp_path / "link")
    assert (tmp_path / "kept").exists()
