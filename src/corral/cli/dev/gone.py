"""Why code does not load, told by the files there were before: one that was removed is no missing dependency."""

import io
import re
import tarfile
from collections.abc import Collection

from corral.errors import LoadFailed

IMPORTED = re.compile(r" imports (\S+), which is not there")


def files_of(package: bytes) -> frozenset[str]:
    """Of a tar."""
    with tarfile.open(fileobj=io.BytesIO(package)) as tar:
        return frozenset(tar.getnames())


def told(fault: LoadFailed, gone: Collection[str]) -> str:
    """The fault's sentence, beginning with the file that explains it; `gone` are those that the function had when it
    last loaded and has no more."""
    imported = IMPORTED.search(fault.message)
    if imported is not None:
        path = imported[1].replace(".", "/")
        found = [file for file in gone if file == f"{path}.py" or file.startswith(f"{path}/")]
        # Not what follows: to look for it among other people's packages is the wrong advice here.
        return f"{_listed(found)}: {fault.message[: imported.end()]}" if found else fault.message
    # Without a traceback no code ran: it was not found.
    code = [file for file in gone if file.endswith(".py")]
    return f"{_listed(code)}: {fault.message}" if code and not fault.traceback else fault.message


def _listed(files: Collection[str]) -> str:
    first, *others = sorted(files)
    return f"{first} and {len(others)} more are gone" if others else f"{first} is gone"
