"""`corral advise`: which scaling rule each function's own past speaks for, and what it would have saved."""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import click
import msgspec

from corral.cli.applying import Change, apply
from corral.cli.client import Client, functions_path
from corral.cli.demand import DAYS
from corral.cli.options import json_option, url_option
from corral.cli.output import print_json, print_table
from corral.errors import NotFound
from corral.race.advice import SECOND_GIB_MIN, Advice, Candidate, advise, candidates, scaling_with
from corral.race.alone import Said
from corral.race.past import MINUTE_S, Past
from corral.race.words import number, seconds

EPOCH = date(1970, 1, 1).toordinal()
DAY_MIN = 24 * 60
START_S = 0.01
"""What a start is taken to last of a function of which the server has seen none since it began."""


@click.command("advise")
@click.argument("namespace", default="default")
@click.option("--apply", "is_applied", is_flag=True, help="Set what is advised: of all functions, or of none.")
@click.option("--days", type=click.IntRange(1, DAYS), default=DAYS, show_default=True, metavar="N")
@click.option(
    "--second-gib-min",
    type=click.FloatRange(0, 1_000_000),
    default=SECOND_GIB_MIN,
    show_default=True,
    metavar="X",
    help="What a second of waiting is worth, in GiB-minutes of idle memory.",
)
@url_option
@json_option
def advise_command(
    namespace: str, is_applied: bool, days: int, second_gib_min: float, url: str | None, as_json: bool
) -> None:
    """Say by which scaling rule, with which settings, each function of NAMESPACE would have cost least on the last
    days, and what it would have saved: cold starts, what calls waited for them, and memory that instances held while
    idle. Calls are known by the minute; a function is reckoned with one instance."""
    client = Client(url)
    views = _views(client, namespace, days)
    pasts = [_past(name, described, demand) for name, (described, demand) in views.items()]
    said = {name: _said(described) for name, (described, _) in views.items()}
    advices = _reckoned(pasts, said, second_gib_min)
    changes = [
        _change(each.advised, said[each.name], views[each.name][0]["scaling"], functions_path(namespace, each.name))
        for each in advices
        if each.advised is not None
    ]
    applied = apply(client.manage, changes) if is_applied else 0
    if as_json:
        rows = [_json(each, said[each.name]) for each in advices]
        print_json({"namespace": namespace, "second_gib_min": second_gib_min, "applied": applied, "functions": rows})
        return
    if not advices:
        click.echo(f"no functions in namespace {namespace}")
        return
    _print(advices, said)
    if is_applied:
        click.echo(f"set for {applied} of {len(advices)} functions" if applied else "nothing to set")
    elif changes:
        click.echo("--apply sets what is advised")


def _views(client: Client, namespace: str, days: int) -> dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Name -> (as described, its demand). What was deleted meanwhile is left out."""
    views = {}
    for each in client.manage("GET", functions_path(namespace) + "?brief=1")["functions"]:
        path = functions_path(namespace, each["name"])
        try:
            views[str(each["name"])] = (client.manage("GET", path), client.manage("GET", f"{path}/demand?days={days}"))
        except NotFound:
            continue
    return views


def _reckoned(pasts: Sequence[Past], said: Mapping[str, Said], second_gib_min: float) -> Sequence[Advice]:
    """With a bar on a terminal: many functions take minutes."""
    raced = candidates(second_gib_min)
    label, is_hidden = f"{len(pasts)} functions under {len(raced)} rules", not sys.stderr.isatty()
    with click.progressbar(raced, label=label, file=sys.stderr, hidden=is_hidden) as among:
        return advise(pasts, said, second_gib_min, among)


def _past(name: str, described: Mapping[str, Any], demand: Mapping[str, Any]) -> Past:
    minutes: list[tuple[int, int]] = []
    idle: Counter[int] = Counter()
    for day in demand["days"]:
        first = (date.fromisoformat(day["day"]).toordinal() - EPOCH) * DAY_MIN
        minutes += [(first + minute, calls) for minute, calls in day["minutes"]]
        idle.update(dict(day["idle_times"]))
    memory, start = described["memory"], described["last_cold_start"]
    return Past(
        name=name,
        minutes=minutes,
        until=int(time.time() // MINUTE_S),
        idle_minutes=idle,
        memory_mib=described["spec"]["memory_mib"] if memory is None else memory["charged_mib"],
        start_s=sum(start.values()) if start else START_S,
        service_s=described["stats"]["mean_service_s"] or 0.0,
    )


def _said(described: Mapping[str, Any]) -> Said:
    view = described["scaling"]
    deployed_idle_s = described["spec"].get("idle_s")
    return Said(scaling=view["said"], idle_s=view["idle_s"], deployed_idle_s=deployed_idle_s, min=view["min"])


def _change(candidate: Candidate, now: Said, view: Mapping[str, Any], path: str) -> Change:
    wanted = {"scaling": dict(scaling_with(now, candidate)), "idle_s": candidate.idle_s}
    held = {"scaling": view["said"], "idle_s": view["idle_s"]}
    # What was not set live goes back to what the deployment says.
    return Change(path + "/scaling", wanted, {key: held[key] if key in view["live"] else None for key in wanted})


# -- for people ---------------------------------------------------------------------------------------------


def _print(advices: Sequence[Advice], said: Mapping[str, Said]) -> None:
    head = ("FUNCTION", "CALLS", "NOW", "ADVISED", "COLD STARTS", "WAITED", "IDLE GB-MIN", "WHY")
    rows = [_row(each, said[each.name]) for each in advices]
    print_table(head, rows)


def _row(advice: Advice, now: Said) -> Sequence[str]:
    before, then = advice.now, advice.then
    advised = "as it is" if advice.advised is None else _rule(advice.advised.scaling, advice.advised.idle_s)
    return (
        advice.name,
        f"{advice.calls_used} of {advice.calls}" if advice.calls_used < advice.calls else str(advice.calls),
        _rule(now.scaling, now.idle_s) + (f" min={now.min}" if now.min else ""),
        advised,
        _moved(f"{before.cold_starts:,}", f"{then.cold_starts:,}"),
        _moved(seconds(before.added_s), seconds(then.added_s)),
        _moved(number(before.idle_gb_min), number(then.idle_gb_min)),
        advice.why,
    )


def _moved(before: str, then: str) -> str:
    return before if before == then else f"{before} → {then}"


def _rule(scaling: Mapping[str, Any], idle_s: float | None) -> str:
    """As `corral scaling NAME` takes it."""
    pairs = [("engine", scaling["engine"]), *((key, scaling[key]) for key in scaling if key != "engine")]
    if idle_s is not None and scaling["engine"] == "corral":
        pairs.append(("idle_s", f"{idle_s:g}"))
    return " ".join(f"{key}={value}" for key, value in pairs)


def _json(advice: Advice, now: Said) -> dict[str, Any]:
    advised = advice.advised
    return {
        "function": advice.name,
        "calls": advice.calls,
        "calls_used": advice.calls_used,
        "since": None if advice.since is None else MINUTE_S * advice.since,
        "now": {"scaling": now.scaling, "idle_s": now.idle_s, "min": now.min, **msgspec.to_builtins(advice.now)},
        "advised": None
        if advised is None
        else {
            "scaling": scaling_with(now, advised),
            "idle_s": now.deployed_idle_s if advised.idle_s is None else advised.idle_s,
            **msgspec.to_builtins(advice.then),
        },
        "why": advice.why,
    }
