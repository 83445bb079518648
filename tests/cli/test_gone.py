"""A file that was removed is named, and not looked for among other people's packages."""

from pathlib import Path

import pytest

from corral.cli.dev.gone import files_of, told
from corral.errors import LoadFailed
from corral.package.bundle import pack

MISSING = "app.py line 1 imports lib.words, which is not there: a function has …; add lib to requirements.txt"


@pytest.mark.parametrize(
    ("message", "traceback", "gone", "said"),
    [
        (MISSING, "T", ["lib/words.py"], "lib/words.py is gone: app.py line 1 imports lib.words, which is not there"),
        (MISSING, "T", ["lib/words/a.py", "lib/words/b.py"],
         "lib/words/a.py and 1 more are gone: app.py line 1 imports lib.words, which is not there"),
        (MISSING, "T", ["handler.py"], MISSING),
        (MISSING, "T", [], MISSING),
        ("which file holds the function?", "", ["handler.py"], "handler.py is gone: which file holds the function?"),
        ("which file holds the function?", "", ["notes.txt"], "which file holds the function?"),
        ("app.py line 1 raised KeyError", "Trace", ["handler.py"], "app.py line 1 raised KeyError"),
    ],
)  # fmt: skip
def test_file_that_is_gone_explains_what_does_not_load(
    message: str, traceback: str, gone: list[str], said: str
) -> None:
    assert told(LoadFailed(message, traceback=traceback), gone) == said


def test_files_are_those_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/a.py").write_text("")
    assert files_of(pack(tmp_path)) == {"lib/a.py"}
