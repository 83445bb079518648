"""Files are there whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.errors import Invalid
from corral.race.whole import check_places, write_whole


def _link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


def test_a_text_that_cannot_be_written_leaves_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("before")
    with pytest.raises(Invalid, match=r"nowhere/new cannot be written: No such file or directory"):
        write_whole({tmp_path / "old": "after", tmp_path / "nowhere/new": "text"})
    assert (tmp_path / "old").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_files_are_replaced_and_readable_as_others_of_their_owner(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_whole({tmp_path / "new": "text\n"})
    write_whole({tmp_path / "new": "other\n"})
    assert (tmp_path / "new").read_text() == "other\n"
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_places_are_checked_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as raised:
        check_places([tmp_path, tmp_path / "no/file", tmp_path / "fine"])
    assert raised.value.problems == (
        f"{tmp_path} is a folder, must be the name of a file",
        f"{tmp_path / 'no/file'}: there is no folder {tmp_path / 'no'}",
    )


@pytest.mark.parametrize("makes", [pytest.param(os.mkfifo, id="no file"), pytest.param(_link, id="link")])
def test_what_is_no_ordinary_file_is_not_replaced(tmp_path: Path, makes: Callable[[Path], None]) -> None:
    """A race whose figures went to /dev/stdout once left a file in its place."""
    there = tmp_path / "there"
    makes(there)
    with pytest.raises(Invalid, match="there is a link or a device, must be an ordinary file or not there"):
        check_places([there])
