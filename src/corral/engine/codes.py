"""The marshalled entry modules that instances handed out on their first load, so that later ones need not compile."""

from collections import OrderedDict

from corral.model import RevisionId

CODE_MAX_BYTES = 64 * 1024
CODES_MAX_BYTES = 32 * 1024 * 1024
"""Some ten thousand functions of a few pages each."""


class Codes:
    """In memory only: marshalled code belongs to the very interpreter that made it, which may have been replaced while
    no engine ran, and a file for each first start costs more than the start. Those not asked for longest make room."""

    def __init__(self, bytes_max: int = CODES_MAX_BYTES) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._codes: OrderedDict[RevisionId, bytes] = OrderedDict()

    def keep(self, revision: RevisionId, code: bytes) -> None:
        """Unless it is too large to be worth it."""
        self.forget(revision)
        if len(code) > CODE_MAX_BYTES:
            return
        self._codes[revision] = code
        self._bytes += len(code)
        while self._bytes > self._bytes_max:
            _, oldest = self._codes.popitem(last=False)
            self._bytes -= len(oldest)

    def get(self, revision: RevisionId) -> bytes | None:
        code = self._codes.get(revision)
        if code is not None:
            self._codes.move_to_end(revision)
        return code

    def forget(self, revision: RevisionId) -> None:
        self._bytes -= len(self._codes.pop(revision, b""))
