"""A call as the function may see it: the event of `handle`, and what the other styles are made from.

Nothing is parsed before somebody asks: most functions look at the body only."""

import time
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional
from urllib.parse import parse_qsl, unquote

from . import frames, jsontext


class BadBody(Exception):
    """The body claims to be JSON and is not: the caller's mistake, answered with 400."""


class Headers(Mapping[str, str]):
    """Header fields by name in any case. A field given several times reads as one, joined by commas."""

    def __init__(self, lines: Iterable[str]) -> None:
        """As in a HEAD frame: names are in lower case. Empty lines count for nothing."""
        values: Dict[str, str] = {}
        self._values = values
        for line in lines:
            name, colon, value = line.partition(":")
            if name in values:
                values[name] += ", " + value.strip()
            elif colon:
                values[name] = value.strip()

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __repr__(self) -> str:
        return "Headers(%r)" % self._values

    def as_dict(self) -> Dict[str, str]:
        """As `dict` of it, which asks the mapping for one after another."""
        return self._values.copy()


class Query(Mapping[str, str]):
    """Query parameters: `query["a"]` is the first value of a, `query.getlist("a")` all of them."""

    def __init__(self, text: str) -> None:
        self._values: Dict[str, List[str]] = {}
        if not text:
            return
        for name, value in parse_qsl(text, keep_blank_values=True):
            self._values.setdefault(name, []).append(value)

    def first_values(self) -> Dict[str, str]:
        """As `dict` of it, which asks the mapping for one after another."""
        return {name: values[0] for name, values in self._values.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name][0]

    def getlist(self, name: str) -> List[str]:
        return list(self._values.get(name, ()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return "Query(%r)" % self._values


class Event:
    """The request: body (bytes), headers, method, path, query; `json()` and `text()` read the body."""

    __slots__ = ("_head", "_headers", "_query", "body", "deadline", "method", "request_id", "target")

    def __init__(self, payload: bytes) -> None:
        """`payload` is that of a HEAD frame. Raises Broken."""
        self.deadline = time.monotonic() + frames.read_u32(payload) / 1000
        self._head = payload[4:].decode("latin-1")
        end = self._head.find("\r\n")
        self.method, _, self.target = self._head[: end if end >= 0 else len(self._head)].partition(" ")
        if not self.target:
            raise frames.Broken("a request line %r, must be METHOD SP target" % self.method[:80])
        self.body = b""
        self.request_id = self.header("x-request-id")
        self._headers: Optional[Headers] = None
        self._query: Optional[Query] = None

    def header(self, name: str) -> str:
        """One field (`name` in lower case) without parsing all of them; empty when it is not there."""
        start = self._head.find("\r\n" + name + ":")
        if start < 0:
            return ""
        start += len(name) + 3
        end = self._head.find("\r\n", start)
        return self._head[start : end if end >= 0 else len(self._head)].strip()

    @property
    def headers(self) -> Headers:
        if self._headers is None:
            self._headers = Headers(self._head.split("\r\n")[1:])
        return self._headers

    @property
    def path(self) -> str:
        """Decoded, without the query; at least `/`."""
        return unquote(self.target.partition("?")[0])

    @property
    def query_string(self) -> str:
        return self.target.partition("?")[2]

    @property
    def query(self) -> Query:
        if self._query is None:
            self._query = Query(self.query_string)
        return self._query

    @property
    def content_type(self) -> str:
        """Lower case, without parameters; empty when the request names none."""
        return self.header("content-type").partition(";")[0].strip().lower()

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Raises BadBody."""
        try:
            return jsontext.read(self.body)
        except ValueError as exc:
            raise BadBody("the body is not JSON: %s" % exc) from None

    def natural_body(self) -> Any:
        """What most functions want to be called with: the JSON value; the query parameters when there is no body;
        otherwise bytes. A body without a telling type (curl sends JSON as a form) is JSON if it reads as JSON."""
        if not self.body:
            return self.query.first_values()
        kind = self.content_type
        if kind == "application/json" or kind.endswith("+json"):
            return self.json()
        if kind in ("", "application/x-www-form-urlencoded") and self.body.lstrip()[:1] in (b"{", b"["):
            try:
                return jsontext.read(self.body)
            except ValueError:
                return self.body
        return self.body

    def form(self) -> Dict[str, str]:
        return dict(parse_qsl(self.text(), keep_blank_values=True))
