"""`corral doctor`: what this machine allows. Works without a server; asks one if it runs."""

import os
import platform
import shutil
import sys
from typing import Any

import click

from corral import __version__
from corral.cli.client import Client
from corral.cli.options import json_option, url_option
from corral.cli.output import print_fields, print_json
from corral.errors import CorralError


@click.command()
@url_option
@json_option
def doctor(url: str | None, as_json: bool) -> None:
    """Say what this machine allows, what is not held, and which settings of the host were changed."""
    report = _machine() | {"server": _server(url)}
    if as_json:
        print_json(report)
        return
    server = report["server"]
    print_fields(
        [
            ("corral", report["version"]),
            ("system", report["system"]),
            ("python", report["python"]),
            ("isolation", report["tier"]),
            ("server", f"{server['url']}: {server['state']}"),
            ("host settings changed", ", ".join(report["host_settings_changed"]) or "none"),
        ]
    )
    for line in report["not_held"] or ["nothing: every protection stands"]:
        click.echo(f"not held: {line}")


def _machine() -> dict[str, Any]:
    tier, not_held = _sandbox()
    return {
        "version": __version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_version()} at {sys.executable}",
        "tier": tier,
        "not_held": not_held,
        # T1 uses namespaces and groups of its own; nothing on the host is switched.
        "host_settings_changed": [],
        "interpreters": [name for name in _interpreters() if shutil.which(name)],
    }


def _interpreters() -> list[str]:
    return [f"python3.{minor}" for minor in range(9, 16)]


def _sandbox() -> tuple[str, list[str]]:
    """(tier, one sentence for each protection not held) of a server started here by this user."""
    return ("T1", []) if os.geteuid() == 0 else ("T0", ["not root: functions share this user"])


def _server(url: str | None) -> dict[str, Any]:
    client = Client(url)
    try:
        status = client.manage("GET", "/status")
    except CorralError as fault:
        return {"url": client.url, "state": str(fault)}
    return {"url": client.url, "state": "serves", **status}
