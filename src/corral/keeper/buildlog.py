"""What installers wrote: DATA/builds/NAMESPACE/NAME.log, the last installation for each function. The index's passwords
are taken out of it."""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from corral.keeper.homes import open_home
from corral.model import FunctionKey
from corral.runtimes.python.hints import PACKAGE_BY_MODULE

KEPT_MAX_BYTES = 256 * 1024
"""Of one installation, its end: the beginning of a long one is of no use."""
SENTENCE_MAX = 500
LOGS_MAX = 1000
"""Of a namespace: a function whose first installation failed never came to be, and nobody deletes it."""
HIDDEN = "****"
_FRAME = re.compile(r"^[\s│╰├─▶×┆]+", re.MULTILINE)
_NOT_FOUND = re.compile(r"Because (\S+) was not found in")
_MEANT = {module.lower(): package for module, package in PACKAGE_BY_MODULE.items()}
"""As the installer spells names."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Transcript:
    """Bounded; added to by one thread."""

    def __init__(self) -> None:
        self._parts = bytearray()
        self._is_cut = False

    def add(self, data: bytes) -> None:
        self._parts += data
        if len(self._parts) > 2 * KEPT_MAX_BYTES:
            del self._parts[:-KEPT_MAX_BYTES]
            self._is_cut = True

    def text(self) -> str:
        """Without control characters: a terminal may show it."""
        kept = bytes(self._parts[-KEPT_MAX_BYTES:])
        is_cut = self._is_cut or len(kept) < len(self._parts)
        return ("…\n" if is_cut else "") + _CONTROL.sub("", kept.decode(errors="replace"))

    def last(self, lines: int) -> str:
        return "\n".join(self.text().splitlines()[-lines:])[-8192:]

    def essential(self) -> str:
        """The installer's own reason in one line: from its last `error:` or `×` on; empty: it gave none."""
        text = self.text()
        begin = max(text.rfind("\nerror:"), text.rfind("\n  × "), text.rfind("  × ") if text.startswith("  × ") else -1)
        if begin < 0 and not text.startswith("error:"):
            return ""
        lines = _FRAME.sub("", text[max(begin, 0) :]).split()
        return " ".join(lines).removeprefix("error: ").replace(" cause: ", ": ")[:SENTENCE_MAX]

    def meant(self) -> str:
        """A sentence about a name that nobody has in the index, when it is what another package is imported as; else
        empty."""
        missing = _NOT_FOUND.search(self.text())
        package = _MEANT.get(missing[1]) if missing else None
        return f"the package that is imported as {missing[1]} is {package}" if missing and package else ""


class BuildLogs:
    def __init__(self, data: Path, reader_gid: int | None, secrets: Sequence[str]) -> None:
        """`reader_gid`: the group that may read; None: only ourselves. `secrets` are never written."""
        self._home = data / "builds"
        self._reader_gid = reader_gid
        self._secrets = sorted((each for each in secrets if each), key=len, reverse=True)

    def without_secrets(self, text: str) -> str:
        for each in self._secrets:
            text = text.replace(each, HIDDEN)
        return text

    def write(self, key: FunctionKey, transcript: Transcript, error: str) -> None:
        """`error` ends it; empty: it was installed. Raises OSError when the disk refuses."""
        namespace, name = key.split("/")
        moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        text = f"{moment}\n{self.without_secrets(transcript.text())}{error or 'installed'}\n"
        with open_home(self._home, namespace, 0o750, self._reader_gid) as folder:
            incoming = f".incoming-{secrets.token_hex(8)}"
            fd = os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
            with open(fd, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
                if self._reader_gid is not None:
                    os.fchown(fd, -1, self._reader_gid)
                    os.fchmod(fd, 0o640)
            os.rename(incoming, f"{name}.log", src_dir_fd=folder, dst_dir_fd=folder)
            _thin_out(folder)

    def forget(self, key: FunctionKey) -> None:
        """The function was deleted."""
        namespace, name = key.split("/")
        with contextlib.suppress(OSError), open_home(self._home, namespace, 0o750, self._reader_gid) as folder:
            os.unlink(f"{name}.log", dir_fd=folder)


def _thin_out(folder: int) -> None:
    """The oldest go."""
    names = os.listdir(folder)
    if len(names) <= LOGS_MAX:
        return
    names.sort(key=lambda name: os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime)
    for name in names[: len(names) - LOGS_MAX]:
        os.unlink(name, dir_fd=folder)
