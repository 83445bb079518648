"""`corral deploy`: read, pack, send, say what was recognised."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from corral.cli.changes import changes, left_open
from corral.cli.client import Client, functions_path
from corral.cli.options import json_option, url_option
from corral.cli.output import print_json, seconds
from corral.cli.sending import put, told_of_installation, upload, wanted_of
from corral.errors import Invalid, NotFound
from corral.package.bundle import pack
from corral.package.manifest import FILE, KEYS, Deployment, read_deployments
from corral.package.opened import opened, stem

KINDS: dict[str, Any] = {
    "memory": int, "concurrency": int, "min": int, "max": int, "initial": int, "queue": int,
    "cpu": float, "body_max": float,
}  # fmt: skip


def _key_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each key of corral.toml."""
    for name, key in reversed(KEYS.items()):
        flag = f"--{name.replace('_', '-')}"
        if name == "env":
            option = click.option(flag, multiple=True, metavar="K=V", help=key.help)
        elif name == "private":
            option = click.option(flag, is_flag=True, default=None, help=key.help)
        else:
            option = click.option(
                flag, type=KINDS.get(name, str), metavar="N" if name in KINDS else None, help=key.help
            )
        command = option(command)
    return command


@click.command()
@click.argument("words", nargs=-1, metavar="[NAME] PATH")
@click.option("-n", "--namespace", metavar="NS", help="[default]")
@_key_options
@click.option("--no-traffic", is_flag=True, help="Only keep the new revision: no call goes to it yet.")
@click.option("--tag", metavar="TAG", help="Calls of NAME@TAG go to the new revision.")
@url_option
@json_option
def deploy(
    words: tuple[str, ...], namespace: str | None, no_traffic: bool, tag: str | None, url: str | None, as_json: bool,
    **flags: Any,
) -> int:  # fmt: skip
    """Deploy the function NAME from PATH, a file, a folder or an archive of one (.zip, .tar, .tar.gz, .tgz). A
    corral.toml in the folder can say the same as the flags, for one function or, under [functions.NAME], for many; NAME
    may then be left out, or pick one. An archive without one may name the function by its own name."""
    name, path = _name_and_path(words)
    flags["env"] = _environment(flags["env"])
    with opened(path, flags["handler"]) as folder:
        if not (folder / FILE).is_file():
            name = name or stem(path)
        deployments = read_deployments(folder, name, namespace, flags)
        return _deploy(Client(url), deployments, as_json, tag, no_traffic)


def _deploy(client: Client, deployments: list[Deployment], as_json: bool, tag: str | None, no_traffic: bool) -> int:
    _warn_of_cores(client, deployments)
    before = _specs_before(client, deployments)
    with told_of_installation({each.path for each in deployments}, _say_installing):
        deployed = _send(client, deployments, tag, no_traffic)
    for function, deployment in zip(deployed, deployments, strict=True):
        old, new = before.get(deployment.name), function["spec"] | {"env": dict(deployment.spec.env)}
        function["changes"] = [*(changes(old, new) if old is not None else []), *left_open(function)]
    if as_json:
        print_json(deployed)
        return 0
    for function in deployed:
        _print_deployed(client, function)
    return 0


def _say_installing(packages: str) -> None:
    """To somebody who waits at a terminal."""
    if sys.stderr.isatty():
        click.echo(f"installing {packages} and what they need …", err=True)


def _specs_before(client: Client, deployments: list[Deployment]) -> dict[str, dict[str, Any]]:
    """Name -> spec of the revision that is replaced, of those there are. One request, however many are deployed."""
    namespace = deployments[0].namespace
    if len(deployments) > 1:
        found = client.manage("GET", functions_path(namespace) + "?secrets=1")["functions"]
        return {function["name"]: _replaced(function) for function in found}
    name = deployments[0].name
    try:
        return {name: _replaced(client.manage("GET", functions_path(namespace, name) + "?secrets=1"))}
    except NotFound:
        return {}


def _replaced(function: dict[str, Any]) -> dict[str, Any]:
    """Settings of the newest revision that has a share: a deployment takes that over. It need not be the largest."""
    newest = max(share["number"] for share in function["traffic"] if share["percent"])
    spec: dict[str, Any] = (function.get("specs") or {}).get(str(newest), function["spec"])
    return spec


def _warn_of_cores(client: Client, deployments: list[Deployment]) -> None:
    """More than the server has is allowed, as the next machine may have them, but here it means nothing."""
    if all(each.spec.cpu <= 1 for each in deployments):
        return
    cores = client.manage("GET", "/status")["cpus"]
    for each in deployments:
        if each.spec.cpu > cores:
            click.echo(f"warning: {each.name}: cpu = {each.spec.cpu:g}, but the server's machine has {cores}", err=True)


def _name_and_path(words: tuple[str, ...]) -> tuple[str | None, Path]:
    if len(words) == 2:
        return words[0], Path(words[1])
    if len(words) != 1:
        raise click.UsageError(f"{len(words)} words given, must be NAME PATH, or PATH of a folder with corral.toml")
    if not Path(words[0]).exists() and "/" not in words[0]:
        raise click.UsageError(f"PATH is missing: corral deploy {words[0]} PATH")
    return None, Path(words[0])


def _environment(pairs: tuple[str, ...]) -> dict[str, str] | None:
    for pair in pairs:
        if "=" not in pair:
            raise Invalid(f"--env = {pair!r}, must be NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs) or None


def _send(client: Client, deployments: list[Deployment], tag: str | None, no_traffic: bool) -> list[dict[str, Any]]:
    """All or none: several go in one request."""
    namespace = deployments[0].namespace
    packed = {path: pack(path) for path in {each.path for each in deployments}}
    packages = {path: upload(client, namespace, content) for path, content in packed.items()}
    if len(deployments) == 1:
        only = deployments[0]
        return [put(client, only, packages[only.path], tag=tag, no_traffic=no_traffic)]
    wanted = [{"name": each.name} | wanted_of(each, packages[each.path], tag, no_traffic) for each in deployments]
    return list(client.manage("POST", functions_path(namespace), {"functions": wanted})["functions"])


def _print_deployed(client: Client, function: dict[str, Any]) -> None:
    name, namespace = function["name"], function["namespace"]
    called = name if namespace == "default" else f"{name}.{namespace}"
    if function.get("style"):
        kind = f"{'async ' if function.get('is_async') else ''}{function['style']}"
        took = function.get("load_s")
        how = f": {kind}" + (f", loaded in {seconds(took)}" if took else "")
    else:
        how = ": not loaded yet (--initial 0)"
    click.echo(f"deployed {called} as revision {function['number']}{how}")
    for change in function["changes"]:
        click.echo(f"  {change}")
    token = " -H 'Authorization: Bearer '$CORRAL_TOKEN" if function.get("spec", {}).get("private") else ""
    shares = {each["number"]: each for each in function["traffic"]}
    tags = shares.get(function["number"], {"tags": []})["tags"]
    if function["percent"] < 100:
        told = f"{function['percent']} % of the calls go to it" if function["percent"] else "no calls go to it yet"
        click.echo(f"  {told}; corral traffic {name} {function['number']}=100 sends it all")
    if function["percent"] or not tags:
        click.echo(f"  curl{token} {client.url}/function/{called}")
    for each in tags:
        click.echo(f"  curl{token} {client.url}/function/{called}@{each}")
