"""How `describe` tells what the server knows of a function."""

from typing import Any

import pytest

from corral.cli.functions import _exit, _print_decisions, _zygote

STRICT = "none: keeper.isolation = strict, so every instance loads its code by itself"


def rank(state: str) -> dict[str, Any]:
    return {"state": state, "memory_mib": 47, "saves_s": 0.4799, "value": 0.0102}


@pytest.mark.parametrize(
    ("said", "known", "sentence"),
    [
        (None, None, ""),
        ("kept: it saves 2 ms a start", rank("kept"), "kept: it holds 47 MiB and saves 479.9 ms a start"),
        (None, rank("due"), "wanted: it would save 479.9 ms a start, and is raised when there is room for it"),
        ("kept: it saves 2 ms a start", rank("none"), "none: it would save 479.9 ms a start"),
        ("none: it left 1 thread", rank("none"), "none: it left 1 thread"),
        ("none: that of revision 1 left a thread", rank("kept"), "kept: it holds 47 MiB and saves 479.9 ms a start"),
        (STRICT, rank("none"), STRICT),
    ],
)
def test_zygote_is_told_in_one_sentence(said: str | None, known: dict[str, Any] | None, sentence: str) -> None:
    assert _zygote({"zygote": said, "zygote_rank": known}) == sentence


@pytest.mark.parametrize(
    ("cause", "detail", "said"),
    [
        ("removed", "ended by Corral: removed", "ended by Corral: removed"),
        ("out of memory", "used more than its 64 MiB", "out of memory: used more than its 64 MiB"),
    ],
)
def test_cause_of_an_exit_is_said_once(cause: str, detail: str, said: str) -> None:
    assert _exit({"instance": "i-1", "cause": cause, "detail": detail}).endswith(f" i-1 {said}")


@pytest.mark.parametrize(("numbers", "column"), [([3, 3], False), ([3, 4], True)])
def test_decisions_of_several_revisions_name_the_revision(
    capsys: pytest.CaptureFixture[str], numbers: list[int], column: bool
) -> None:
    decision = {"at": 0.0, "desired": 1, "have": 0, "inputs": {"waiting": 2.0}, "why": "one waits"}
    _print_decisions([decision | {"number": number} for number in numbers])
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert ("REVISION" in head) == column
    assert not column or [row[1] for row in rows] == ["3", "4"]
