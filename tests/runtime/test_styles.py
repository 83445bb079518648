"""Each style of function, recognised or declared, gets what its users expect."""

import json
from pathlib import Path

import pytest

from .keeper import Zygote

ROWS = [
    # name, source, declared style, expected style, is_async
    ("main(args)", "def main(args): return {'got': sorted(k for k in args if k[0] != '_')}", None, "main", False),
    ("handle(event, context)", "def handle(event, context): return {'got': event.json()}", None, "handle", False),
    ("handler(event)", "def handler(event): return {'got': event}", None, "handler", False),
    ("handler(event, context)", "def handler(event, context): return {'got': event}", None, "lambda", False),
    ("lambda_handler", "def lambda_handler(event, context): return {'got': event}", None, "lambda", False),
    ("handle(req)", "def handle(req): return {'got': req}", None, "handler", False),
    ("async", "async def handler(event): return {'got': event}", None, "handler", True),
    ("async handle", "async def handle(event, context): return {'got': event.json()}", None, "handle", True),
    ("default arguments", "def handler(event, context=None): return {'got': event}", None, "handler", False),
    ("declared", "def handler(event, context=None): return {'got': event}", "lambda", "lambda", False),
    (
        "callable object",
        "class H:\n  def __call__(self, event): return {'got': event}\nhandler = H()",
        None,
        "handler",
        False,
    ),
    (
        "async callable object",
        "class H:\n  async def __call__(self, event): return {'got': event}\nhandler = H()",
        None,
        "handler",
        True,
    ),
    (
        "a program's main() beside it",
        "def main(): 1/0\ndef handler(event): return {'got': event}",
        None,
        "handler",
        False,
    ),
    (
        "decorated",
        "import functools\ndef d(f):\n  @functools.wraps(f)\n  def w(*a): return f(*a)\n  return w\n"
        "@d\ndef handler(event, context): return {'got': event}",
        None,
        "lambda",
        False,
    ),
]


@pytest.mark.parametrize(
    ("source", "declared", "style", "is_async"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_style(any_version: Zygote, source: str, declared: str | None, style: str, is_async: bool) -> None:
    gateway = any_version.start(source, style=declared).serve()
    assert (gateway.ready["style"], gateway.ready["is_async"]) == (style, is_async)
    assert gateway.ready["concurrency"] == (100 if is_async else 1)
    got = gateway.call(b'{"a": 1}', headers={"content-type": "application/json"}).json()["got"]
    assert got == (["a"] if style == "main" else {"a": 1})


def test_named_handler_in_a_folder_with_relative_imports(any_version: Zygote) -> None:
    files = {
        "src/__init__.py": "",
        "src/app.py": "from .words import GREETING\nimport tools\ndef greet(event): return GREETING + tools.MARK",
        "src/words.py": "GREETING = 'hello'",
        "tools.py": "MARK = '!'",
    }
    assert any_version.start(files, handler="src/app:greet").serve().call(b"{}").body == b"hello!"


FROM_DOT = "from .words import GREETING\ndef handle(event, context): return GREETING"
ROOTS: list[tuple[str, dict[str, str]]] = [
    ("folder", {}),
    ("package", {"__init__.py": "STARTED = True"}),
    ("package that is named", {"words.py": "import function\nfrom . import more\nGREETING = more.GREETING"}),
    ("module of its name", {"function.py": "GREETING = 'hi'", "words.py": "from function import GREETING"}),
    ("circle", {"words.py": "from . import handler\nGREETING = 'hi' if handler.__package__ else ''"}),
]


@pytest.mark.parametrize("files", [row[1] for row in ROOTS], ids=[row[0] for row in ROOTS])
def test_root_handler_imports_from_its_own_folder(any_version: Zygote, files: dict[str, str]) -> None:
    """As the functions of OpenFaaS's templates do."""
    package = {"handler.py": FROM_DOT, "words.py": "GREETING = 'hi'", "more.py": "GREETING = 'hi'", **files}
    assert any_version.start(package).serve().call().body == b"hi"


def test_root_handler_imports_from_its_own_folder_with_marshalled_code(plain: Zygote, tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("GREETING = 'hi'")
    code = plain.start({"handler.py": FROM_DOT, "words.py": "GREETING = 'old'"}, want_code=True).serve().code
    assert plain.start_package(tmp_path, code=code).serve().call().body == b"hi"


def test_modules_named_like_ours_are_the_functions_own(any_version: Zygote) -> None:
    files = {"handler.py": "import results, load\ndef handler(event): return results.A + load.B"}
    files |= {"results.py": "A = 'a'", "load.py": "B = 'b'"}
    assert any_version.start(files).serve().call(b"{}").body == b"ab"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b"[1, 2]", "application/json; charset=utf-8", [1, 2]),
        (b'{"a": 1}', "application/cloudevents+json", {"a": 1}),
        (b'{"a": 1}', "application/x-www-form-urlencoded", {"a": 1}),  # what curl -d sends
        (b'{"a": 1}', "", {"a": 1}),
        (b"a=1", "application/x-www-form-urlencoded", "b'a=1'"),
        (b'{"a": 1}', "text/plain", "b'{\"a\": 1}'"),
        (b"\xff\x00", "image/png", "b'\\xff\\x00'"),
        (b"{broken", "", "b'{broken'"),
    ],
)
def test_body_becomes_the_event(plain: Zygote, body: bytes, content_type: str, expected: object) -> None:
    source = "def handler(event): return {'got': repr(event) if isinstance(event, bytes) else event}"
    headers = {"content-type": content_type} if content_type else {}
    assert plain.start(source).serve().call(body, headers=headers).json()["got"] == expected


