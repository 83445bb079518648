"""How a function is called: recognised by its name and its arguments, or declared. Each style is a row in CALLERS."""

import base64
import inspect
import os
import socket
import time
import types
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .request import Event

NAMES = ("main", "handle", "handler", "lambda_handler")
"""The functions that are looked for, in this order."""

_STYLES_BY_NAME: Dict[str, Dict[int, str]] = {
    "main": {1: "main", 2: "lambda", 0: "main"},
    "handle": {2: "handle", 1: "handler"},
    "handler": {1: "handler", 2: "lambda"},
    "lambda_handler": {2: "lambda", 1: "handler"},
}
"""Name -> number of arguments -> style, the most likely number first."""
_OTHER_NAMES: Dict[int, str] = {1: "handler", 2: "lambda", 0: "handler"}

ARGUMENTS: Dict[str, Tuple[int, ...]] = {"main": (1, 0), "handle": (2,), "handler": (1, 0), "lambda": (2,)}
"""Style -> numbers of arguments it may be called with."""

SHAPES = {
    "main": "main(args)",
    "handle": "handle(event, context)",
    "handler": "handler(event)",
    "lambda": "handler(event, context)",
}


class Context:
    """What a function may ask about its call and itself; the second argument of `handle` and `handler`."""

    __slots__ = ("_about", "event")

    def __init__(self, event: Event, about: "About") -> None:
        self.event = event
        """The whole request: method, path, query, headers, body."""
        self._about = about

    @property
    def aws_request_id(self) -> str:
        return self.event.request_id

    request_id = aws_request_id

    @property
    def function_name(self) -> str:
        return self._about.function

    @property
    def namespace(self) -> str:
        return self._about.namespace

    @property
    def function_version(self) -> str:
        return self._about.version

    @property
    def invoked_function_arn(self) -> str:
        return "corral:%s/%s" % (self._about.namespace, self._about.function)

    @property
    def memory_limit_in_mb(self) -> int:
        return self._about.memory_mib

    @property
    def hostname(self) -> str:
        return socket.gethostname()

    @property
    def log_group_name(self) -> str:
        return "%s/%s" % (self._about.namespace, self._about.function)

    @property
    def log_stream_name(self) -> str:
        return self._about.instance

    identity = None
    client_context = None

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.event.deadline - time.monotonic()) * 1000))


class About(NamedTuple):
    """The function this instance runs."""

    function: str
    namespace: str
    memory_mib: int
    instance: str
    version: str = "$LATEST"


class Manner(NamedTuple):
    """How a function is called."""

    style: str
    arguments: int
    """How many it is given."""
    is_async: bool


class Handler(NamedTuple):
    """The function, ready to be called: `call(event)` gives its result, or an awaitable one if `is_async`."""

    call: Callable[[Event], Any]
    style: str
    is_async: bool


def find(module: Any) -> Optional[str]:
    """The name of the function to call: the first of NAMES whose arguments fit; None: there is none.
    A `main()` without arguments is mostly a program's start and comes last."""
    present = [name for name in NAMES if callable(getattr(module, name, None))]
    for name in present:
        counts = accepted(getattr(module, name))
        if any(count in counts for count in _STYLES_BY_NAME[name] if count > 0):
            return name
    return present[0] if present else None


def recognise(name: str, function: Callable[..., Any], declared: Optional[str]) -> Manner:
    """Raises ValueError with a sentence when no style fits."""
    counts = accepted(function)
    if declared is not None:
        wanted = {count: declared for count in ARGUMENTS[declared]}
    else:
        wanted = _STYLES_BY_NAME.get(name, _OTHER_NAMES)
    for count, style in wanted.items():
        if count in counts:
            return Manner(style, count, is_async(function))
    if declared is not None:
        raise ValueError("%s, must be %s as its style says" % (_signature(name, function), SHAPES[declared]))
    raise ValueError("%s, must take one argument (event) or two (event, context)" % _signature(name, function))


