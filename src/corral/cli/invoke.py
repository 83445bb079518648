"""`corral invoke`: one call, its answer, and where the time went."""

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click

from corral.cli.client import Answer, Client, fault_of
from corral.cli.main import FAILED, OK, exit_code
from corral.cli.options import json_option, namespace_option, url_option
from corral.cli.output import print_json
from corral.errors import Invalid

PARTS = {"queue": "waited in the queue", "cold": "cold start", "function": "function"}
"""Name in Server-Timing -> what it is."""
EXPLAINED = ("x-request-id", "x-corral-instance", "x-corral-cold", "server-timing")
"""Headers of Corral's own, which --verbose puts into words."""


@click.command()
@click.argument("name")
@click.option("-d", "--data", metavar="DATA", help="The body: text, @FILE, or - for standard input.")
@click.option("-X", "--method", metavar="METHOD", help="[GET; POST with --data]")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME: VALUE")
@click.option("--path", default="", metavar="/PATH?QUERY", help="What follows the function's name.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Show status, request id, headers, where the time went, a curl line."
)
@namespace_option
@url_option
@json_option
def invoke(
    name: str, data: str | None, method: str | None, headers: tuple[str, ...], path: str, verbose: bool,
    namespace: str, url: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Call the function NAME and print its answer. Exit code 1 when its status is 400 or above."""
    client = Client(url)
    body = _body(data)
    method = method or ("POST" if body is not None else "GET")
    sent = dict(_header(header) for header in headers)
    if body is not None and not any(each.lower() == "content-type" for each in sent):
        sent["Content-Type"] = _type_of(body)
    target = _target(name, namespace, path)
    begun = time.perf_counter()
    answer = client.send(method, target, body, {"Corral-Debug": "timing", **sent})
    content = answer.body()
    took_s = time.perf_counter() - begun
    if as_json:
        print_json(_as_value(answer, content, took_s))
    else:
        sys.stdout.buffer.write(content)
        if content and not content.endswith(b"\n") and sys.stdout.isatty():
            click.echo()
        sys.stdout.flush()
    if verbose:
        _explain(answer, took_s)
        click.echo(_curl(client, method, target, data, sent), err=True)
    return _verdict(answer, content)


def _verdict(answer: Answer, content: bytes) -> int:
    if answer.status < 400:
        return OK
    if "x-corral-instance" in answer.headers:  # the function itself said so
        return FAILED
    if answer.status >= 500 or answer.status == 429:
        return FAILED
    return exit_code(fault_of(answer.status, content))


def _body(data: str | None) -> bytes | None:
    if data is None:
        return None
    if data == "-":
        return sys.stdin.buffer.read()
    if data.startswith("@"):
        try:
            return Path(data[1:]).read_bytes()
        except OSError as exc:
            raise Invalid(f"--data = {data}, must name a file that can be read: {exc.strerror}") from exc
    return data.encode()


def _type_of(body: bytes) -> str:
    try:
        json.loads(body)
    except ValueError as exc:
        if body.lstrip()[:1] in (b"{", b"["):
            click.echo(f"corral: --data looks like JSON and is none ({exc}): the function gets bytes", err=True)
        return "application/octet-stream"
    return "application/json"


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise Invalid(f"--header = {line!r}, must be NAME: VALUE")
    return name.strip(), value.strip()


def _target(name: str, namespace: str, path: str) -> str:
    if path and path[0] not in "/?":
        path = "/" + path
    called = name if namespace == "default" or "." in name else f"{name}.{namespace}"
    return f"/function/{called}{path}"


def server_timing(value: str) -> dict[str, float]:
    """`queue;dur=0.1, function;dur=2` -> {"queue": 0.1, "function": 2.0}, in milliseconds."""
    parts = {}
    for part in value.split(","):
        name, _, rest = part.strip().partition(";")
        for parameter in rest.split(";"):
            key, _, number = parameter.strip().partition("=")
            if key == "dur" and name:
                parts[name] = float(number)
    return parts


def _as_value(answer: Answer, content: bytes, took_s: float) -> dict[str, Any]:
    try:
        body: Any = json.loads(content)
    except ValueError:
        body = content.decode(errors="replace")
    return {
        "status": answer.status,
        "request_id": answer.headers.get("x-request-id"),
        "instance": answer.headers.get("x-corral-instance"),
        "cold": "x-corral-cold" in answer.headers,
        "took_ms": round(took_s * 1000, 3),
        "parts_ms": server_timing(answer.headers.get("server-timing", "")),
        "headers": answer.headers,
        "body": body,
    }


def _explain(answer: Answer, took_s: float) -> None:
    parts = server_timing(answer.headers.get("server-timing", ""))
    is_cold = "x-corral-cold" in answer.headers
    if not is_cold:
        parts.pop("cold", None)
    click.echo(f"status    {answer.status}", err=True)
    click.echo(f"request   {answer.headers.get('x-request-id', 'unknown')}", err=True)
    instance = answer.headers.get("x-corral-instance")
    if instance:
        click.echo(f"instance  {instance}{' (started for this call)' if is_cold else ''}", err=True)
    for name, text in answer.headers.items():
        if name not in EXPLAINED:
            click.echo(f"header    {name}: {text}", err=True)
    click.echo(f"took      {took_s * 1000:.1f} ms", err=True)
    for part, value in parts.items():
        click.echo(f"  {value:8.1f} ms  {PARTS.get(part, part)}", err=True)
    if parts:
        click.echo(
            f"  {max(0.0, took_s * 1000 - sum(parts.values())):8.1f} ms  gateway, network and this client", err=True
        )


def _curl(client: Client, method: str, target: str, data: str | None, headers: dict[str, str]) -> str:
    words = ["curl", "-X", method] if method not in ("GET", "POST") or (method == "POST" and data is None) else ["curl"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    if data is not None:
        words += ["--data-binary", "@-" if data == "-" else data]
    return shlex.join([*words, client.url + target])