def test_query_is_the_event_without_a_body(plain: Zygote) -> None:
    source = "def handler(event): return {'got': event}"
    assert plain.start(source).serve().call(target="/?name=Ada&x=%20y").json()["got"] == {"name": "Ada", "x": " y"}


def test_broken_json_is_the_callers_fault(plain: Zygote) -> None:
    gateway = plain.start("def handler(event): return 1").serve()
    answer = gateway.call(b"{oops", headers={"content-type": "application/json"})
    assert answer.status == 400
    error = answer.json()["error"]
    assert error["code"] == "bad_request" and "not JSON" in error["message"]
    assert answer.json()["request_id"].startswith("request-")


def test_openwhisk_arguments(plain: Zygote) -> None:
    gateway = plain.start("def main(args): return {'body': args, 'headers': {}}").serve()
    body, headers = b'{"a": "body"}', {"content-type": "application/json"}
    args = gateway.call(body, target="/x/y?a=query&b=2", method="PUT", headers=headers).json()
    assert (args["a"], args["b"]) == ("body", "2")
    assert (args["__ow_method"], args["__ow_path"]) == ("put", "/x/y")
    assert args["__ow_headers"]["content-type"] == "application/json"
    form = gateway.call(b"a=form", headers={"content-type": "application/x-www-form-urlencoded"}).json()
    assert form["a"] == "form"
    assert gateway.call(b"text", headers={"content-type": "text/plain"}).json()["__ow_body"] == "text"
    assert gateway.call(b"\xff", headers={"content-type": "image/png"}).json()["__ow_body"] == "/w=="
    assert gateway.call(b"[1]", headers=headers).json()["__ow_body"] == [1]


def test_openfaas_event(plain: Zygote) -> None:
    source = """
def handle(event, context):
    return {"statusCode": 201, "headers": {"X-A": "b"}, "body": {
        "body": event.body.decode(), "method": event.method, "path": event.path, "a": event.query["a"],
        "all": event.query.getlist("a"), "none": event.query.get("zz"), "ct": event.headers["Content-TYPE"],
        "has": "CONTENT-type" in event.headers, "host": context.hostname}}
"""
    answer = plain.start(source).serve().call(b"hi", target="/p%20q?a=1&a=2", headers={"content-type": "text/x"})
    assert (answer.status, answer.headers["x-a"]) == (201, "b")
    expected = {"body": "hi", "method": "POST", "path": "/p q", "a": "1", "all": ["1", "2"], "none": None}
    assert expected.items() <= answer.json().items()
    assert (answer.json()["ct"], answer.json()["has"]) == ("text/x", True)
    assert answer.json()["host"]


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b"plain", "text/plain", "plain"),
        (b"\xff", "image/png", "/w=="),
        (b"", "", {"q": "1"}),
    ],
)
def test_event_inside_a_result_stands_for_its_body(
    plain: Zygote, body: bytes, content_type: str, expected: object
) -> None:
    gateway = plain.start("def handle(event, context): return {'got': event, 'from': event.headers}").serve()
    headers = {"content-type": content_type} if content_type else {}
    answer = gateway.call(body, target="/?q=1", headers=headers).json()
    assert answer["got"] == expected
    assert answer["from"] == {"x-request-id": "request-1", **headers}


def test_event_as_the_result_is_an_echo(plain: Zygote) -> None:
    gateway = plain.start("def handle(event, context): return event").serve()
    answer = gateway.call(b"\xff", headers={"content-type": "image/png"})
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "image/png", b"\xff")


def test_event_with_broken_json_in_a_result_is_the_callers_fault(plain: Zygote) -> None:
    gateway = plain.start("def handle(event, context): return {'got': event}").serve()
    assert gateway.call(b"{oops", headers={"content-type": "application/json"}).status == 400


def test_lambda_context(plain: Zygote) -> None:
    source = """
def lambda_handler(event, context):
    return [context.aws_request_id, context.function_name, context.memory_limit_in_mb,
            context.get_remaining_time_in_millis(), context.invoked_function_arn, context.event.path]
"""
    found = plain.start(source).serve().call(b"{}", target="/deep", timeout_ms=5000).json()
    assert found[:3] == ["request-1", "greet", 256]
    assert 0 < found[3] <= 5000
    assert found[4:] == ["corral:default/greet", "/deep"]


def test_function_sees_its_settings_and_nothing_of_ours(everywhere: Zygote) -> None:
    source = "import os\ndef handler(event): return dict(os.environ)"
    names = json.loads(everywhere.start(source).serve().call(b"{}").body)
    assert names["GREETING"] == "hello"
    assert set(names) == {"PATH", "HOME", "TMPDIR", "LANG", "TZ", "GREETING"}
