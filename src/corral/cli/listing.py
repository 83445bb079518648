"""`corral list`. Ten thousand functions are shown in a quarter of a second, so it imports no more than it needs."""

from typing import Any

import click

from corral.cli.client import Client, functions_path
from corral.cli.options import json_option, url_option
from corral.cli.output import print_json, print_table


@click.command("list")
@click.option("-n", "--namespace", metavar="NS", help="Of this namespace only.")
@url_option
@json_option
def list_functions(namespace: str | None, url: str | None, as_json: bool) -> None:
    """List the functions."""
    client = Client(url)
    path = "/functions" if namespace is None else functions_path(namespace)
    functions = client.manage("GET", path if as_json else f"{path}?brief=1")["functions"]
    if as_json:
        print_json(functions)
        return
    if not functions:
        click.echo("no functions; corral deploy NAME PATH makes one")
        return
    head = ("NAME", "NAMESPACE", "REVISION", "STYLE", "INSTANCES", "URL")
    print_table(head, [_row(client, function) for function in functions])


def _row(client: Client, function: dict[str, Any]) -> list[str]:
    name, namespace = function["name"], function["namespace"]
    called = name if namespace == "default" else f"{name}.{namespace}"
    instances = function.get("instances")
    count = len(instances) if isinstance(instances, list) else instances or 0
    url = f"{client.url}/function/{called}"
    shares = [each for each in function["traffic"] if each["percent"]]
    revision = ",".join(f"{each['number']}={each['percent']}" for each in shares)
    if len(shares) == 1:
        revision = str(function["number"])
    return [name, namespace, revision, style_of(function), str(count), url]


def style_of(function: dict[str, Any]) -> str:
    """`async main`; `not loaded yet` until its code was."""
    style = function.get("style") or "not loaded yet"
    return f"async {style}" if function.get("is_async") else style
