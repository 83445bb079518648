"""What installers write: its essence in a sentence, its end kept, and no password in it."""

import os
from pathlib import Path

import pytest

from corral.keeper.buildlog import KEPT_MAX_BYTES, LOGS_MAX, BuildLogs, Transcript
from corral.model import FunctionKey

KEY = FunctionKey("team/report")

ESSENTIAL = {
    "an error": ("Using CPython\nerror: Distribution not found at: x\n", "Distribution not found at: x"),
    "with causes": ("error: Failed\n  Caused by: no route\n", "Failed Caused by: no route"),
    "with a cause": ("error: Failed\n  cause: no route\n", "Failed: no route"),
    "in a frame": (
        "Using CPython\n  × No solution found when resolving dependencies:\n"
        "  ╰─▶ Because nosuch was not found in the package registry and you require\n      nosuch, we can conclude.\n",
        "No solution found when resolving dependencies: Because nosuch was not found in the package registry and you "
        "require nosuch, we can conclude.",
    ),
    "at the beginning": ("  × Failed to build\n  │ exit status 1\n", "Failed to build exit status 1"),
    "the last of several": ("error: one\nerror: two\n", "two"),
    "none": ("Installed 3 packages\n", ""),
    "nothing": ("", ""),
}


def transcript(text: str) -> Transcript:
    made = Transcript()
    made.add(text.encode())
    return made


@pytest.mark.parametrize("case", ESSENTIAL)
def test_the_essence_is_one_line(case: str) -> None:
    text, essence = ESSENTIAL[case]
    assert transcript(text).essential() == essence


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("yaml", "the package that is imported as yaml is PyYAML"),
        ("pil", "the package that is imported as pil is Pillow"),
        ("nosuch", ""),
    ],
)
def test_a_name_that_is_only_imported_so_has_its_package_named(name: str, meant: str) -> None:
    text = f"error: No solution found\n  cause: Because {name} was not found in the package registry and you require it"
    assert transcript(text).meant() == meant


def test_the_end_of_a_long_output_is_kept_and_says_that_it_was_cut() -> None:
    made = Transcript()
    for number in range(20_000):
        made.add(f"line {number} {'x' * 50}\n".encode())
    text = made.text()
    assert text.startswith("…\n") and "line 19999" in text
    assert len(text) <= KEPT_MAX_BYTES + 2
    assert made.last(2).splitlines()[-1].startswith("line 19999")


def test_a_terminal_may_show_it() -> None:
    assert transcript("\x1b[31mred\x1b[0m \x07bell\r\n\x9b2J").text() == "red bell\n2J"


def test_a_log_is_written_without_passwords_and_forgotten_with_its_function(tmp_path: Path) -> None:
    (tmp_path / "builds").mkdir()
    logs = BuildLogs(tmp_path, None, ["s3cr3t", "s3cr3t-and-more", ""])
    logs.write(KEY, transcript("fetched https://me:s3cr3t-and-more@index and s3cr3t\n"), "it failed")
    file = tmp_path / "builds/team/report.log"
    assert file.read_text().splitlines()[1:] == ["fetched https://me:****@index and ****", "it failed"]
    logs.write(KEY, transcript(""), "")
    assert file.read_text().splitlines()[1:] == ["installed"], "the last one alone"
    logs.forget(KEY)
    logs.forget(KEY)
    assert not file.exists()


def test_only_the_newest_of_many_logs_stay(tmp_path: Path) -> None:
    (tmp_path / "builds/team").mkdir(parents=True)
    for number in range(LOGS_MAX):
        file = tmp_path / f"builds/team/f{number}.log"
        file.touch()
        os.utime(file, (number, number))
    BuildLogs(tmp_path, None, []).write(KEY, transcript(""), "")
    left = {path.name for path in (tmp_path / "builds/team").iterdir()}
    assert len(left) == LOGS_MAX and "report.log" in left and "f0.log" not in left and "f1.log" in left
