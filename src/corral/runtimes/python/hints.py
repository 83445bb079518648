"""What a failure has to do with where the function runs: a few words for its owner, who sees only an errno."""

import errno
import socket
from typing import Iterator, Optional

NO_NETWORK = "the function has no network; deployed with --network host it shares this machine's"
READ_ONLY = "a function can write to /tmp alone"
PACKAGE_BY_MODULE = {
    "PIL": "Pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
"""Those that many look for under the wrong name."""


def package_of(module: str) -> str:
    """What to name in requirements.txt for this import."""
    top = module.partition(".")[0]
    return PACKAGE_BY_MODULE.get(top, top)


def hint(exc: BaseException) -> str:
    """Empty: the sandbox has no part in it."""
    for each in _chain(exc):
        if isinstance(each, OSError):
            if (isinstance(each, socket.gaierror) or each.errno == errno.ENETUNREACH) and not _has_network():
                return NO_NETWORK
            if each.errno == errno.EROFS:
                return READ_ONLY
    return ""


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """`exc`, what it was raised from or while handling, and so on; a few suffice, and a ring of them ends."""
    found: Optional[BaseException] = exc
    for _ in range(10):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__


def _has_network() -> bool:
    """Whether there is more than the loopback."""
    try:
        return any(name != "lo" for _, name in socket.if_nameindex())
    except OSError:
        return True
