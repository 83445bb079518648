"""Results of every natural type become proper responses."""

import base64
import hashlib
import json
from typing import Any

import pytest

from .keeper import Zygote

TEXT, HTML, BYTES, JSON = (
    "text/plain; charset=utf-8",
    "text/html; charset=utf-8",
    "application/octet-stream",
    "application/json",
)

PREAMBLE = """
import dataclasses, datetime, decimal, enum, io, pathlib, types, uuid
@dataclasses.dataclass
class Point:
    x: int
    y: int
class Colour(enum.Enum):
    RED = "red"
class Reply:
    status_code = 202
    headers = {"X-A": "b"}
    body = b"made"
"""

ROWS: list[tuple[str, str, int, str | None, bytes]] = [
    ("nothing", "None", 200, None, b""),
    ("text", "'gr\\u00fcn'", 200, TEXT, "grün".encode()),
    ("html", "'  <!DOCTYPE html><p>'", 200, HTML, b"  <!DOCTYPE html><p>"),
    ("bytes", "b'\\xff\\x00'", 200, BYTES, b"\xff\x00"),
    ("bytearray", "bytearray(b'ab')", 200, BYTES, b"ab"),
    ("dict", "{'a': [1, None]}", 200, JSON, b'{"a":[1,null]}'),
    ("list", "[1, 'x']", 200, JSON, b'[1,"x"]'),
    ("number", "42", 200, JSON, b"42"),
    ("false", "False", 200, JSON, b"false"),
    ("tuple", "(1, 'x')", 200, JSON, b'[1,"x"]'),
    ("body and status", "('made', 201)", 201, TEXT, b"made"),
    ("body, status, headers", "({'a': 1}, 202, {'X-A': 'b'})", 202, JSON, b'{"a":1}'),
    ("dataclass", "Point(1, 2)", 200, JSON, b'{"x":1,"y":2}'),
    ("set", "{'s': {2, 1}}", 200, JSON, b'{"s":[1,2]}'),
    ("date", "{'d': datetime.date(2026, 1, 2)}", 200, JSON, b'{"d":"2026-01-02"}'),
    ("decimal", "{'d': decimal.Decimal('1.10')}", 200, JSON, b'{"d":"1.10"}'),
    ("uuid", "{'u': uuid.UUID(int=0)}", 200, JSON, b'{"u":"00000000-0000-0000-0000-000000000000"}'),
    ("path", "{'p': pathlib.Path('/a/b')}", 200, JSON, b'{"p":"/a/b"}'),
    ("enum", "{'c': Colour.RED}", 200, JSON, b'{"c":"red"}'),
    ("bytes inside", "{'b': b'ab'}", 200, JSON, b'{"b":"YWI="}'),
    ("response", "{'statusCode': 404, 'body': 'no'}", 404, TEXT, b"no"),
    ("response with JSON", "{'statusCode': '201', 'body': {'a': 1}}", 201, JSON, b'{"a":1}'),
    ("response in base64", "{'statusCode': 200, 'body': '/w==', 'isBase64Encoded': True}", 200, BYTES, b"\xff"),
    ("own content type", "{'statusCode': 200, 'headers': {'Content-Type': 'a/b'}, 'body': 'x'}", 200, "a/b", b"x"),
    ("no content", "{'statusCode': 204, 'body': 'dropped'}", 204, TEXT, b""),
    ("response object", "Reply()", 202, BYTES, b"made"),
    ("generator", "(str(n) for n in range(3))", 200, TEXT, b"012"),
    ("generator of values", "({'n': n} for n in range(2))", 200, "application/x-ndjson", b'{"n":0}\n{"n":1}\n'),
    ("empty generator", "iter(())", 200, None, b""),
    ("file", "io.BytesIO(b'content')", 200, BYTES, b"content"),
]


