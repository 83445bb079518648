"""`corral bench`."""

import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from corral.bench import machine, table
from corral.bench.contest import Contest
from corral.bench.manage import Management, Refused
from corral.bench.rows import ROWS
from corral.bench.server import NoServer, Server, own_server
from corral.errors import CorralError, Invalid

SEED = 20_261_123
"""Of the bootstrap only: the same samples give the same interval."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` writes."""

    machine: machine.Machine
    rows: Sequence[table.Row]
    missing: Sequence[str]


@click.command()
@click.option("--rows", "chosen", metavar="A,B,…", help=f"Only these rows: {', '.join(ROWS)}.")
@click.option("--json", "file", type=click.Path(path_type=Path), metavar="FILE", help="Write the numbers to FILE.")
@click.option("--check", is_flag=True, help="Exit with 1 when a row has no number. A missed target is not a failure.")
@click.option("--quick", is_flag=True, help="Fewer calls: a look, not a measurement.")
@click.option("--url", metavar="URL", help="Measure this server, with CORRAL_TOKEN, instead of a fresh one per row.")
def command(chosen: str | None, file: Path | None, check: bool, quick: bool, url: str | None) -> int:
    """Measure Corral on this machine: cold starts, throughput, added latency, reaction, memory.

    The machine must have nothing else to do. All rows take about 30 minutes; --quick about five."""
    names = _rows_of(chosen)
    servers = _Servers(url)
    described = machine.describe(sys.argv, isolation=servers.isolation(), quick=quick)
    rows = [_measure(name, servers, quick) for name in names]
    report = Report(machine=described, rows=rows, missing=table.missing(rows))
    click.echo(render(report))
    if file is not None:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if not check:
        return 0
    for problem in report.missing:
        click.echo(f"corral bench: {problem}", err=True)
    return 1 if report.missing else 0


def _rows_of(chosen: str | None) -> list[str]:
    names = [name.strip() for name in chosen.split(",")] if chosen else list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise Invalid(f"rows = {','.join(unknown)!r}, must be among {', '.join(ROWS)}")
    return names


class _Servers:
    """A fresh server for each row, so that none inherits what another left; or always the one at `url`."""

    def __init__(self, url: str | None) -> None:
        self._other: Server | None = None
        if url is not None:
            token = os.environ.get("CORRAL_TOKEN", "")
            if not token:
                raise Invalid(
                    "CORRAL_TOKEN is empty, must be a token that may manage and invoke: bench deploys functions"
                )
            self._other = Server(url=url.rstrip("/"), token=token, pid=None)

    @contextmanager
    def one(self) -> Iterator[Server]:
        if self._other is not None:
            yield self._other
            return
        with own_server() as server:
            yield server

    def isolation(self) -> str:
        try:
            with self.one() as server:
                return str(Management(server).status().get("tier") or "unknown")
        except (NoServer, Refused) as exc:
            raise CorralError(str(exc)) from exc


def _measure(name: str, servers: _Servers, quick: bool) -> table.Row:
    """A row that could not be measured is a row without a number, and the others are measured all the same."""
    try:
        with servers.one() as server:
            contest = Contest(
                server=server, management=Management(server), quick=quick, rng=random.Random(SEED), say=_say
            )
            return ROWS[name](contest)
    except (NoServer, Refused, OSError) as exc:
        return table.Row(name=name, title=f"Row {name}", notes=[f"not measured: {exc}"])


def _say(line: str) -> None:
    click.echo(line, err=True)


def render(report: Report) -> str:
    here = report.machine
    head = [
        f"corral {here.corral}, Python {here.python}, {here.kernel}",
        f"{here.cpu}, {here.cores} cores, {here.memory_mib:,} MiB; isolation: {here.isolation}; "
        f"load before: {here.load_before:.2f}",
        here.command,
        "the load generator is one process on the same cores",
    ]
    if here.quick:
        head.append("QUICK: fewer calls than the rows ask for; a look, not a measurement")
    return "\n".join([*head, "", table.render(report.rows)])
