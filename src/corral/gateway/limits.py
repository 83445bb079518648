"""How large a request's head may be: looked at while it comes, before llhttp sees any of it, and when it is read."""

from corral.config import Gateway
from corral.errors import BadRequest, CorralError
from corral.gateway.http import Refused, Request


class HeadLimits:
    """See the module."""

    def __init__(self, config: Gateway) -> None:
        self._target_max = config.target_max_bytes
        self._whole_max = config.header_max_bytes + config.target_max_bytes
        self._count_max = config.header_max_count

    def fault_in_part(self, kept: bytearray, start: int) -> CorralError | None:
        """Why the part of a head that is here cannot become a good one; what is before `start` has been looked at."""
        if len(kept) > self._whole_max:
            return self._too_large()
        if len(kept) > self._target_max + 64 and kept.find(b"\n") < 0:
            return self._target_too_long()
        if kept.count(b"\n", start) != kept.count(b"\r\n", max(start - 1, 0)):
            return BadRequest("a line of the head ends with a bare line feed, must be CR LF")
        return None

    def check(self, request: Request, size: int, count: int) -> None:
        """Raises Refused for a head of `size` bytes and `count` header lines that is too much."""
        if size > self._target_max:
            if len(request.path) + len(request.query) > self._target_max:
                raise self._target_too_long()
            if size > self._whole_max:
                raise self._too_large()
        if count > self._count_max:
            raise Refused(431, "too_many_headers", f"{count} header lines, must be at most {self._count_max}")

    def _target_too_long(self) -> Refused:
        most = self._target_max
        return Refused(414, "target_too_long", f"path and query exceed {most} bytes, the most allowed")

    def _too_large(self) -> Refused:
        return Refused(431, "headers_too_large", f"the head exceeds {self._whole_max} bytes, the most allowed")
