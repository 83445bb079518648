"""How answers look in a terminal: JSON as it came, or aligned words."""

import json
from collections.abc import Sequence
from typing import Any

import click


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one ragged."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """`name  value` lines; an empty value is left out."""
    width = max((len(name) for name, _ in fields), default=0)
    for name, value in fields:
        if value:
            click.echo(f"{name:{width}}  {value}")


def seconds(value: float) -> str:
    """`0.0042` -> `4.2 ms`; `61` -> `61 s`."""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.4g} s"