def accepted(function: Callable[..., Any]) -> "range | Tuple[int, ...]":
    """Numbers of positional arguments the function can be called with."""
    if _is_plain(function):
        code = function.__code__
        most = code.co_argcount
        return range(most - len(function.__defaults__ or ()), most + 1)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C, says nothing: let the call decide
        return (1, 2)
    least, most = 0, 0
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            most += 2
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            return ()
    return range(least, most + 1)


def _is_plain(function: Any) -> bool:
    """Written with `def`, neither decorated nor with `*` in its arguments: it tells all itself. Asking `inspect` costs
    a fresh instance 0.3 ms and 200 KiB."""
    if type(function) is not types.FunctionType or function.__dict__:
        return False
    code = function.__code__
    return not (code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS))


def _signature(name: str, function: Callable[..., Any]) -> str:
    try:
        return "the function is %s%s" % (name, inspect.signature(function))
    except (TypeError, ValueError):
        return "the function %s cannot be called" % name


def is_async(function: Any) -> bool:
    if _is_plain(function):
        return bool(function.__code__.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR))
    for candidate in (function, getattr(function, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
            return True
    return False


def prepare(function: Callable[..., Any], manner: Manner, about: About) -> Handler:
    call = CALLERS[manner.style] if manner.arguments else _without_arguments
    return Handler(call(function, about), manner.style, manner.is_async)


def _without_arguments(function: Callable[..., Any], about: About) -> Callable[[Event], Any]:
    return lambda event: function()


def _call_main(function: Callable[..., Any], about: About) -> Callable[[Event], Any]:
    return lambda event: function(arguments(event))


def _call_handle(function: Callable[..., Any], about: About) -> Callable[[Event], Any]:
    return lambda event: function(event, Context(event, about))


def _call_handler(function: Callable[..., Any], about: About) -> Callable[[Event], Any]:
    return lambda event: function(event.natural_body())


def _call_lambda(function: Callable[..., Any], about: About) -> Callable[[Event], Any]:
    return lambda event: function(event.natural_body(), Context(event, about))


CALLERS: Dict[str, Callable[[Callable[..., Any], About], Callable[[Event], Any]]] = {
    "main": _call_main,
    "handle": _call_handle,
    "handler": _call_handler,
    "lambda": _call_lambda,
}

_TEXT_TYPES = ("application/xml", "application/javascript", "application/x-www-form-urlencoded", "application/json")


def arguments(event: Event) -> Dict[str, Any]:
    """The one dictionary of `main(args)`, as OpenWhisk's web actions get it: query parameters, over them the fields
    of a JSON object or a form; any other body as `__ow_body` (text, or base64 for binary types); and `__ow_method`,
    `__ow_headers`, `__ow_path`."""
    args: Dict[str, Any] = event.query.first_values()
    if event.body:
        body = event.natural_body()
        if isinstance(body, dict):
            args.update(body)
        elif event.content_type == "application/x-www-form-urlencoded" and isinstance(body, bytes):
            args.update(event.form())
        elif isinstance(body, bytes):
            args["__ow_body"] = _text_or_base64(body, event.content_type)
        else:
            args["__ow_body"] = body
    args["__ow_method"] = event.method.lower()
    args["__ow_headers"] = event.headers.as_dict()
    args["__ow_path"] = "" if event.path == "/" else event.path
    return args


def _text_or_base64(body: bytes, kind: str) -> str:
    if not kind or kind.startswith("text/") or kind in _TEXT_TYPES:
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode("ascii")


def described(module: Any, folder: str) -> List[str]:
    """Names of the functions a module defines itself, for an error message."""
    found = []
    for name, value in vars(module).items():
        code = getattr(value, "__code__", None)
        if code is not None and os.path.abspath(code.co_filename).startswith(folder) and not name.startswith("_"):
            found.append(name)
    return found
