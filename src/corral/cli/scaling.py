"""`corral scaling` and `corral namespace`: how many instances there are, said while functions serve."""

from typing import Any

import click

from corral.cli.client import Client, functions_path, namespace_path
from corral.cli.options import json_option, namespace_option, url_option
from corral.cli.output import ORIGINS, print_fields, print_json
from corral.package.scaling import scaling_of_pairs, scaling_of_text

LIMITS = ("min", "max", "idle_s")
"""Keys of any engine; all others are the engine's own."""


@click.command()
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--reset", is_flag=True, help="Back to what its deployment says, before KEY=VALUE is set.")
@namespace_option
@url_option
@json_option
def scaling(name: str, pairs: tuple[str, ...], reset: bool, namespace: str, url: str | None, as_json: bool) -> None:
    """Show how the function NAME is scaled, or change it: engine, min, max, idle_s and the engine's settings.

    What is set counts from the next decision on; no call fails. It stays, also over later deployments, until one says
    otherwise than the deployment before it. A setting without a value (target=) is back at its default."""
    client = Client(url)
    path = functions_path(namespace, name) + "/scaling"
    shown = client.manage("PUT", path, dict.fromkeys(("scaling", *LIMITS))) if reset else client.manage("GET", path)
    if pairs:
        shown = client.manage("PUT", path, changed(shown["said"], pairs))
    if as_json:
        print_json(shown)
    else:
        print_fields(fields_of(shown))


def changed(said: dict[str, Any], pairs: tuple[str, ...]) -> dict[str, Any]:
    """What to send so that `pairs` are set over `said`. Another engine begins without the settings of this one."""
    wanted: dict[str, Any] = scaling_of_pairs(pairs)
    sent = {key: None if wanted[key] == "" else wanted[key] for key in LIMITS if key in wanted}
    own = {key: value for key, value in wanted.items() if key not in LIMITS}
    if own:
        kept = said if own.get("engine", said["engine"]) == said["engine"] else {}
        sent["scaling"] = {key: value for key, value in {**kept, **own}.items() if value != ""}
    return sent


def fields_of(shown: dict[str, Any]) -> list[tuple[str, str]]:
    """For print_fields."""
    limits = [(key, _shown(shown[key]) + (" (set while it served)" if key in shown["live"] else "")) for key in LIMITS]
    settings = [
        (key, _shown(value) + ("" if key in shown["said"] else " (default)"))
        for key, value in shown["settings"].items()
    ]
    return [("engine", f"{shown['engine']}, {ORIGINS[shown['origin']]}"), *limits, *settings]


def _shown(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@click.command("namespace")
@click.argument("name")
@click.option("--scaling", "said", metavar="K=V,…", help="Of functions that say nothing; '' takes it back.")
@url_option
@json_option
def namespace_command(name: str, said: str | None, url: str | None, as_json: bool) -> None:
    """Show what holds for all functions of the namespace NAME, or change it. It counts from the next decision on."""
    client = Client(url)
    if said is None:
        shown = client.manage("GET", namespace_path(name))
    else:
        shown = client.manage("PUT", namespace_path(name), {"scaling": scaling_of_text(said)})
    if as_json:
        print_json(shown)
        return
    pairs = ", ".join(f"{key}={_shown(value)}" for key, value in shown["scaling"].items())
    print_fields([("namespace", name), ("scaling", pairs or "engine=corral, by default")])
