"""`corral revisions`, `traffic` and `rollback`: what was deployed, and where calls go."""

import time
from collections.abc import Sequence
from typing import Any

import click

from corral.cli.client import Client, functions_path
from corral.cli.options import json_option, namespace_option, url_option
from corral.cli.output import print_json, print_table
from corral.errors import Invalid


def where_calls_go(traffic: Sequence[dict[str, Any]]) -> str:
    """`90 % to 3 (stable), 10 % to 5`; revisions without a share by their tags alone: `0 % to 6 (canary)`."""
    return ", ".join(
        f"{each['percent']} % to {each['number']}" + (f" ({', '.join(each['tags'])})" if each["tags"] else "")
        for each in traffic
    )


@click.command()
@click.argument("name")
@namespace_option
@url_option
@json_option
def revisions(name: str, namespace: str, url: str | None, as_json: bool) -> None:
    """List the revisions of the function NAME that are kept: the ten newest, those with a share or a tag, and the one
    a rollback leads to."""
    found = Client(url).manage("GET", functions_path(namespace, name) + "/revisions")["revisions"]
    if as_json:
        print_json(found)
        return
    rows = [
        [
            str(each["number"]),
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["created_at"])),
            each["package"][:12],
            f"{each['percent']} %" if each["percent"] else "",
            ",".join(each["tags"]),
            str(each["instances"]),
            each["state"],
        ]
        for each in found
    ]
    print_table(("REVISION", "DEPLOYED", "PACKAGE", "CALLS", "TAGS", "INSTANCES", "STATE"), rows)


@click.command()
@click.argument("name")
@click.argument("shares", nargs=-1, metavar="[REVISION=PERCENT]...")
@click.option("--tag", "tags", multiple=True, metavar="TAG=REVISION", help="Calls of NAME@TAG go to this revision.")
@click.option("--untag", "untags", multiple=True, metavar="TAG", help="Take the tag away.")
@namespace_option
@url_option
@json_option
def traffic(
    name: str, shares: tuple[str, ...], tags: tuple[str, ...], untags: tuple[str, ...], namespace: str,
    url: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show where the calls of the function NAME go, or send them elsewhere: `corral traffic NAME 3=90 5=10`. The
    percentages add up to 100. No call fails meanwhile: instances are started first."""
    client, path = Client(url), functions_path(namespace, name)
    wanted: dict[str, Any] = {}
    if shares:
        pairs = [_pair(each, "REVISION=PERCENT, as in 3=90") for each in shares]
        wanted["shares"] = [
            {"number": _number(number, each), "percent": _number(percent, each)}
            for each, (number, percent) in zip(shares, pairs, strict=True)
        ]
    if tags or untags:
        named = [_pair(each, "TAG=REVISION, as in stable=3") for each in tags]
        wanted["tags"] = {tag: _number(number, f"{tag}={number}") for tag, number in named} | dict.fromkeys(untags)
    if wanted:
        now = client.manage("PATCH", f"{path}/traffic", wanted)["traffic"]
    else:
        now = client.manage("GET", path)["traffic"]
    _show(name, now, as_json)


@click.command()
@click.argument("name")
@click.option("--to", type=int, metavar="REVISION", help="[the one before that had all calls]")
@namespace_option
@url_option
@json_option
def rollback(name: str, to: int | None, namespace: str, url: str | None, as_json: bool) -> None:
    """Send all calls of the function NAME to an earlier revision. Tags stay; the next deployment takes over again."""
    wanted = {} if to is None else {"to": to}
    now = Client(url).manage("POST", functions_path(namespace, name) + "/rollback", wanted)["traffic"]
    _show(name, now, as_json)


def _show(name: str, traffic: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(traffic)
    else:
        click.echo(f"{name}: {where_calls_go(traffic)}")


def _pair(said: str, form: str) -> tuple[str, str]:
    before, equals, after = said.partition("=")
    if not equals or not before or not after:
        raise Invalid(f"{said!r}, must be {form}")
    return before, after.removesuffix("%")


def _number(said: str, where: str) -> int:
    if not said.isdecimal():
        raise Invalid(f"{where!r}: {said!r} must be a whole number")
    return int(said)
