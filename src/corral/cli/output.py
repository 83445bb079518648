"""How answers look in a terminal: JSON as it came, or aligned words."""

import json
from collections.abc import Sequence
from typing import Any

import click

ORIGINS = {
    "live": "set while it served",
    "deployment": "as deployed",
    "namespace": "of its namespace",
    "default": "by default",
}
"""By whom a function's scaling was said."""


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one ragged."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    form = "  ".join(f"{{:{width}}}" for width in widths)
    # At once: for each line a system call would take longer than all the rest.
    click.echo("\n".join(form.format(*row).rstrip() for row in [head, *rows]))


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """`name  value` lines; an empty value is left out."""
    width = max((len(name) for name, _ in fields), default=0)
    for name, value in fields:
        if value:
            click.echo(f"{name:{width}}  {value}")


def seconds(value: float) -> str:
    """`0.0042` -> `4.2 ms`; `61` -> `61 s`."""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.4g} s"
