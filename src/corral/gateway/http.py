"""Requests as the gateway understands them and response heads as it writes them. No sockets here.

llhttp has accepted the bytes before they come here; what it lets through and we do not is refused by `read_head`.
Everything about a header that does not change from call to call is worked out once per distinct name or block and
then looked up: see `_known` and `ResponseHeads`."""

import random
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Literal, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from corral.errors import BadRequest, BadResponse, CorralError

Kind = Literal["plain", "drop", "refuse", "host", "length", "encoding", "connection", "expect", "id", "trace", "state",
               "authorization", "debug"]  # fmt: skip

HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"te", b"trailer",
                        b"proxy-authorization", b"transfer-encoding", b"upgrade", b"http2-settings"))  # fmt: skip
_REQUEST_KINDS: dict[bytes, Kind] = {
    b"host": "host",
    b"content-length": "length",
    b"transfer-encoding": "encoding",
    b"connection": "connection",
    b"expect": "expect",
    b"x-request-id": "id",
    b"traceparent": "trace",
    b"tracestate": "state",
    b"authorization": "authorization",
    b"corral-debug": "debug",
    b"forwarded": "drop",
    b"x-real-ip": "drop",
}
_REQUEST_LINE = re.compile(rb"\r?\n?([A-Z-]+) ([!-~]+) HTTP/1\.([01])\r\n")
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%-]+(:[0-9]{0,5})?\Z|\[[0-9A-Fa-f:.]+\](:[0-9]{0,5})?\Z")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}\Z")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
_ODD_PATH = re.compile(rb"//|/\.|%|\\|#")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_BLOCK = re.compile(rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*\Z")
_NAMES_MAX = 4096
_names: dict[bytes, tuple[Kind, bytes]] = {}


class Refused(CorralError):
    """A request refused by HTTP itself, before any dialect saw it."""

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.status, self.code = status, code


class Request(msgspec.Struct, gc=False):
    """A request's head, cleaned. Bytes are as they came unless said."""

    method: bytes
    path: bytes
    """Normalised: no dot segments, no double slashes; still percent-encoded."""
    query: bytes
    """Empty, or beginning with `?`."""
    host: bytes
    lines: list[bytes]
    """Header lines for a function, lower-case names, CRLF at each end: without hop-by-hop, forwarding and internal
    fields, and without x-request-id, traceparent and authorization, which stand below."""
    request_id: bytes
    received: float
    """Monotonic."""
    client: bytes
    """Address of the other end, as in X-Forwarded-For."""
    length: int = 0
    """Bytes of body; -1: chunked."""
    authorization: bytes = b""
    trace: bytes = b""
    trace_state: bytes = b""
    keep_alive: bool = True
    http10: bool = False
    expects_continue: bool = False
    timing: bool = False
    """`Corral-Debug: timing` was sent."""


class RequestIds:
    """Ids that no other process of this installation gives: a random prefix and a counter."""

    def __init__(self, rng: random.Random) -> None:
        self._prefix = b"%012x-" % rng.getrandbits(48)
        self._rng = rng
        self._count = 0

    def request_id(self) -> bytes:
        self._count += 1
        return b"%s%06x" % (self._prefix, self._count)

    def traceparent(self) -> bytes:
        """A new trace, not sampled: nobody here records it."""
        return b"00-%032x-%016x-00" % (self._rng.getrandbits(128) | 1, self._rng.getrandbits(64) | 1)


def _known(name: bytes) -> tuple[Kind, bytes]:
    """What to do with a request header of this name, and its beginning of line. Remembered, for bounded many."""
    lower = name.lower()
    kind: Kind = _REQUEST_KINDS.get(lower, "plain")
    if b"_" in lower:
        kind = "refuse"
    elif kind == "plain" and (lower in HOP_BY_HOP or lower.startswith((b"x-corral-", b"x-forwarded-"))):
        kind = "drop"
    found = (kind, lower + b": ")
    if len(_names) < _NAMES_MAX and len(name) <= 64:
        _names[name] = found
    return found


def read_head(
    head: bytes, headers: Sequence[tuple[bytes, bytes]], client: bytes, received: float, ids: RequestIds
) -> Request:
    """The request behind `head` and the header fields llhttp found in it. Raises Refused or BadRequest."""
    found = _REQUEST_LINE.match(head)
    if found is None:
        raise BadRequest("request line must be METHOD, a target of visible ASCII and HTTP/1.1, with one space between")
    method, target, minor = found.groups()
    lines: list[bytes] = []
    request = Request(method, b"", b"", b"", lines, b"", received, client)
    http10 = request.http10 = minor == b"0"
    named: bytes = b""
    hosts = 0
    for name, value in headers:
        kind, start = _names.get(name) or _known(name)
        if kind == "plain":
            lines.append(b"%b%b\r\n" % (start, value))
        elif kind == "host":
            hosts += 1
            request.host = value.rstrip()
        elif kind == "length":
            request.length = int(value)
            lines.append(b"%b%b\r\n" % (start, value))
        elif kind != "drop":
            named = _take_special(request, kind, value, named)
    if hosts != 1 and not (http10 and hosts == 0):
        raise BadRequest(f"{hosts} Host headers, must be exactly one")
    if request.host and not _HOST.match(request.host):
        raise BadRequest(f"Host = {request.host[:80]!r}, must be a name or address with or without a port")
    _split_target(request, target)
    _settle(request, named, http10, ids)
    return request


def _take_special(request: Request, kind: Kind, value: bytes, named: bytes) -> bytes:
    """Keep a header that stands on its own; `named` are the names in Connection so far."""
    value = value.rstrip()
    if kind == "connection":
        return named + b"," + value.lower()
    if kind == "id":
        request.request_id = value
    elif kind == "trace":
        request.trace = value if not request.trace else b"twice"
    elif kind == "state":
        request.trace_state = value
    elif kind == "authorization":
        if request.authorization:
            raise BadRequest("several Authorization headers, must be at most one")
        request.authorization = value
    elif kind == "debug":
        request.timing = value == b"timing"
    elif kind == "encoding":
        # llhttp has refused it beside Content-Length.
        if value.lower() != b"chunked" or request.length == -1 or request.http10:
            raise BadRequest(f"Transfer-Encoding = {value[:80]!r}, must be chunked, once, on HTTP/1.1")
        request.length = -1
    elif kind == "expect":
        if value.lower() != b"100-continue":
            raise Refused(417, "expectation_failed", f"Expect = {value[:80]!r}, must be 100-continue")
        request.expects_continue = not request.http10
    else:
        raise BadRequest("a header name contains _, must be letters, digits and -: some readers take _ for -")
    return named


def _settle(request: Request, named: bytes, http10: bool, ids: RequestIds) -> None:
    """What can be said only when all headers were seen."""
    if named:
        names = {name.strip() for name in named.split(b",")}
        request.keep_alive = b"close" not in names and (not http10 or b"keep-alive" in names)
        dropped = tuple(name + b": " for name in names - _NEVER_HOP if name)
        if dropped:
            request.lines[:] = [line for line in request.lines if not line.startswith(dropped)]
    else:
        request.keep_alive = not http10
    if not _REQUEST_ID.match(request.request_id):
        request.request_id = ids.request_id()
    if not _TRACEPARENT.match(request.trace):
        request.trace, request.trace_state = ids.traceparent(), b""


_NEVER_HOP = frozenset((b"close", b"keep-alive", b"upgrade", b"content-length", b"host", b""))
"""Names in Connection that take no header of the function's away."""


def _split_target(request: Request, target: bytes) -> None:
    if target[:1] != b"/":
        target = _from_absolute(request, target)
    path, mark, query = target.partition(b"?")
    request.path = normalised(path) if _ODD_PATH.search(path) else path
    if mark:
        request.query = mark + query


def _from_absolute(request: Request, target: bytes) -> bytes:
    """Path and query of an absolute-form target whose authority is the Host header's."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() != b"http":
        raise BadRequest(f"target = {target[:80]!r}, must be a path or an http:// address")
    authority, slash, path = rest.partition(b"/")
    if authority.lower() != request.host.lower():
        raise BadRequest(f"target names the host {authority[:80]!r}, must be the Host header's {request.host[:80]!r}")
    return slash + path or b"/"


def normalised(path: bytes) -> bytes:
    """`path` with double slashes merged. Raises BadRequest for what two readers could take for different paths:
    dot segments, backslashes, encoded slashes, encoded NUL or control characters, broken escapes."""
    path = re.sub(rb"/{2,}", b"/", path)
    for escape in re.findall(rb"%(..?|)", path):
        if not re.match(rb"[0-9A-Fa-f]{2}\Z", escape):
            raise BadRequest(f"path has the escape %{escape.decode('ascii')}, must be % and two hex digits")
        if int(escape, 16) in (0x2F, 0x5C, 0x7F) or int(escape, 16) < 0x20:
            raise BadRequest(f"path has %{escape.decode('ascii')}: encoded slashes and control characters are refused")
    if b"\\" in path or b"#" in path:
        raise BadRequest("path has a backslash or #, which must not stand in a path")
    if any(segment in (b".", b"..") for segment in unquote_to_bytes(path).split(b"/")):
        raise BadRequest("path has a . or .. segment: send the path it leads to")
    return path


class Head(NamedTuple):
    """The start of a response, ready for the wire but for date, framing and the request's own lines."""

    status: int
    lines: bytes
    """Status line and the function's header lines."""
    bodiless: bool
    """204 and 304 have no body, whatever the function sends."""


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Status"


STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, _reason(status)) for status in range(200, 600)}
_NOT_FROM_FUNCTIONS = HOP_BY_HOP | {b"content-length", b"server", b"date", b"x-request-id"}
_CACHED_MAX = 1024
_CACHED_BYTES_MAX = 2048


class ResponseHeads:
    """A frame HEAD's payload -> Head. Functions send few distinct ones, so each is checked once and kept."""

    def __init__(self) -> None:
        self._cache: dict[bytes, Head] = {}

    def head(self, payload: bytes) -> Head:
        """Raises BadResponse for a status outside 200 to 599 and for header lines that could be read as more than
        one response: what is not a name, a colon and a value without control characters."""
        found = self._cache.get(payload)
        if found is None:
            found = _checked(payload)
            if len(payload) <= _CACHED_BYTES_MAX:
                if len(self._cache) >= _CACHED_MAX:
                    self._cache.clear()
                self._cache[payload] = found
        return found


def _checked(payload: bytes) -> Head:
    status = int.from_bytes(payload[:2], "big")
    block = payload[2:]
    start = STATUS_LINES.get(status)
    if start is None or len(payload) < 2:
        raise BadResponse(f"the function answered with status {status}, must be 200 to 599")
    if not _BLOCK.match(block):
        raise BadResponse("the function's response headers must be lines of a name, a colon and visible characters")
    kept = [start]
    for line in block.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        lower = name.lower()
        if lower not in _NOT_FROM_FUNCTIONS and not lower.startswith(b"x-corral-"):
            kept.append(b"%b: %b\r\n" % (lower, value.strip()))
    return Head(status, b"".join(kept), status in (204, 304))
