"""What a function prints and logs, a line at a time, each with the request id of the call that wrote it.

On descriptors 1 and 2 a line of a call is `\\x1e` + request id + `\\x1f` + text (docs/frame.md)."""

import concurrent.futures.thread
import contextvars
import functools
import io
import logging
import os
import sys
import threading
import traceback
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, List, Optional

from . import hints

PIPE_ATOMIC = 4096
"""A write to a pipe up to this size never mixes with another one. Longer lines are cut."""

LINE_MAX = 64 * 1024
"""Characters kept of a line that does not end."""

FOLDER = os.path.dirname(os.path.abspath(__file__))


class CallLog:
    """The call whose output this is, and the lines it has begun and not ended, by descriptor."""

    __slots__ = ("begun", "prefix")

    def __init__(self, request_id: str) -> None:
        self.prefix = b"\x1e" + request_id.encode("latin-1", "replace") + b"\x1f" if request_id else b""
        self.begun: Optional[Dict[int, str]] = None

    def flush(self) -> None:
        """At the end of a call: what has no line end yet becomes a line."""
        if self.begun:
            for fd, text in self.begun.items():
                write_lines(fd, self.prefix, [text])
            self.begun = None


_outside = CallLog("")
_current: "contextvars.ContextVar[CallLog]" = contextvars.ContextVar("corral_call", default=_outside)
enter_call = _current.set
leave_call = _current.reset


def write_lines(fd: int, prefix: bytes, lines: Iterable[str]) -> None:
    room = PIPE_ATOMIC - len(prefix) - 1
    ready: List[bytes] = []
    size = 0
    for line in lines:
        text = line.encode("utf-8", "replace").replace(b"\x1e", b"?")
        for start in range(0, len(text) or 1, room):
            piece = prefix + text[start : start + room] + b"\n"
            if size + len(piece) > PIPE_ATOMIC:
                _write(fd, b"".join(ready))
                ready, size = [], 0
            ready.append(piece)
            size += len(piece)
    _write(fd, b"".join(ready))


def _write(fd: int, block: bytes) -> None:
    while block:
        try:
            block = block[os.write(fd, block) :]
        except OSError:
            return  # the function closed the descriptor: its own wish


class Output(io.TextIOBase):
    """sys.stdout and sys.stderr: line-buffered for each call by itself, so lines of concurrent calls stay whole."""

    encoding = "utf-8"
    errors = "replace"
    line_buffering = True
    mode = "w"

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.name = "<stdout>" if fd == 1 else "<stderr>"
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        call = _current.get()
        begun = call.begun.pop(self._fd, "") if call.begun else ""
        lines = (begun + text).split("\n") if begun else text.split("\n")
        rest = lines.pop()
        if len(rest) > LINE_MAX:
            lines.append(rest)
        elif rest:
            call.begun = call.begun or {}
            call.begun[self._fd] = rest
        if lines:
            write_lines(self._fd, call.prefix, lines)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return False

    def reconfigure(self, **options: Any) -> None:
        """Accepted for programs that set an encoding; it always is UTF-8."""


class _Bytes(io.BufferedIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, text: Output) -> None:
        self._text = text

    def write(self, data: Any) -> int:
        self._text.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()


def install() -> None:
    """Once, in the zygote: its children's output, and contexts that follow calls into threads."""
    output: Any = sys
    output.stdout = output.__stdout__ = Output(1)
    output.stderr = output.__stderr__ = Output(2)
    prepare_logging()
    threading.Thread.start = _start_in_context  # type: ignore[method-assign]
    concurrent.futures.thread.ThreadPoolExecutor.submit = _submit_in_context  # type: ignore[method-assign]


_start = threading.Thread.start
_submit = concurrent.futures.thread.ThreadPoolExecutor.submit


def _start_in_context(self: threading.Thread) -> None:
    """A thread started during a call writes into the log of that call."""
    if _current.get() is not _outside:
        self.run = functools.partial(contextvars.copy_context().run, self.run)  # type: ignore[method-assign]
    _start(self)


def _submit_in_context(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Work given to a pool belongs to the call that gave it, not to the one that made the pool's thread."""
    return _submit(self, contextvars.copy_context().run, fn, *args, **kwargs)


def _handler() -> logging.Handler:
    handler = logging.StreamHandler(Output(2))
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    return handler


_root_handler = _handler()


class _Level(int):
    """A level that tells by its identity that nobody chose it."""


_INFO = _Level(logging.INFO)


def prepare_logging() -> None:
    """Once, in the zygote. Here, because each level that changes empties the caches of all loggers."""
    logging.root.setLevel(_INFO)


def configure_logging() -> None:
    """After the function's module was loaded: a root handler, or the usual level for the one the function made."""
    root = logging.root
    if not root.handlers:
        root.handlers.append(_root_handler)  # as addHandler, but for its lock, which one append does not need
    elif root.level is _INFO and _root_handler not in root.handlers:
        root.setLevel(logging.WARNING)


_PACKAGE = __name__.rpartition(".")[0] + "."


def own_traceback(exc: BaseException) -> str:
    """The traceback of `exc` as its owner wants it: beginning at the function's own code."""
    return "".join(traceback.format_exception(type(exc), exc, without_our_frames(exc.__traceback__)))


def without_our_frames(tb: Optional[TracebackType]) -> Optional[TracebackType]:
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(FOLDER):
        tb = tb.tb_next
    return tb


def write_failure(exc: BaseException) -> None:
    """The traceback into the log, under the current call. What we say of its result has none."""
    try:
        text = "corral: %s" % exc if type(exc).__module__.startswith(_PACKAGE) else own_traceback(exc)
    except Exception as second:  # an exception whose own __str__ or __repr__ raises
        text = "%s (its traceback cannot be written: %s)" % (type(exc).__name__, type(second).__name__)
    why = hints.hint(exc)
    if why:
        text = "%s\ncorral: %s" % (text.rstrip("\n"), why)
    sys.stderr.write(text if text.endswith("\n") else text + "\n")
