"""DATA/code: which marshalled modules are kept, and what becomes of those that cannot be."""

import resource
from pathlib import Path

from corral.engine.codes import CODE_MAX_BYTES, Codes
from corral.model import RevisionId

ONE, TWO = RevisionId("default/one@1"), RevisionId("default/two@1")


def test_code_is_kept_unless_it_is_too_large(tmp_path: Path) -> None:
    codes = Codes(tmp_path)
    assert codes.keep({ONE: b"marshal", TWO: b"x" * (CODE_MAX_BYTES + 1)}) == [ONE]
    assert [file.name for file in tmp_path.iterdir()] == ["default.one@1.marshal"]
    codes.forget(ONE)
    codes.forget(TWO)
    assert list(tmp_path.iterdir()) == []


def test_code_an_instance_may_be_reading_is_not_written_again(tmp_path: Path) -> None:
    codes = Codes(tmp_path)
    codes.keep({ONE: b"first"})
    assert codes.keep({ONE: b"second"}) == [ONE]
    assert (tmp_path / "default.one@1.marshal").read_bytes() == b"first"


def test_code_of_an_earlier_engine_is_not_trusted(tmp_path: Path) -> None:
    Codes(tmp_path).keep({ONE: b"first"})
    Codes(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_code_the_disk_has_no_room_for_leaves_no_part_of_it(tmp_path: Path) -> None:
    codes = Codes(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        assert codes.keep({ONE: b"12345", TWO: b"1234"}) == [TWO]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [file.name for file in tmp_path.iterdir()] == ["default.two@1.marshal"]