@pytest.mark.parametrize(("result", "status", "kind", "body"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
@pytest.mark.parametrize("define", ["def", "async def"])
def test_result(plain: Zygote, define: str, result: str, status: int, kind: str | None, body: bytes) -> None:
    gateway = plain.start(f"{PREAMBLE}\n{define} handler(event): return {result}").serve()
    answer = gateway.call(b"{}")
    assert (answer.error, answer.status, answer.headers.get("content-type"), answer.body) == ("", status, kind, body)


def test_error_of_an_openwhisk_action(plain: Zygote) -> None:
    source = "def main(args): return {'error': args.get('e', 'went wrong')}"
    gateway = plain.start(source).serve()
    answer = gateway.call(b'{"e": {"statusCode": 404, "body": "none"}}', headers={"content-type": JSON})
    assert (answer.status, answer.body) == (404, b"none")
    answer = gateway.call(b"")
    assert (answer.status, answer.json()) == (500, {"error": "went wrong"})


def test_repeated_and_framing_headers(plain: Zygote) -> None:
    source = """
def handler(event):
    headers = {"Set-Cookie": ["a=1", "b=2"], "Content-Length": "999", "Transfer-Encoding": "chunked"}
    return {"statusCode": 200, "headers": headers, "cookies": ["c=3"], "body": "x"}
"""
    headers = plain.start(source).serve().call(b"{}").headers
    assert headers["set-cookie"] == "a=1, b=2, c=3"
    assert not {"content-length", "transfer-encoding"} & set(headers)


BAD = [
    ("object()", "BadResult", "type object"),
    ("{'x': open}", "BadResult", "type builtin"),
    ("float('nan')", "BadResult", "cannot be written as JSON: it holds nan or infinity"),
    ("{'x': [float('-inf')]}", "BadResult", "cannot be written as JSON: it holds nan or infinity"),
    ("(lambda found: found.append(found) or found)([])", "BadResult", "Circular reference"),
    ("{'statusCode': 99}", "BadResult", "between 200 and 599"),
    ("{'statusCode': 'teapot'}", "BadResult", "'teapot'"),
    ("{'statusCode': 200, 'headers': {'X': 'a\\r\\nY: b'}}", "BadResult", "line break"),
    ("{'statusCode': 200, 'headers': {'X Y': 'a'}}", "BadResult", "header name"),
    ("{'statusCode': 200, 'headers': {'X': 'a' * 70000}}", "BadResult", "at most"),
    ("{'statusCode': 200, 'headers': 'X: a'}", "BadResult", "headers are str"),
    ("{'statusCode': 200, 'body': '!', 'isBase64Encoded': True}", "BadResult", "base64"),
    ("__import__('sys').exit(3)", "SystemExit", "3"),
    ("1 / 0", "ZeroDivisionError", "division"),
    ("(lambda f: f(f))(lambda f: f(f))", "RecursionError", "recursion"),
    ("exec('raise KeyboardInterrupt')", "KeyboardInterrupt", ""),
]


@pytest.mark.parametrize(("result", "kind", "text"), BAD)
@pytest.mark.parametrize("define", ["def", "async def"])
def test_fault_of_the_function_is_one_error_and_the_instance_goes_on(
    plain: Zygote, define: str, result: str, kind: str, text: str
) -> None:
    source = f"{define} handler(event):\n    if event: return 'fine'\n    return {result}"
    instance = plain.start(source)
    gateway = instance.serve()
    answer = gateway.call()
    assert answer.error.startswith(kind)
    assert text in answer.error
    said = "corral: " if kind == "BadResult" else kind
    assert f"\x1erequest-1\x1f{said}" in instance.log()
    assert "_corral" not in instance.log()
    assert gateway.call(b'{"a": 1}').body == b"fine"


def test_traceback_begins_at_the_functions_own_code(plain: Zygote) -> None:
    instance = plain.start("def handler(event):\n    return deep()\n\ndef deep():\n    raise ValueError('no')\n")
    instance.serve().call()
    lines = [line for line in instance.log().split("\n") if "File " in line]
    assert len(lines) == 2
    assert all("handler.py" in line and line.startswith("\x1erequest-1\x1f") for line in lines)


@pytest.mark.parametrize("define", ["def", "async def"])
def test_result_larger_than_the_window_arrives_whole_under_credit(plain: Zygote, define: str) -> None:
    gateway = plain.start(f"{define} handler(event): return bytes(range(256)) * 8192").serve()
    assert gateway.call(b"{}").body == bytes(range(256)) * 8192


@pytest.mark.parametrize("define", ["def", "async def"])
def test_request_larger_than_the_window_arrives_whole_for_credit(plain: Zygote, define: str) -> None:
    source = f"import hashlib\n{define} handler(event): return hashlib.sha256(event).hexdigest()"
    gateway = plain.start(source).serve()
    body = bytes(range(256)) * 4096
    call = gateway.begin(is_whole=False, headers={"content-type": BYTES}, method="POST")
    window = 256 * 1024
    for start in range(0, len(body), 32_768):
        while window < 32_768:
            frame = gateway.next(call)
            assert frame.kind == 8
            window += int.from_bytes(frame.payload, "big")
        gateway.send(5, 1 if start + 32_768 == len(body) else 0, call, body[start : start + 32_768])
        window -= 32_768
    kept = []
    while (frame := gateway.next(call)).kind == 8:
        kept.append(frame)
    gateway._kept.append(frame)
    assert gateway.finish(call).body.decode() == hashlib.sha256(body).hexdigest()


def test_binary_round_trip(plain: Zygote) -> None:
    blob = base64.b64encode(bytes(256))
    answer = plain.start("def handler(event): return event").serve().call(blob, headers={"content-type": BYTES})
    assert answer.body == blob


def test_json_is_compact_and_keeps_its_characters(plain: Zygote) -> None:
    answer: Any = plain.start("def handler(event): return {'grün': 'ß'}").serve().call()
    assert answer.body == json.dumps({"grün": "ß"}, ensure_ascii=False, separators=(",", ":")).encode()
