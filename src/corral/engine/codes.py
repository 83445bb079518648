"""DATA/code: the marshalled entry modules that instances handed out on their first load."""

import os
from pathlib import Path

from corral.model import RevisionId, code_name

CODE_MAX_BYTES = 64 * 1024


class Codes:
    """Blocking; called in a thread. Emptied at start: marshalled code belongs to the very interpreter that made it,
    which may have been replaced while no engine ran. The first instance of each revision makes it anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for file in folder.iterdir():
            file.unlink()

    def keep(self, revision: RevisionId, code: bytes) -> bool:
        """At once or not at all; False: too large to be worth it."""
        if len(code) > CODE_MAX_BYTES:
            return False
        place = self._folder / code_name(revision)
        fresh = place.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(code)
            os.fchmod(file.fileno(), 0o644)
        fresh.replace(place)
        return True

    def forget(self, revision: RevisionId) -> None:
        (self._folder / code_name(revision)).unlink(missing_ok=True)
