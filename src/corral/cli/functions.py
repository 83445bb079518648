"""`corral list`, `describe` and `delete`."""

import time
from typing import Any

import click

from corral.cli.changes import differences
from corral.cli.client import Client, functions_path
from corral.cli.listing import style_of
from corral.cli.options import json_option, namespace_option, url_option
from corral.cli.output import ORIGINS, print_fields, print_json, print_table, seconds
from corral.cli.revisions import where_calls_go
from corral.errors import NotFound

PARTS = {
    "decided": "decided by the engine",
    "received": "taken up by the keeper",
    "forked": "forked",
    "dressed": "sandbox put on",
    "loaded": "code loaded",
    "ready": "heard of by the gateway",
}
"""Stamp of a cold start -> what ended at it."""


@click.command()
@click.argument("name")
@click.option("--secrets", is_flag=True, help="Show the values of its environment too.")
@namespace_option
@url_option
@json_option
def describe(name: str, secrets: bool, namespace: str, url: str | None, as_json: bool) -> None:
    """Show the function NAME: settings, instances and why that many, calls, the last cold start, recent exits."""
    client = Client(url)
    function = client.manage("GET", functions_path(namespace, name) + ("?secrets=1" if secrets else ""))
    if as_json:
        print_json(function)
        return
    spec, scaling = function["spec"], function["scaling"]
    print_fields(
        [
            ("function", f"{function['namespace']}/{function['name']}, revision {function['number']}"),
            ("calls go", _calls_go(function)),
            ("deployed", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(function["created_at"]))),
            ("url", client.url + function["path"] + _privacy(function)),
            ("style", style_of(function)),
            ("handler", spec.get("handler") or "found by its name"),
            ("env", ", ".join(f"{name}={value}" for name, value in spec["env"].items()) or "none"),
            ("network", spec["network"]),
            ("layer", (function.get("layer") or "")[:12]),
            *_others(function),
            ("limits", f"{spec['memory_mib']} MiB, {spec['cpu']:g} cpu, timeout {spec['timeout_s']:g} s"),
            ("calls at once", f"{function.get('concurrency') or spec.get('concurrency') or 'known once loaded'}"),
            ("instances", f"{_count(function)} (min {scaling['min']}, max {scaling['max']})"),
            ("idle ones", _idle(scaling)),
            ("calls", _calls(function["stats"])),
            ("scaling", f"engine {scaling['engine']}, {ORIGINS[scaling['origin']]}"),
            ("why", function.get("why") or ""),
            ("isolation", function.get("tier") or ""),
            ("memory", _memory(function.get("memory"))),
            ("zygote", _zygote(function)),
            ("problem", function.get("problem") or ""),
        ]
    )
    _print_instances(function)
    _print_decisions(function["decisions"])
    _print_cold_start(function.get("last_cold_start") or {})
    for gone in function.get("exits") or []:
        click.echo(_exit(gone))


def _privacy(function: dict[str, Any]) -> str:
    specs = (function.get("specs") or {}).values()
    if len({each["private"] for each in specs}) > 1:
        return " (private in part: some revisions want a token)"
    return " (private: wants a token)" if function["spec"]["private"] else ""


def _others(function: dict[str, Any]) -> list[tuple[str, str]]:
    """How the other revisions that calls go to differ from the one whose settings are shown."""
    specs = function.get("specs") or {}
    return [
        (f"revision {share['number']}", f"{_part(share)}; {', '.join(found) or 'the same settings'}")
        for share in function["traffic"]
        if share["number"] != function["number"]
        for found in [differences(function["spec"], specs[str(share["number"])])]
    ]


def _part(share: dict[str, Any]) -> str:
    return f"{share['percent']} % of the calls" if share["percent"] else "calls of " + ", ".join(share["tags"])


def _memory(memory: dict[str, Any] | None) -> str:
    """Empty: nothing of it runs or ran lately."""
    if memory is None:
        return ""
    if memory["shortage"]:
        return f"a start waits: {memory['shortage']}"
    origin = "as measured" if memory["is_measured"] else "its limit: none was measured yet"
    return f"{memory['charged_mib']} MiB are counted for an instance, {origin}"


