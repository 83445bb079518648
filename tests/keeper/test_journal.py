import os
from pathlib import Path

import pytest

from corral.keeper.journal import Journal
from corral.model import FunctionKey

KEY = FunctionKey("default/hello")


def read(data: Path, file: str) -> bytes:
    return (data / "logs/default/hello" / file).read_bytes()


def test_a_log_never_takes_more_than_its_two_halves(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1000, None)
    for number in range(200):
        journal.append(KEY, [b"%05d\n" % (2 * number), b"%05d\n" % (2 * number + 1)])
        assert all(file.stat().st_size <= 1000 for file in (tmp_path / "logs/default/hello").iterdir())
    kept = (read(tmp_path, "previous.jsonl") + read(tmp_path, "current.jsonl")).split()
    assert [int(line) for line in kept] == list(range(400 - len(kept), 400))
    assert len(kept) > 1000 // 6


def test_a_batch_larger_than_a_half_goes_through_both(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 100, None)
    journal.append(KEY, [b"%05d\n" % number for number in range(100)])
    assert read(tmp_path, "current.jsonl").endswith(b"00099\n")
    assert len(read(tmp_path, "previous.jsonl")) <= 100


def test_a_record_larger_than_a_half_is_kept_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 10, None)
    journal.append(KEY, [b"a" * 50 + b"\n", b"b\n"])
    assert read(tmp_path, "current.jsonl") == b"b\n"


def test_a_removed_log_is_gone_and_may_begin_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 1000, None)
    journal.append(KEY, [b"old\n"])
    journal.remove(KEY)
    assert not (tmp_path / "logs/default/hello").exists()
    journal.remove(KEY)
    journal.append(KEY, [b"new\n"])
    assert read(tmp_path, "current.jsonl") == b"new\n"


@pytest.mark.parametrize("place", ["logs", "logs/default", "logs/default/hello", "logs/default/hello/current.jsonl"])
def test_a_symbolic_link_on_the_way_is_not_followed(tmp_path: Path, place: str) -> None:
    aim = tmp_path / "aim"
    aim.mkdir()
    link = tmp_path / "data" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(aim / "file" if place.endswith("jsonl") else aim)
    with pytest.raises(OSError):
        Journal(tmp_path / "data", 1000, None).append(KEY, [b"line\n"])
    assert not list(aim.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a group")
def test_the_engines_group_may_read_and_nobody_else(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Journal(tmp_path, 1000, 100_001).append(KEY, [b"line\n"])
    finally:
        os.umask(before)
    for path, mode in {"logs": 0o750, "logs/default/hello": 0o750, "logs/default/hello/current.jsonl": 0o640}.items():
        status = (tmp_path / path).stat()
        assert (status.st_gid, status.st_mode & 0o777) == (100_001, mode)
