"""`corral up`: every setting of config.py is a flag here."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from corral import config
from corral.parent.folder import default_data

SHORT = {"server": "", "keeper.isolation": "isolation"}
"""Settings people type every day go without their group's name."""


def flag_of(group: str, field: str) -> str:
    """`--port` of server.port, `--gateway-idle-s` of gateway.idle_s."""
    name = SHORT.get(f"{group}.{field}") or (field if group in SHORT else f"{group}_{field}")
    return "--" + name.replace("_", "-")


def _setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for group in reversed(msgspec.structs.fields(config.Settings)):
        for field in reversed(msgspec.structs.fields(group.type)):
            command = click.option(
                flag_of(group.name, field.name),
                f"{group.name}__{field.name}",
                metavar={int: "N", float: "X", str: "TEXT"}.get(field.type, "TEXT"),
                help=f"{config.explain(group.type, field.name)} [{field.default}]",
            )(command)
    return command


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What is deployed is kept here. [/var/lib/corral as root, else corral in $XDG_DATA_HOME or ~/.local/share]",
)
@_setting_options
def up(data: Path | None, **flags: str | None) -> int:
    """Start a server and stay in the foreground until Ctrl-C. Every flag is also a line of DIR/config.toml and a
    variable, as in CORRAL_SERVER_PORT."""
    from corral.parent.main import up as serve

    environment = dict(os.environ)
    settings = {name.replace("__", ".", 1): value for name, value in flags.items()}
    return serve(data or default_data(environment), settings, environment)
