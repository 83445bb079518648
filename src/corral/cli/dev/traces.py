"""Tracebacks as the developer wants them: their own files, by the paths they know, with the source lines."""

import re
from pathlib import Path

FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<where>.+))?\Z')
INSIDE = re.compile(r"(?:/function|.*/packages/[^/]+/[0-9a-f]{64})/(?P<inside>.+)\Z")
"""Where a package lies in a sandbox, or on a server without one."""
HEADLINE = "Traceback (most recent call last):"


def own_frames(traceback: str, code: Path) -> list[str]:
    """The lines of `traceback` that are about files of `code`, the file or folder that was deployed: `file:line`,
    which terminals and editors make a link of, and the source line under it. Without the last line, which says what
    the fault's own sentence says."""
    shown: list[str] = []
    is_ours = True
    for line in traceback.rstrip().splitlines()[:-1]:
        frame = FRAME.match(line)
        if frame is not None:
            inside = INSIDE.match(frame["file"])
            is_ours = inside is not None
            if inside is not None:
                where = f", in {frame['where']}" if frame["where"] and frame["where"] != "<module>" else ""
                shown.append(f"{local(inside['inside'], code)}:{frame['line']}{where}")
        elif not line.startswith(" "):
            is_ours = True
            if line and line != HEADLINE:
                shown.append(line)
        elif is_ours:
            shown.append(line)
    return shown


def localised(line: str, code: Path) -> str:
    """A line of a log, in which a frame names the developer's file."""
    frame = FRAME.match(line)
    inside = frame and INSIDE.match(frame["file"])
    return line.replace(frame["file"], str(local(inside["inside"], code))) if frame and inside else line


def local(inside: str, code: Path) -> Path:
    return code / inside if code.is_dir() else code
