"""Files that are there whole or not at all."""

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from corral.errors import Invalid


def check_places(paths: list[Path]) -> None:
    """Raises Invalid with each place where no file can be written: better before an hour's race than after."""
    problems = []
    for path in paths:
        if path.is_dir():
            problems.append(f"{path} is a folder, must be the name of a file")
        elif not _may_be_replaced(path):
            problems.append(
                f"{path} is a link or a device, must be an ordinary file or not there: it would be replaced"
            )
        elif not path.parent.is_dir():
            problems.append(f"{path}: there is no folder {path.parent}")
        elif not os.access(path.parent, os.W_OK):
            problems.append(f"{path}: the folder {path.parent} may not be written to")
    doubled = {str(path) for path in paths if paths.count(path) > 1}
    problems.extend(f"{path} is named for two files, must be for one" for path in sorted(doubled))
    if problems:
        raise Invalid(*problems)


def _may_be_replaced(path: Path) -> bool:
    """A renamed draft takes the place of whatever bears the name: of /dev/stdout itself, not of what it stands for."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return True


def write_whole(texts: Mapping[Path, str]) -> None:
    """Every text is on the disk before the first takes its place, so one that finds it full leaves all as it was.
    Raises Invalid."""
    drafts: dict[Path, Path] = {}
    path = Path()
    try:
        for path, text in texts.items():
            drafts[path] = _draft(path, text)
        for path, draft in drafts.items():
            draft.replace(path)
    except OSError as exc:
        raise Invalid(f"{path} cannot be written: {exc.strerror}") from exc
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _draft(path: Path, text: str) -> Path:
    """Beside its place, so that it can be renamed."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with open(number, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        # As any other new file of this user; mkstemp's is for him alone.
        mask = os.umask(0)
        os.umask(mask)
        draft.chmod(0o666 & ~mask)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft
