"""What a function returned becomes a response: status, header lines, body or a stream of chunks."""

import base64
import re
from enum import Enum
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from . import frames, jsontext
from .request import Event

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
BYTES = "application/octet-stream"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"

Pairs = List[Tuple[str, str]]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_FORBIDDEN = re.compile(r"[\r\n\0]")
_FRAMING = frozenset(
    ("content-length", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Fields that belong to the connection: the gateway writes them, so those of a function are dropped."""
_RESPONSE_KEYS = frozenset(
    ("statusCode", "headers", "body", "isBase64Encoded", "multiValueHeaders", "cookies", "statusDescription")
)


class BadResult(Exception):
    """The result cannot become a response; the message names its type."""


class Response(NamedTuple):
    status: int
    lines: bytes
    """Header lines, each with CRLF."""
    body: bytes
    stream: Optional[Any] = None
    """Iterator or async iterator of further chunks, after `body`."""


def _line(kind: str) -> bytes:
    return b"content-type: " + kind.encode() + b"\r\n"


class Stream(NamedTuple):
    """A stream whose first chunk was awaited already, so that it could tell the type."""

    first: Any
    rest: Any


_LINES = {kind: _line(kind) for kind in (TEXT, HTML, BYTES, JSON, JSON_LINES)}
_EMPTY = Response(200, b"", b"")


def respond(result: Any, style: str) -> Response:
    """Raises BadResult."""
    plain = _PLAIN.get(type(result))
    if plain is not None:
        return plain(result)
    if isinstance(result, dict):
        return _from_dict(result, style)
    if type(result) is tuple and _is_status_tuple(result):
        return _build(result[1], _pairs(result[2]) if len(result) == 3 else [], result[0])
    if isinstance(result, Event):
        return _build(200, [("content-type", result.content_type)] if result.content_type else [], result.body)
    if hasattr(result, "status_code") and hasattr(result, "headers"):
        return _build(result.status_code, _pairs(result.headers), _foreign_body(result))
    return _build(200, [], result)


def _is_status_tuple(result: Tuple[Any, ...]) -> bool:
    return len(result) in (2, 3) and type(result[1]) is int and 100 <= result[1] <= 999


def _from_text(result: str) -> Response:
    kind = HTML if _is_html(result) else TEXT
    return Response(200, _LINES[kind], _text_bytes(result))


def _is_html(text: str) -> bool:
    return text.lstrip()[:14].lower().startswith(("<!doctype html", "<html"))


def _text_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise BadResult("the function returned text that is not valid Unicode: %s" % exc) from None


def _from_json(result: Any) -> Response:
    return Response(200, _LINES[JSON], json_bytes(result))


_PLAIN: Dict[type, Callable[[Any], Response]] = {
    type(None): lambda result: _EMPTY,
    str: _from_text,
    bytes: lambda result: Response(200, _LINES[BYTES], result),
    list: _from_json,
    int: _from_json,
    float: _from_json,
    bool: _from_json,
}


def _from_dict(result: Dict[Any, Any], style: str) -> Response:
    if style == "main" and "error" in result and not isinstance(result.get("statusCode"), int):
        return _from_error(result)
    if not _is_response(result, style):
        return _from_json(result)
    pairs = _pairs(result.get("headers")) + _pairs(result.get("multiValueHeaders"))
    pairs += [("set-cookie", str(cookie)) for cookie in result.get("cookies") or ()]
    body = result.get("body")
    if result.get("isBase64Encoded") and isinstance(body, (str, bytes)):
        body = _decoded(body)
    status = result.get("statusCode")
    return _build(200 if status is None else status, pairs, body)


def _is_response(result: Dict[Any, Any], style: str) -> bool:
    """A dictionary with `statusCode` always is one; in the styles that know them, also one of nothing but
    body and headers."""
    if "statusCode" in result:
        return True
    return style in ("main", "handle") and "body" in result and _RESPONSE_KEYS.issuperset(result)


def _from_error(result: Dict[Any, Any]) -> Response:
    """OpenWhisk's application error: `{"error": response}` is that response, any other value a 500 in JSON."""
    error = result["error"]
    if isinstance(error, dict) and _is_response(error, "main"):
        return _from_dict(error, "main")
    return Response(500, _LINES[JSON], json_bytes(result))


def _decoded(body: Union[str, bytes]) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as exc:
        raise BadResult("isBase64Encoded is true but the body is not base64: %s" % exc) from None


def _foreign_body(result: Any) -> Any:
    """The body of a response object of some framework."""
    for name in ("body", "data", "content"):
        value = getattr(result, name, None)
        if isinstance(value, (str, bytes, bytearray, memoryview)):
            return value
    raise BadResult("the function returned %s, whose body, data and content are neither text nor bytes" % _name(result))


def _build(status: Any, pairs: Pairs, body: Any) -> Response:
    status = _status(status)
    chunk, stream, kind = _body(body)
    if kind and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs = [("content-type", kind), *pairs]
    if status in (204, 304):
        chunk, stream = b"", None
    return Response(status, header_lines(pairs), chunk, stream)


def _status(status: Any) -> int:
    if isinstance(status, str) and status.isdigit():
        status = int(status)
    if isinstance(status, float) and status.is_integer():
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise BadResult("statusCode = %r, must be a number between 200 and 599" % (status,))
    return int(status)


def _body(body: Any) -> Tuple[bytes, Optional[Any], str]:
    """(bytes, stream, content type if none is given)"""
    if body is None:
        return b"", None, ""
    if isinstance(body, str):
        return _text_bytes(body), None, HTML if _is_html(body) else TEXT
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body), None, BYTES
    if isinstance(body, Stream):
        return chunk_bytes(body.first), body.rest, stream_type(body.first)
    if hasattr(body, "__next__"):
        return _first(body)
    if hasattr(body, "__anext__"):
        return b"", body, BYTES
    if callable(getattr(body, "read", None)):
        return b"", iter(lambda: body.read(frames.PAYLOAD_MAX), b""), BYTES
    return json_bytes(body), None, JSON


def _first(stream: Iterator[Any]) -> Tuple[bytes, Optional[Any], str]:
    """The first chunk tells the type, and an early exception still becomes a proper 500."""
    try:
        first = next(stream)
    except StopIteration:
        return b"", None, ""
    return chunk_bytes(first), stream, stream_type(first)


def stream_type(chunk: Any) -> str:
    if isinstance(chunk, str):
        return HTML if _is_html(chunk) else TEXT
    return BYTES if isinstance(chunk, (bytes, bytearray, memoryview)) else JSON_LINES


def chunk_bytes(chunk: Any) -> bytes:
    """One chunk of a streamed result: text, bytes, or any other value as a line of JSON."""
    if isinstance(chunk, str):
        return _text_bytes(chunk)
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    return json_bytes(chunk) + b"\n"


def _pairs(headers: Any) -> Pairs:
    """From a mapping (a list as value repeats the field) or a list of pairs."""
    if not headers:
        return []
    try:
        items = list(headers.items() if hasattr(headers, "items") else headers)
        pairs: Pairs = []
        for name, value in items:
            values = value if isinstance(value, (list, tuple)) else [value]
            pairs += [(_field(name), _field(each)) for each in values]
    except (TypeError, ValueError):
        raise BadResult("headers are %s, must be an object or a list of pairs" % _name(headers)) from None
    return pairs


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def header_lines(pairs: Pairs) -> bytes:
    lines = []
    for name, value in pairs:
        if not _TOKEN.match(name):
            raise BadResult("a header name %r, must be letters, digits and -" % name[:80])
        if _FORBIDDEN.search(value):
            raise BadResult("the value of header %s holds a line break or NUL, must be one line" % name[:80])
        if name.lower() not in _FRAMING:
            lines.append("%s: %s\r\n" % (name.lower(), value))
    encoded = "".join(lines).encode("utf-8", "replace")
    if len(encoded) > frames.PAYLOAD_MAX - 2:
        raise BadResult("%d bytes of headers, must be at most %d" % (len(encoded), frames.PAYLOAD_MAX - 2))
    return encoded


def json_bytes(value: Any) -> bytes:
    try:
        return _encode(value).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as exc:
        # ValueError: a circular reference, or NaN and infinity, which JSON cannot say.
        why = str(exc)
        if why.startswith("Out of range float"):
            why = "it holds nan or infinity, which JSON cannot say; None becomes null"
        raise BadResult("the function's result cannot be written as JSON: %s" % why) from None


def _natural(value: Any) -> Any:
    """What the encoder does not know, told by what the object can do, so that no library is imported for it."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Event):
        return _event(value)
    for test, convert in _CONVERSIONS:
        if hasattr(value, test):
            return convert(value)
    kind = type(value).__name__
    if kind in ("Decimal", "UUID"):
        return str(value)
    if kind == "coroutine":
        raise TypeError("a coroutine was returned, must be awaited in an async function")
    raise TypeError("an object of type %s, must be text, bytes, a number, a list, a dict or a response" % _name(value))


def _event(event: Event) -> Any:
    """A request inside a result stands for its body, as other styles get it: a JSON value, the query or text."""
    body = event.natural_body()
    if not isinstance(body, bytes):
        return body
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body


def _dataclass(value: Any) -> Any:
    if isinstance(value, type):
        raise TypeError("the class %s, must be an object of it" % value.__name__)
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _set(value: Any) -> List[Any]:
    try:
        return sorted(value)
    except TypeError:
        return list(value)


_CONVERSIONS: Tuple[Tuple[str, Callable[[Any], Any]], ...] = (
    ("__dataclass_fields__", _dataclass),
    ("isoformat", lambda value: value.isoformat()),  # dates, times, pandas' timestamps
    ("keys", dict),  # mappings that are not dictionaries
    ("isdisjoint", _set),
    ("__fspath__", lambda value: str(value)),
    ("total_seconds", lambda value: value.total_seconds()),
    ("tolist", lambda value: value.tolist()),  # numpy's arrays and scalars
    ("model_dump", lambda value: value.model_dump()),
)

_encode = jsontext.writer(allow_nan=False, separators=(",", ":"), default=_natural)


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else "%s.%s" % (kind.__module__, kind.__qualname__)
