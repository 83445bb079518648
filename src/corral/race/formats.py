"""Every format of traces. A new one is a row here."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from corral.errors import Invalid
from corral.race.azure2019 import KEY, read_2019, read_invocations
from corral.race.azure2021 import COLUMNS, read_2021
from corral.race.recording import BEGINS, is_recording, read_recording
from corral.race.rows import first_line
from corral.race.trace import Trace


class Format(msgspec.Struct, frozen=True):
    title: str
    begins: str
    """How the first line of its file begins."""
    read: Callable[[Path], Trace]


FORMATS = (
    Format("invocations.csv of Azure Functions 2019", ",".join(KEY), read_invocations),
    Format("Azure Functions 2021", ",".join(COLUMNS), read_2021),
    Format("a recording by corral record, packed or not", BEGINS, read_recording),
)
"""Of single files. A folder is Azure Functions 2019."""


def read_trace(path: Path) -> Trace:
    """Raises Invalid, with file, line and column of what is wrong."""
    if path.is_dir():
        return read_2019(path)
    if is_recording(path):
        return read_recording(path)  # a packed one has no first line
    begins = first_line(path)
    for each in FORMATS:
        if begins.startswith(each.begins):
            return each.read(path)
    known = "; ".join(f"{each.title} ({each.begins}…)" for each in FORMATS)
    raise Invalid(f"{path} line 1: {begins[:60]!r} begins no trace that is known, must be one of: {known}")
