"""Corral's own way to call a function: ANY /function/NAME[.NAMESPACE][@TAG][/path][?query]."""

from corral.api.native.shapes import error_body, status_of
from corral.errors import BodyTooLarge, CorralError, NotFound, Unauthenticated
from corral.gateway.activator import Activator
from corral.gateway.call import Answer, Call, Reply
from corral.gateway.http import Refused, Request
from corral.gateway.routes import Routes
from corral.model import DEFAULT_NAMESPACE, FunctionKey, function_key, tagged_key

PREFIX = b"/function/"
HEAD_MAX = 65_000
"""Bytes of request line and headers that fit into one frame."""


def explain(fault: CorralError, request_id: bytes) -> Reply:
    """What a caller is told of a fault."""
    status, code = (fault.status, fault.code) if isinstance(fault, Refused) else status_of(fault)
    lines = b"content-type: application/json\r\n"
    if fault.retry_after_s is not None:
        lines += b"retry-after: %d\r\n" % max(round(fault.retry_after_s), 1)
    if isinstance(fault, Unauthenticated):
        lines += b'www-authenticate: Bearer realm="corral"\r\n'
    return Reply(status, lines, error_body(fault, code, request_id.decode("ascii")))


class Invoke:
    """Turns requests into calls. One for the gateway; holds nothing of a call."""

    def __init__(self, routes: Routes, activator: Activator) -> None:
        self._routes = routes
        self._activator = activator
        self._targets: dict[bytes, tuple[FunctionKey, bytes]] = {}

    def __call__(self, request: Request, answer: Answer) -> Call | None:
        """The call, which takes the request's body; None when it was answered already."""
        try:
            return self._call(request, answer)
        except CorralError as fault:
            answer.reply(explain(fault, request.request_id))
            return None

    def _call(self, request: Request, answer: Answer) -> Call:
        key, rest = self._targets.get(request.path) or self._target(request.path)
        lane = self._routes.find(key)
        lines = request.lines
        if lane.private or self._routes.everything_private:
            # The token was for us: the function does not learn it.
            self._routes.admit(request.authorization, lane.namespace)
        elif request.authorization:
            lines.append(b"authorization: %b\r\n" % request.authorization)
        if request.length > lane.body_max:
            raise body_too_large(request.length, lane.body_max)
        if request.trace_state:
            lines.append(b"tracestate: %b\r\n" % request.trace_state)
        head = (
            b"%b %b%b\r\nhost: %b\r\nx-request-id: %b\r\ntraceparent: %b\r\n"
            b"x-forwarded-for: %b\r\nx-forwarded-proto: http\r\nx-forwarded-host: %b\r\n%b"
        ) % (
            request.method, rest, request.query, request.host, request.request_id, request.trace,
            request.client, request.host, b"".join(lines),
        )  # fmt: skip
        if len(head) > HEAD_MAX:
            raise Refused(431, "headers_too_large", f"the head has {len(head)} bytes, must be at most {HEAD_MAX}")
        return Call(
            self._activator.next_call(), key, lane, answer, explain, head, request.request_id, request.received,
            request.timing,
        )  # fmt: skip

    def _target(self, path: bytes) -> tuple[FunctionKey, bytes]:
        """(function, path for it). Kept for bounded many: clients call the same paths again and again."""
        name, slash, rest = path[len(PREFIX) :].partition(b"/")
        # Some clients write @ as %40, which means the same.
        called, at, tag = name.replace(b"%40", b"@").partition(b"@")
        function, _, namespace = called.partition(b".")
        if not function or b"%" in called + tag or (at and not tag):
            raise NotFound("path must be /function/NAME[.NAMESPACE][@TAG], then the function's own path")
        key = function_key(namespace.decode("ascii") or DEFAULT_NAMESPACE, function.decode("ascii"))
        if tag:
            key = tagged_key(key, tag.decode("ascii"))
        found = (key, slash + rest or b"/")
        if len(path) <= 256:
            if len(self._targets) >= 1024:
                self._targets.clear()
            self._targets[path] = found
        return found


def body_too_large(size: int, most: int) -> BodyTooLarge:
    return BodyTooLarge(f"the request's body has {size} bytes or more, must be at most {most} for this function")
