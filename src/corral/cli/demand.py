"""`corral demand`: how often a function was called on each of the last days, and how long it was idle in between."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

from corral.cli.client import Client, functions_path
from corral.cli.options import json_option, namespace_option, url_option
from corral.cli.output import print_json, print_table

DAYS = 14


@click.command()
@click.argument("name")
@click.option("--days", type=click.IntRange(1, DAYS), default=DAYS, show_default=True, metavar="N")
@namespace_option
@url_option
@json_option
def demand(name: str, days: int, namespace: str, url: str | None, as_json: bool) -> None:
    """Show how often the function NAME was called on the last days, today included, and for how long nobody called
    it in between. Days and minutes are UTC. A function with several revisions: times below a minute are of each."""
    found = Client(url).manage("GET", f"{functions_path(namespace, name)}/demand?days={days}")
    if as_json:
        print_json(found)
        return
    if not found["days"]:
        click.echo(f"{found['function']} was not called in the last {days} days")
        return
    print_table(("DAY", "CALLS", "MINUTES WITH CALLS", "MOST IN A MINUTE"), [_row(day) for day in found["days"]])
    idle_times: Counter[int] = Counter()
    for day in found["days"]:
        idle_times.update(dict(day["idle_times"]))
    click.echo(_idle(idle_times, found["idle_minutes_max"]))


def _row(day: Mapping[str, Any]) -> Sequence[str]:
    most = max((calls for _, calls in day["minutes"]), default=0)
    return [day["day"], str(day["calls"]), str(len(day["minutes"])), str(most)]


def _idle(idle_times: Mapping[int, int], most: int) -> str:
    """One sentence: how many, and how long half, nearly all and the longest of them were."""
    count = sum(idle_times.values())
    if not count:
        return "idle times: none, there was always a call in flight"
    half, nearly, longest = (_length(_quantile(idle_times, part), most) for part in (0.5, 0.99, 1.0))
    return f"idle times: {count}; half of them {half}, 99 % {nearly}, the longest {longest}"


def _quantile(idle_times: Mapping[int, int], part: float) -> int:
    """The least length, in whole minutes, that this part of them does not exceed."""
    left = part * sum(idle_times.values())
    for minutes in sorted(idle_times):
        left -= idle_times[minutes]
        if left <= 0:
            return minutes
    return max(idle_times)


def _length(minutes: int, most: int) -> str:
    if minutes >= most:
        return f"{most // 60} h or more"
    return "under a minute" if minutes == 0 else f"under {minutes + 1} min"
