"""`corral doctor`: what this machine allows. Works without a server; asks one if it runs."""

import platform
import sys
from typing import Any

import click

from corral import __version__
from corral.cli.client import Client
from corral.cli.main import OK, exit_code
from corral.cli.options import json_option, url_option
from corral.cli.output import print_fields, print_json
from corral.errors import CorralError
from corral.sandbox.probe import probe


@click.command()
@url_option
@json_option
def doctor(url: str | None, as_json: bool) -> int:
    """Say what this machine allows, what is not held, and which settings of the host were changed. Exit code 4 when no
    server answers, 5 when one refuses the token; what is known is printed all the same."""
    client = Client(url)
    fault: CorralError | None = None
    server: dict[str, Any] = {"url": client.url, "state": "serves"}
    try:
        server |= client.manage("GET", "/status")
    except CorralError as exc:
        fault = exc
        server["state"] = str(exc)
    _print(_machine() | {"server": server}, as_json)
    return OK if fault is None else exit_code(fault)


def _print(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    server = report["server"]
    print_fields(
        [
            ("corral", report["version"]),
            ("system", report["system"]),
            ("python", report["python"]),
            ("isolation", f"{report['tier']}, cgroups {report['cgroups']}"),
            ("server", f"{server['url']}: {server['state']}"),
            ("memory", _memory(server.get("budget"))),
            ("host settings changed", ", ".join(report["host_settings_changed"]) or "none"),
        ]
    )
    for line in report["not_held"] or ["nothing"]:
        click.echo(f"not held: {line}")


def _memory(budget: dict[str, Any] | None) -> str:
    """Of a server that answered."""
    if budget is None:
        return ""
    limit_mib, evicted = budget["limit_mib"], budget["evicted_instances"] + budget["evicted_zygotes"]
    whole = "no limit" if limit_mib is None else f"{limit_mib:.0f} MiB for functions"
    parts = [f"{budget['instances_mib']} by instances", f"{budget['zygotes_mib']} by {budget['zygotes']} zygotes"]
    waiting = f"; starts of {budget['waiting']} functions wait for room" if budget["waiting"] else ""
    return f"{whole}, {' and '.join(parts)} in use, {evicted} evictions{waiting}"


def _machine() -> dict[str, Any]:
    host = probe()
    tier = host.tier("auto")
    return {
        "version": __version__,
        "system": f"Linux {host.kernel} {platform.machine()}",
        "python": f"{platform.python_version()} at {sys.executable}",
        "tier": tier,
        "cgroups": host.cgroups,
        "not_held": host.not_held(tier),
        # T1 uses namespaces and groups of its own; nothing on the host is switched.
        "host_settings_changed": [],
    }
