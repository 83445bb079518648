"""Tracebacks cut to the developer's own files."""

from pathlib import Path

from corral.cli.dev.traces import localised, own_frames

TRACEBACK = """Traceback (most recent call last):
  File "/function/app.py", line 3, in <module>
    table = load("x")
            ^^^^^^^^^
  File "/layer/pandas/io/common.py", line 10, in load
    raise KeyError(name)
KeyError: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/data/packages/default/%s/lib/a.py", line 7, in read
    raise ValueError("no table") from exc
ValueError: no table
""" % ("a1" * 32)


def test_only_own_frames_are_left_each_with_its_source(tmp_path: Path) -> None:
    assert own_frames(TRACEBACK, tmp_path) == [
        f"{tmp_path}/app.py:3",
        '    table = load("x")',
        "            ^^^^^^^^^",
        "KeyError: 'x'",
        "The above exception was the direct cause of the following exception:",
        f"{tmp_path}/lib/a.py:7, in read",
        '    raise ValueError("no table") from exc',
    ]


def test_file_that_was_deployed_alone_has_its_own_name(tmp_path: Path) -> None:
    file = tmp_path / "hello.py"
    file.touch()
    trace = 'Traceback (most recent call last):\n  File "/function/hello.py", line 1\n    retur 1\nSyntaxError: no\n'
    assert own_frames(trace, file) == [f"{file}:1", "    retur 1"]


def test_lines_of_a_log_name_the_file_and_others_stay(tmp_path: Path) -> None:
    named = f'  File "{tmp_path}/app.py", line 3, in <module>'
    assert localised('  File "/function/app.py", line 3, in <module>', tmp_path) == named
    for line in ("/function/app.py is mine", '  File "/usr/lib/python3.11/json.py", line 3', ""):
        assert localised(line, tmp_path) == line
