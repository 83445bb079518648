"""What a developer reads."""

import time

import click
import msgspec
import pytest

from corral.cli.dev.events import Called, Event, Installing, Loaded, Logged, Refused, Removed, Serving
from corral.cli.dev.terminal import JsonLines, Terminal

AT = time.mktime((2026, 11, 23, 14, 3, 30, 0, 0, -1))
LOADED = Loaded(at=AT, function="hello", url="http://h/function/hello", style="handler", revision=1, took_ms=42.4)
CALLED = Called(
    at=AT, function="hello", request="1b9065defe8b-000060", method="GET", path="/?a=1", status=200, took_ms=2.14
)  # fmt: skip

ROWS: list[tuple[Event, str]] = [
    (Serving(at=AT, url="http://h"), "corral dev serves at http://h until Ctrl-C\n"),
    (LOADED, "14:03:30 hello reloaded in 42 ms (handler)\n"),
    (Installing(at=AT, packages="2 packages"), "14:03:30 installing 2 packages and what they need …\n"),
    (
        Refused(at=AT, function="hello", error="one\ntwo", trace=["a.py:3", "    x"], serving=4),
        "14:03:30 hello not loaded: one\n         two\n         a.py:3\n             x\n"
        "         revision 4, the last that loaded, goes on serving\n",
    ),
    (Refused(at=AT, error="no such path"), "14:03:30 not loaded: no such path\n"),
    (Removed(at=AT, function="hello"), "14:03:30 hello removed\n"),
    (Logged(at=AT, function="hello", request="1b9065defe8b-000060", line="hi"), "14:03:30 hello 000060 | hi\n"),
    (Logged(at=AT, function="hello", request="", line="hi"), "14:03:30 hello -      | hi\n"),
    (CALLED, "14:03:30 hello 000060 GET /?a=1 200 in 2.1 ms\n"),
]


@pytest.mark.parametrize(("event", "said"), ROWS, ids=lambda each: type(each).__name__)
def test_event_is_told_in_words(capsys: pytest.CaptureFixture[str], event: Event, said: str) -> None:
    Terminal().tell(event)
    assert click.unstyle(capsys.readouterr().out) == said


@pytest.mark.parametrize(
    ("is_private", "call"), [(False, "curl http://h/function/hello"), (True, "corral invoke hello --url http://h")]
)
def test_first_load_shows_how_to_call(capsys: pytest.CaptureFixture[str], is_private: bool, call: str) -> None:
    Terminal().tell(msgspec.structs.replace(LOADED, is_first=True, is_private=is_private))
    said = click.unstyle(capsys.readouterr().out)
    assert said == f"14:03:30 hello loaded in 42 ms (handler)\n         {call}\n"


def test_names_of_several_functions_are_as_wide_as_the_widest(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    for name in ("hello", "a", "statistics", "page"):
        terminal.tell(Loaded(at=AT, function=name, url="", style="main", revision=1, took_ms=1.0))
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert lines[1] == "14:03:30 a     reloaded in 1 ms (main)"
    assert lines[3] == "14:03:30 page       reloaded in 1 ms (main)"


def test_program_gets_an_event_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    JsonLines().tell(Removed(at=1.5, function="hello"))
    assert capsys.readouterr().out == '{"event":"removed","at":1.5,"function":"hello"}\n'
