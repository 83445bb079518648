"""What bench hears from `corral dev`, with the test at the other end of the pipe."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corral.bench.command import CommandFailed
from corral.bench.reload import Session


@contextmanager
def session(folder: Path, *lines: str) -> Iterator[Session]:
    """One whose `corral dev` has said these lines and ended."""
    ours, theirs = os.pipe()
    os.write(theirs, "".join(line + "\n" for line in lines).encode())
    os.close(theirs)
    try:
        yield Session(ours, folder, "import json\n")
    finally:
        os.close(ours)


def test_other_events_go_by_until_the_save_serves(tmp_path: Path) -> None:
    said = ('{"event": "serving", "url": "http://h"}', '{"event": "loaded", "url": "http://h/function/a"}')
    with session(tmp_path, *said) as heard:
        assert heard.await_loaded(5.0).url == "http://h/function/a"


def test_a_refused_save_ends_the_row_with_its_words(tmp_path: Path) -> None:
    with (
        session(tmp_path, '{"event": "refused", "error": "app.py line 1"}') as heard,
        pytest.raises(CommandFailed, match=r"refused what bench saved: app.py line 1"),
    ):
        heard.await_loaded(5.0)


def test_a_session_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    with session(tmp_path) as heard, pytest.raises(CommandFailed, match="told of no reload"):
        heard.await_loaded(5.0)


def test_each_save_is_another_version_of_the_same_imports(tmp_path: Path) -> None:
    with session(tmp_path) as heard:
        heard.save(1)
        first = (tmp_path / "app.py").read_text()
        heard.save(2)
    assert first.startswith("import json\n")
    assert (tmp_path / "app.py").read_text() == first.replace("VERSION = 1", "VERSION = 2") != first
