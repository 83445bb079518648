"""The lines Corral's own processes write."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from corral.observe import logs

SWITCHES = ("raiseExceptions", "_srcfile", "logThreads", "logProcesses", "logMultiprocessing")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    found_out = {name: getattr(logging, name) for name in SWITCHES}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, value in found_out.items():
        setattr(logging, name, value)


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


class Writes(io.StringIO):
    """Counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.came = asyncio.Event()

    def write(self, text: str) -> int:
        self.count += 1
        self.came.set()
        return super().write(text)


def test_lines_of_a_running_loop_are_written_together() -> None:
    async def run() -> None:
        out = Writes()
        logs.set_up("engine", out)
        for number in range(100):
            logging.getLogger("x").info("instance ready", extra={"number": number})
        assert out.count == 0
        async with asyncio.timeout(5):
            await out.came.wait()
        assert (out.count, [json.loads(line)["number"] for line in out.getvalue().splitlines()]) == (1, [*range(100)])
        logging.getLogger("x").info("later")
        out.came.clear()
        async with asyncio.timeout(5):
            await out.came.wait()
        assert json.loads(out.getvalue().splitlines()[-1])["event"] == "later"

    asyncio.run(run())


def test_a_warning_does_not_wait_and_comes_after_what_was_said_before_it() -> None:
    async def run() -> None:
        out = Writes()
        logs.set_up("engine", out)
        logging.getLogger("x").info("first")
        thread = threading.Thread(target=logging.getLogger("x").warning, args=["second"])
        thread.start()
        thread.join()
        assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["first", "second"]

    asyncio.run(run())


def test_what_waits_is_written_when_the_process_ends() -> None:
    async def run() -> None:
        logs.set_up("engine", out)
        logging.getLogger("x").info("last")

    out = io.StringIO()
    asyncio.run(run())
    logging.getLogger().handlers[0].flush()
    assert json.loads(out.getvalue())["event"] == "last"


def test_a_reader_that_left_stops_nothing() -> None:
    out = io.StringIO()
    logs.set_up("engine", out)
    out.close()
    logging.getLogger("x").warning("nobody hears this")


def test_a_line_that_cannot_be_made_takes_no_other_with_it() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("no text")

    async def run() -> None:
        logs.set_up("engine", out)
        logging.getLogger("x").info("first")
        logging.getLogger("x").info(Broken())
        logging.getLogger("x").warning("last")

    out = io.StringIO()
    asyncio.run(run())
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["first", "last"]
