"""The lines Corral's own processes write."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from corral.observe import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)


def test_a_terminal_shows_a_readable_line() -> None:
    out = Terminal()
    logs.set_up("engine", out)
    logging.getLogger("x").info("instance ready", extra={"revision": "default/hello@1", "cold_start_s": 0.0051234})
    line = out.getvalue()
    assert line[8:] == " engine   instance ready revision=default/hello@1 cold_start_s=0.0051234\n"


def test_elsewhere_a_line_is_json() -> None:
    out = io.StringIO()
    logs.set_up("keeper", out)
    logging.getLogger("x").warning("zygote ended", extra={"runtime": "python3", "detail": "signal 9"})
    line = json.loads(out.getvalue())
    assert line.pop("at") > 0
    assert line == {
        "process": "keeper", "level": "warning", "event": "zygote ended", "runtime": "python3", "detail": "signal 9",
    }  # fmt: skip


def test_what_a_function_says_cannot_forge_a_line_or_colour_the_terminal() -> None:
    out = Terminal()
    logs.set_up("engine", out)
    logging.getLogger("x").info("instance failed", extra={"why": "bad\n12:00:00 engine all is well\x1b[31m"})
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()


def test_an_exception_comes_with_its_traceback() -> None:
    out = io.StringIO()
    logs.set_up("engine", out)
    try:
        raise ValueError("seven")
    except ValueError:
        logging.getLogger("x").exception("request failed")
    assert "ValueError: seven" in json.loads(out.getvalue())["exception"]
