"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def url_option(command: Command) -> Command:
    return click.option("--url", metavar="URL", help="The server [CORRAL_URL; http://127.0.0.1:8080].")(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def namespace_option(command: Command) -> Command:
    return click.option("-n", "--namespace", default="default", show_default=True, metavar="NS")(command)
