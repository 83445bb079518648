"""What Corral's own processes say: events with fields. A readable line on a terminal, JSON elsewhere.

log.info("instance ready", extra={"revision": revision, "instance": instance})"""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import msgspec

OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
"""What logging itself puts on every record; anything else came with `extra`."""
HELD_S = 0.1
"""How long a line may wait for its neighbours."""


def set_up(process: str, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """At the start of a process called `process`: all records go to `stream` (None: stderr)."""
    out = sys.stderr if stream is None else stream
    handler = Gathering(out)
    handler.setFormatter(Readable(process) if out.isatty() else Json(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Its lines tell of connections, of which there are too many.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.raiseExceptions = False
    # Nothing of this is in our lines, and finding it out takes longer than writing them.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in OWN_FIELDS}


class Gathering(logging.Handler):
    """Where an event loop runs, lines are made and go out together, HELD_S late at most: there may be hundreds a
    second, while calls wait. Warnings go out at once, with what waits before them."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out
        self._records: list[logging.LogRecord] = []
        self._is_due = False
        """Whether the loop comes by to write."""

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)
        if record.levelno >= logging.WARNING or not self._is_written_later():
            self.flush()

    def _is_written_later(self) -> bool:
        if not self._is_due:
            with contextlib.suppress(RuntimeError):  # no loop runs in this thread
                asyncio.get_running_loop().call_later(HELD_S, self._write_due)
                self._is_due = True
        return self._is_due

    def _write_due(self) -> None:
        self._is_due = False
        self.flush()

    def flush(self) -> None:
        """Also called when the process ends."""
        self.acquire()
        try:
            records, self._records = self._records, []
            lines = [self._line(record) for record in records]
            if lines:
                self._out.write("".join(lines))
                self._out.flush()
        except (OSError, ValueError):
            pass  # Nobody reads any more.
        finally:
            self.release()

    def _line(self, record: logging.LogRecord) -> str:
        """Empty when the record cannot be shown: that is its own loss alone."""
        try:
            return f"{self.format(record)}\n"
        except Exception:
            self.handleError(record)
            return ""


class Readable(logging.Formatter):
    """`12:30:01 engine   instance ready revision=default/hello@1`"""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        fields = "".join(f" {name}={_shown(value)}" for name, value in fields_of(record).items())
        line = f"{moment} {self._process:8} {level}{_one_line(record.getMessage())}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class Json(logging.Formatter):
    """One object a line: `at`, `process`, `level`, `event`, then the fields."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": round(record.created, 3),
            "process": self._process,
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def _shown(value: object) -> str:
    text = _one_line(f"{value:.6g}" if isinstance(value, float) else str(value))
    return f'"{text}"' if " " in text else text


def _one_line(text: str) -> str:
    """Without what could forge a line or colour the terminal."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
