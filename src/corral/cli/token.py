"""`corral token`: make, list and revoke tokens. The token itself is shown once, when it is made."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from corral.cli.client import Client
from corral.cli.options import json_option, url_option
from corral.cli.output import print_json, print_table
from corral.errors import Conflict, NotFound


@click.group()
def token() -> None:
    """Make, list and revoke tokens."""


@token.command()
@click.argument("label")
@click.option("-n", "--namespace", "namespaces", multiple=True, metavar="NS", help="May be repeated. [every namespace]")
@click.option("--manage", is_flag=True, help="It may deploy and delete.")
@click.option("--no-invoke", is_flag=True, help="It may not call private functions.")
@url_option
@json_option
def create(
    label: str, namespaces: tuple[str, ...], manage: bool, no_invoke: bool, url: str | None, as_json: bool
) -> None:
    """Make a token; LABEL says whose or what for."""
    wanted = {"label": label, "namespaces": list(namespaces) or ["*"], "manage": manage, "invoke": not no_invoke}
    made = Client(url).manage("POST", "/tokens", wanted)
    if as_json:
        print_json(made)
    else:
        click.echo(made["token"])


@token.command("list")
@url_option
@json_option
def list_tokens(url: str | None, as_json: bool) -> None:
    """List the tokens, each by the beginning of its SHA-256."""
    tokens = Client(url).manage("GET", "/tokens")["tokens"]
    if as_json:
        print_json(tokens)
        return
    rows = []
    for each in tokens:
        rights = [right for right in ("manage", "invoke") if each.get(right)]
        made = time.strftime("%Y-%m-%d", time.localtime(each["created_at"]))
        rows.append([each["digest"][:12], each["label"], ",".join(each["namespaces"]), "+".join(rights), made])
    print_table(("DIGEST", "LABEL", "NAMESPACES", "MAY", "MADE"), rows)


@token.command()
@click.argument("which", metavar="LABEL|DIGEST")
@url_option
def revoke(which: str, url: str | None) -> None:
    """Take a token's rights away: that with this label, or the one whose SHA-256 begins so, as `corral token list`
    shows it."""
    client = Client(url)
    digest = chosen(which, client.manage("GET", "/tokens")["tokens"])
    client.manage("DELETE", f"/tokens/{digest}")
    click.echo(f"revoked {which}")


def chosen(which: str, tokens: Sequence[Mapping[str, Any]]) -> str:
    """The digest of the token meant. Raises NotFound; Conflict when `which` fits several: nobody's rights are taken
    away by a guess."""
    fits = [each for each in tokens if each["label"] == which or each["digest"].startswith(which)]
    if not fits:
        raise NotFound(f"no token is labelled {which!r}, and no token's SHA-256 begins so")
    if len(fits) > 1:
        digests = ", ".join(each["digest"][:12] for each in fits)
        raise Conflict(f"{len(fits)} tokens fit {which!r}, must be one; give the digest: {digests}")
    return str(fits[0]["digest"])
