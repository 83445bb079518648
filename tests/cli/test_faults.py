"""Faults as a person reads them: nothing comes twice."""

import pytest

from corral.cli.faults import lines_of
from corral.errors import BuildFailed, CorralError, Invalid, LoadFailed

BEGINNING = "the dependencies of requirements.txt could not be installed: the installer ended with status 1: "
OUTPUT = "Using CPython\nerror: Failed to build `x`\n  cause: it is old\n\n    more of it\n"
FRAMED = "Using CPython\n  × No solution found:\n  ╰─▶ Because x was not found.\n"


@pytest.mark.parametrize(
    ("fault", "lines"),
    [
        (Invalid("one", "two"), ["corral: one", "corral: two"]),
        (CorralError(""), ["corral: CorralError"]),
        (LoadFailed("no", traceback="Trace\n  line\n"), ["corral: no", "Trace", "  line"]),
        (BuildFailed(BEGINNING + "Failed to build `x`: it is old more of it\nand a hint", output=OUTPUT),
         [f"corral: {BEGINNING}Failed to build `x`", "corral: and a hint", "  cause: it is old", "", "    more of it"]),
        (BuildFailed(BEGINNING + "No solution found: Because x was not found.", output=FRAMED),
         [f"corral: {BEGINNING}No solution found:", "  ╰─▶ Because x was not found."]),
        (BuildFailed("functions.a: Failed to build `x`: it is old\nfunctions.b: Failed",
                     output="error: Failed to build `x`\n"),
         ["corral: functions.a: Failed to build `x`: it is old", "corral: functions.b: Failed",
          "error: Failed to build `x`"]),
        (BuildFailed("it was not done after 300 s", output="Using CPython\n"),
         ["corral: it was not done after 300 s", "Using CPython"]),
    ],
)  # fmt: skip
def test_what_went_wrong_is_said_once(fault: CorralError, lines: list[str]) -> None:
    assert list(lines_of(fault)) == lines