def _zygote(function: dict[str, Any]) -> str:
    """In one sentence; empty: none was thought of. Why there is none the keeper knows better than the plan."""
    said, rank = function.get("zygote") or "", function.get("zygote_rank")
    if rank is None or (rank["state"] == "none" and said.startswith("none")):
        return said
    saves = f"{seconds(rank['saves_s'])} a start"
    return {
        "due": f"wanted: it would save {saves}, and is raised when there is room for it",
        "raising": f"being raised: it will save {saves}",
        "kept": f"kept: it holds {rank['memory_mib']} MiB and saves {saves}",
        "ending": f"being ended: it saved {saves}",
    }.get(rank["state"], f"none: it would save {saves}")


def _exit(gone: dict[str, Any]) -> str:
    when = time.strftime("%H:%M:%S", time.localtime(gone["at"])) if gone.get("at") else ""
    # What Corral ended says its cause itself.
    said = gone["detail"] if gone["detail"].endswith(f": {gone['cause']}") else f"{gone['cause']}: {gone['detail']}"
    return f"exit       {when} {gone['instance']} {said}"


def _calls_go(function: dict[str, Any]) -> str:
    """Empty when there is nothing to tell: all go to one revision, and none has a tag."""
    traffic = function["traffic"]
    return where_calls_go(traffic) if len(traffic) > 1 or traffic[0]["tags"] else ""


def _calls(stats: dict[str, Any]) -> str:
    """Counted since the engine started."""
    mean_s = stats.get("mean_service_s")
    took = f", {seconds(mean_s)} each on average" if mean_s else ""
    return f"{stats['arrived']} came, {stats['completed']} were completed, {stats['failed']} failed{took}"


def _idle(scaling: dict[str, Any]) -> str:
    if scaling["engine"] != "corral":
        return ""
    return "stay while they are worth it" if scaling["idle_s"] is None else f"stop after {scaling['idle_s']:g} s"


def _count(function: dict[str, Any]) -> int:
    instances = function.get("instances")
    return len(instances) if isinstance(instances, list) else int(instances or 0)


def _print_instances(function: dict[str, Any]) -> None:
    instances = function.get("instances")
    if not isinstance(instances, list) or not instances:
        return
    rows = [
        [
            each["instance"],
            str(each["number"]),
            each["state"],
            _or_unknown(each.get("memory_mib"), "MiB"),
            _or_unknown(each.get("cpu_s"), "s"),
        ]
        for each in instances
    ]
    print_table(("INSTANCE", "REVISION", "STATE", "MEMORY", "CPU"), rows)


def _print_decisions(decisions: list[dict[str, Any]]) -> None:
    """The last ones with what each was decided from, a column for each input; of several revisions, with its number."""
    if not decisions:
        return
    numbers = [str(each["number"]) for each in decisions]
    is_mixed = len(set(numbers)) > 1
    inputs = list(dict.fromkeys(name for each in decisions for name in each["inputs"]))
    head = ("DECIDED", *(["REVISION"] if is_mixed else []), "WANTED", "HAD", *(name.upper() for name in inputs), "WHY")
    rows = [
        [
            time.strftime("%H:%M:%S", time.localtime(each["at"])),
            *([number] if is_mixed else []),
            str(each["desired"]),
            str(each["have"]),
            *(f"{each['inputs'][name]:g}" if name in each["inputs"] else "-" for name in inputs),
            each["why"],
        ]
        for each, number in zip(decisions, numbers, strict=True)
    ]
    print_table(head, rows)


def _or_unknown(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.1f} {unit}"


def _print_cold_start(parts: dict[str, Any]) -> None:
    if not parts:
        return
    click.echo("last cold start")
    for part, took_s in parts.items():
        if isinstance(took_s, (int, float)):
            click.echo(f"  {seconds(took_s):>10}  {PARTS.get(part, part)}")


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@namespace_option
@url_option
def delete(names: tuple[str, ...], namespace: str, url: str | None) -> None:
    """Remove functions, with their logs. Calls that run are finished. One that is not there does not keep the rest."""
    client = Client(url)
    missing = []
    for name in names:
        try:
            client.manage("DELETE", functions_path(namespace, name))
        except NotFound as fault:
            missing.append(fault.message)
        else:
            click.echo(f"deleted {namespace}/{name}")
    if missing:
        raise NotFound("\n".join(missing))
