"""Bytes of one instance's output to lines of its function's log. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

LINE_MAX_BYTES = 16 * 1024
CUT = " [the rest of this line was left out]"
REQUEST_MAX = 128
LAST_LINES = 2000
"""Lines taken from what lies in the pipe when an instance ends: it may hold many more, all of them empty."""


class Line(NamedTuple):
    request: str
    """Empty for a line that belongs to no call."""
    text: str


class Splitter:
    """Holds the beginning of a line until its end comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._skips = False
        """The rest of a line that was cut goes by unread."""

    def feed(self, data: bytes) -> Iterator[Line]:
        *whole, rest = data.split(b"\n")
        for piece in whole:
            if self._skips:
                self._skips = False
            else:
                line = self._rest + piece
                yield parse(line[:LINE_MAX_BYTES], is_cut=len(line) > LINE_MAX_BYTES)
            self._rest = b""
        if self._skips:
            return
        self._rest += rest
        if len(self._rest) > LINE_MAX_BYTES:
            yield parse(self._rest[:LINE_MAX_BYTES], is_cut=True)
            self._rest = b""
            self._skips = True

    def finish(self, data: bytes) -> Iterator[Line]:
        """The last bytes of an instance; a line without an end counts. The last LAST_LINES are kept."""
        data = data.removesuffix(b"\n") + b"\n" if data or self._rest else b""
        start = _start_of_last(LAST_LINES, data)
        if start:
            # Not parsed: a full pipe may hold a million lines, and nobody waits for so many.
            left_out = data.count(b"\n", 0, start)
            yield Line("", f"corral: {left_out} lines were left out here")
            self._rest, self._skips = b"", False
        yield from self.feed(data[start:])


def _start_of_last(count: int, data: bytes) -> int:
    """Where the last `count` lines begin; 0 when there are no more than that."""
    end = len(data)
    for _ in range(count + 1):
        end = data.rfind(b"\n", 0, end)
        if end < 0:
            return 0
    return end + 1


def parse(line: bytes, is_cut: bool = False) -> Line:
    """A line with its tag (docs/frame.md): `\\x1e` request `\\x1f` text. What is no proper tag is text."""
    request = ""
    if line.startswith(b"\x1e"):
        tag, separator, _ = line[1 : REQUEST_MAX + 2].partition(b"\x1f")
        if separator and all(33 <= byte <= 126 for byte in tag):
            request, line = tag.decode("ascii"), line[len(tag) + 2 :]
    return Line(request, line.rstrip(b"\r").decode("utf-8", "replace") + (CUT if is_cut else ""))
