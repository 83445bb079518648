"""DATA/code: the marshalled entry modules that instances handed out on their first load."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from corral.model import RevisionId, code_name

CODE_MAX_BYTES = 64 * 1024

log = logging.getLogger("corral.engine.codes")


class Codes:
    """Blocking. Emptied at start: marshalled code belongs to the very interpreter that made it, which may have been
    replaced while no engine ran. The first instance of each revision makes it anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for file in folder.iterdir():
            file.unlink()

    def keep(self, codes: Mapping[RevisionId, bytes]) -> Sequence[RevisionId]:
        """Those that are on disk now. Too large ones are not worth it. What is there already stays as it is: an
        instance that starts may be reading it."""
        kept = []
        for revision, code in codes.items():
            if len(code) > CODE_MAX_BYTES:
                continue
            try:
                self._write(revision, code)
            except FileExistsError:
                pass
            except OSError as exc:
                log.warning("marshalled code not kept", extra={"revision": revision, "why": str(exc)})
                self.forget(revision)
                continue
            kept.append(revision)
        return kept

    def _write(self, revision: RevisionId, code: bytes) -> None:
        """Nobody is told of the file before it is whole, so it needs no second name on its way; and what is lost in a
        crash is made anew, so nobody waits for the disk."""
        fd = os.open(self._folder / code_name(revision), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, code) != len(code):
                raise OSError("the disk is full")
        finally:
            os.close(fd)

    def forget(self, revision: RevisionId) -> None:
        (self._folder / code_name(revision)).unlink(missing_ok=True)
