"""Rows of a CSV file, read one at a time; every fault names the file, the line and the column."""

import csv
import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from corral.errors import Invalid

MEMORY_PER_BYTE = 2
"""What a trace takes in memory at most, for each byte of its files: a count of one digit and its comma become four
bytes, and the busiest line is held as text besides."""
COUNT_MAX = 10_000_000
"""Calls of a function in a minute: all moments of one minute are drawn before the first."""
MEMINFO = Path("/proc/meminfo")


class Row:
    """One line. Columns are asked for by name."""

    __slots__ = ("_cells", "_table")

    def __init__(self, table: "Table", cells: Sequence[str]) -> None:
        self._table, self._cells = table, cells

    def text(self, column: str) -> str:
        return self._cells[self._table.at[column]]

    def amount(self, column: str, most: float) -> float:
        """A number between 0 and `most`."""
        said = self.text(column)
        try:
            number = float(said)
        except ValueError:
            number = -1.0
        if not 0 <= number <= most:
            raise self.fault(column, f"{_short(said)}, must be a number between 0 and {most:.15g}")
        return number

    def counts(self, first: int) -> list[int]:
        """All columns from the one at `first` on, at least one: whole numbers that are not negative."""
        try:
            numbers = list(map(int, self._cells[first:]))
        except ValueError:
            numbers = []
        if numbers and min(numbers) >= 0 and max(numbers) <= COUNT_MAX:
            return numbers
        at, said = next((at, said) for at, said in enumerate(self._cells) if at >= first and not _is_count(said))
        column = self._table.columns[at]
        raise self.fault(column, f"{_short(said)}, must be a whole number between 0 and {COUNT_MAX}")

    def fault(self, column: str, problem: str) -> Invalid:
        return Invalid(f"{self._table.path} line {self._table.line}, column {column}: {problem}")


class Table:
    """A CSV file with a header."""

    def __init__(self, path: Path, needs: Sequence[str]) -> None:
        """Raises Invalid: it cannot be read, or its header lacks one of `needs`."""
        self.path, self.line = path, 1
        with _readable(path), path.open(newline="", encoding="utf-8") as file:
            self.columns: Sequence[str] = [name.strip() for name in next(csv.reader(file), [])]
        self.at = {name: number for number, name in enumerate(self.columns)}
        lacking = [name for name in needs if name not in self.at]
        if lacking:
            found = ", ".join(self.columns[:8]) or "nothing"
            raise Invalid(f"{path} line 1: column {lacking[0]} is missing; found: {_short(found, 200)}")

    def __iter__(self) -> Iterator[Row]:
        """Raises Invalid when a line has too few or too many cells: the file was cut off, or is another format."""
        with _readable(self.path), self.path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            next(lines)
            for cells in lines:
                self.line = lines.line_num
                if len(cells) != len(self.columns):
                    raise self._uneven(cells)
                yield Row(self, cells)

    def is_empty(self, noun: str) -> Invalid:
        return Invalid(f"{self.path} line 2: the file ends after its header, must have a line for each {noun}")

    def _uneven(self, cells: Sequence[str]) -> Invalid:
        where = f"{self.path} line {self.line}"
        if len(cells) > len(self.columns):
            return Invalid(f"{where}: {len(cells)} columns, must be {len(self.columns)} as in its header")
        column = self.columns[len(cells)]
        return Invalid(
            f"{where}, column {column}: missing, as the line has {len(cells)} of {len(self.columns)}: cut off?"
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise Invalid(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise Invalid(f"{path} is not text in UTF-8: it has a byte {exc.object[exc.start]:#x} ({exc.reason})") from exc
    except csv.Error as exc:
        raise Invalid(f"{path} is no CSV file: {exc}") from exc


def first_line(path: Path) -> str:
    """At most its first 1,000 characters, without the line's end. Raises Invalid."""
    with _readable(path), path.open(encoding="utf-8") as file:
        return file.readline(1000).rstrip("\n")


def sha256_of(path: Path) -> str:
    """Hex. Raises Invalid."""
    with _readable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_memory(paths: Sequence[Path], free: float | None = None) -> None:
    """Raises Invalid when reading the files would take more memory than is free; `free`, MiB; None: what the machine
    says."""
    free = free_mib() if free is None else free
    try:
        needed = MEMORY_PER_BYTE * sum(path.stat().st_size for path in paths) / 2**20
    except OSError as exc:
        raise Invalid(f"{exc.filename} cannot be read: {exc.strerror}") from exc
    if needed > free:
        named = ", ".join(map(str, paths))
        raise Invalid(
            f"{named}: reading takes about {needed:.0f} MiB of memory, {free:.0f} MiB are free: cut the file to fewer "
            "functions or minutes"
        )


def free_mib() -> float:
    """Infinite where the system does not say."""
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return math.inf


def _is_count(said: str) -> bool:
    try:
        return 0 <= int(said) <= COUNT_MAX
    except ValueError:
        return False


def _short(text: str, most: int = 40) -> str:
    return repr(text if len(text) <= most else text[:most] + "…")
