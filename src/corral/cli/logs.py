"""`corral logs`: what a function printed, with the request each line belongs to, and its calls."""

import json
import time
from typing import Any
from urllib.parse import urlencode

import click

from corral.cli.client import Client, fault_of, functions_path
from corral.cli.options import json_option, namespace_option, url_option
from corral.errors import Invalid, Unavailable


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Stay and show new lines as they come.")
@click.option(
    "--tail", type=click.IntRange(0), default=100, show_default=True, metavar="N", help="Lines to begin with."
)
@click.option("--calls", is_flag=True, help="With -f: show each call as well: method, path, status, time.")
@click.option("--request", metavar="ID", help="Lines of this request only.")
@click.option("--build", is_flag=True, help="What the last installation of its dependencies wrote, instead.")
@namespace_option
@url_option
@json_option
def logs(
    name: str, follow: bool, tail: int, calls: bool, request: str | None, build: bool, namespace: str, url: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Show what the function NAME printed."""
    if build:
        _print_build_log(Client(url), namespace, name, as_json)
        return
    asked: dict[str, str | int] = {"tail": tail}
    if follow:
        asked["follow"] = 1
        if calls:
            asked["calls"] = 1
    elif calls:
        raise Invalid("--calls is given without -f, must be with it: calls are shown as they end, not kept")
    if request:
        asked["request"] = request
    client = Client(url)
    path = f"/corral/v1{functions_path(namespace, name)}/logs?{urlencode(asked)}"
    # A function may be silent for days: a follower waits.
    answer = client.send("GET", path, timeout_s=7 * 86_400.0 if follow else 60.0)
    if answer.status != 200:
        raise fault_of(answer.status, answer.body())
    for raw in answer.lines():
        click.echo(raw.decode(errors="replace").rstrip("\n") if as_json else _readable(json.loads(raw)))
    if follow:
        # The server never ends it. Ask whether server and function are still there: their faults say it best.
        client.manage("GET", functions_path(namespace, name))
        raise Unavailable(f"the log of {namespace}/{name} broke off: a part of the server was restarted; follow again")


def _print_build_log(client: Client, namespace: str, name: str, as_json: bool) -> None:
    answer = client.send("GET", f"/corral/v1{functions_path(namespace, name)}/build-log")
    body = answer.body()
    if answer.status != 200:
        raise fault_of(answer.status, body)
    text = body.decode(errors="replace")
    click.echo(json.dumps({"build_log": text}) if as_json else text.rstrip("\n"))


def _readable(line: dict[str, object]) -> str:
    moment = line.get("t")
    when = ""
    if isinstance(moment, (int, float)):
        when = time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1000):03d} "
    request, call = line.get("request"), line.get("call")
    said = _call(call) if isinstance(call, dict) else line.get("line", "")
    return f"{when}{str(request) if request else '-':19} {said}"


def _call(call: dict[str, Any]) -> str:
    broken = "" if call["is_whole"] else ", broke off"
    return f"{call['method']} {call['path']} {call['status']} in {call['took_ms']:.1f} ms{broken}"
