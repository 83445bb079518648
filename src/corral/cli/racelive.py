"""`corral race --live`: the same calls on a real server, beside the simulation."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from corral.bench.manage import NAMESPACE, Refused
from corral.bench.server import NoServer, Server, own_server
from corral.cli.output import print_table
from corral.errors import Invalid, Unavailable
from corral.parent.token import token_file
from corral.race.agreement import AGREES, Compared, compared
from corral.race.conditions import Conditions
from corral.race.live import Policies, race_live, seconds_of, slice_of
from corral.race.race import check
from corral.race.trace import Trace
from corral.race.whole import write_whole
from corral.race.words import number, seconds

HEAD = ("POLICY", "", "FAILED", "COLD STARTS", "STARTS", "ADDED LATENCY", "P50", "P99", "LONGEST")


def race_beside(
    trace: Trace, policies: Policies, conditions: Conditions, url: str | None, as_json: Path | None
) -> None:
    """Without `url` on a server of its own. Raises Invalid, Unavailable."""
    check(policies, conditions)
    drawn = slice_of(trace, conditions.seed, conditions.arrivals)
    length_s = seconds_of(drawn, policies)
    click.echo(
        f"each of {len(policies)} policies twice, in the order ABBA: about {number(length_s / 60)} min", err=True
    )
    try:
        with _server(url) as server:
            runs = race_live(drawn, policies, server, say=lambda line: click.echo(line, err=True))
    except (Refused, NoServer, OSError) as exc:
        left = f"; functions that it left in namespace {NAMESPACE} are removed by the next race there" if url else ""
        raise Unavailable(f"the race on a real server ended: {exc}{left}") from exc
    cores = os.cpu_count() or 1
    found = compared(drawn, policies, runs, conditions.seed, conditions.cold_start, cores)
    show(found)
    if as_json is not None:
        write_whole({as_json: json_of(drawn, found)})
        click.echo(f"wrote {as_json}")


@contextmanager
def _server(url: str | None) -> Iterator[Server]:
    if url is None:
        with own_server() as server:
            yield server
        return
    token = os.environ.get("CORRAL_TOKEN") or _left(url)
    if not token:
        raise Invalid(f"there is no token for {url}: CORRAL_TOKEN must hold one that may manage and invoke")
    yield Server(url=url.rstrip("/"), token=token, pid=None)


def _left(url: str) -> str:
    """The token that `corral up` left on this machine; empty: none."""
    try:
        return token_file(url.rstrip("/"), os.environ).read_text().strip()
    except OSError:
        return ""


def show(found: Sequence[Compared]) -> None:
    print_table(HEAD, [row for each in found for row in _rows(each)])
    click.echo()
    for each in found:
        for line in sentences(each):
            click.echo(f"- {line}")


def _rows(each: Compared) -> Iterator[Sequence[str]]:
    for run in each.live:
        waits = [run.added_p50_ms, run.added_p99_ms, run.added_max_ms]
        yield _row(each.policy, "live", run.failed, run.cold_starts, run.starts, run.added_s, waits)
    for name, score in (("simulated", each.simulated), ("simulated again", each.again)):
        waits = [score.added_p50_ms, score.added_p99_ms, score.added_max_ms]
        yield _row(each.policy, name, score.refused, score.cold_starts, score.starts, score.added_s, waits)


def _row(
    policy: str, name: str, failed: int, cold: int, starts: int, added_s: float, waits_ms: Sequence[float]
) -> Sequence[str]:
    cells = [f"{count:,}" for count in (failed, cold, starts)]
    return [policy, name, *cells, seconds(added_s), *(seconds(ms / 1000) for ms in waits_ms)]


def sentences(each: Compared) -> Iterator[str]:
    live, simulated = number(each.live_cold), f"{each.simulated.cold_starts:,}"
    claim = f"{each.policy}: {live} cold starts live, {simulated} simulated"
    if each.agrees:
        yield f"{claim}: they agree within {AGREES:.0%}"
        return
    yield f"{claim}: they do not agree within {AGREES:.0%}"
    yield from (f"  {why}" for why in each.why)


def json_of(trace: Trace, found: Sequence[Compared]) -> str:
    told = {
        "source": trace.source,
        "sha256": trace.sha256,
        "first_minute": trace.first_minute,
        "minutes": trace.minutes,
        "functions": len(trace.functions),
        "calls": trace.total,
        "policies": [_told(each) for each in found],
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n"


def _told(each: Compared) -> dict[str, object]:
    whole = msgspec.to_builtins(each)
    for name in ("simulated", "again"):
        # What each function waited for is a number for each call.
        whole[name].pop("functions")
    return {**whole, "agrees": each.agrees}
