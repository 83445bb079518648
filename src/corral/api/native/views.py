"""What management shows of a function and of the engine, gathered from the catalog and the fleet."""

import os
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from corral.api.native.shapes import function_brief, function_view, share_views, spec_view
from corral.engine.catalog import Catalog
from corral.engine.demand import DaySeen
from corral.engine.deployment import Deployed
from corral.engine.fleet import Fleet
from corral.model import FunctionKey, Revision
from corral.ports import IDLE_MINUTES_MAX, StoredFunction, StoredToken

EPOCH = date(1970, 1, 1).toordinal()


def listed(revision: Revision, catalog: Catalog, fleet: Fleet, secrets: bool = False) -> dict[str, Any]:
    instances = len(fleet.instances_of(revision.key))
    view = function_view(revision, catalog.shares(revision.key), instances, secrets)
    return view | _specs(revision, catalog, secrets)


def _specs(revision: Revision, catalog: Catalog, secrets: bool) -> dict[str, Any]:
    """`specs`: number -> settings, when calls may go to other revisions than this one; else nothing."""
    others = [each for each in catalog.called(revision.key) if each.number != revision.number]
    if not others:
        return {}
    return {"specs": {str(each.number): spec_view(each, secrets, revision) for each in (revision, *others)}}


def brief(revision: Revision, catalog: Catalog, fleet: Fleet) -> dict[str, Any]:
    """What `corral list` prints: of ten thousand functions a seventh of the bytes."""
    return function_brief(revision, catalog.shares(revision.key), len(fleet.instances_of(revision.key)))


def deployed(deployed: Deployed, catalog: Catalog, fleet: Fleet) -> dict[str, Any]:
    """The revision as it was deployed, with its part of the calls; without `load_s` when the code was not loaded."""
    view = listed(deployed.revision, catalog, fleet) | {"percent": deployed.percent}
    return view if deployed.load_s is None else view | {"load_s": round(deployed.load_s, 4)}


def traffic_of(function: StoredFunction) -> dict[str, Any]:
    key = function.key
    namespace, _, name = key.partition("/")
    return {"name": name, "namespace": namespace, "traffic": share_views(function.traffic)}


def revisions(function: StoredFunction, fleet: Fleet) -> list[dict[str, Any]]:
    """Those that are kept, newest first."""
    shares = {view["number"]: view for view in share_views(function.traffic)}
    return [
        {
            "number": revision.number,
            "revision": revision.id,
            "created_at": revision.created_at,
            "package": revision.package,
            "layer": revision.layer,
            "percent": shares[revision.number]["percent"] if revision.number in shares else 0,
            "tags": shares[revision.number]["tags"] if revision.number in shares else [],
            "instances": len(fleet.instances(revision.id)),
            "state": _state(revision, shares, fleet),
        }
        for revision in reversed(function.revisions)
    ]


def _state(revision: Revision, shares: Mapping[int, Any], fleet: Fleet) -> str:
    if revision.number in shares:
        return "serving" if shares[revision.number]["percent"] else "tagged"
    if fleet.lifecycle.knows(revision.id):
        return "readied"
    return "draining" if fleet.instances(revision.id) else "kept"


def described(
    revision: Revision, catalog: Catalog, fleet: Fleet, now: float, secrets: bool = False, *, is_strict: bool = False
) -> dict[str, Any]:
    """`now` is monotonic, seconds; `is_strict` means keeper.isolation = strict. `last_cold_start` is stamp -> seconds
    since the stamp before it."""
    history = fleet.history.look(revision.key)
    decision = fleet.why(revision.id)
    totals = history.totals
    instances = [
        {
            "instance": each.instance,
            "number": of.number,
            "state": each.state,
            "age_s": round(now - each.since, 3),
            "cpu_s": used[0] if used is not None else None,
            "memory_mib": used[1] if used is not None else None,
        }
        for of, each in fleet.instances_of(revision.key)
        for used in [fleet.node.used.get(each.instance)]
    ]
    return listed(revision, catalog, fleet, secrets) | {
        "instances": instances,
        "why": None if decision is None else decision.why,
        "desired": None if decision is None else decision.desired,
        "scaling": fleet.scalings.view(revision),
        "decisions": [msgspec.to_builtins(each) for each in history.decisions],
        "last_cold_start": None if history.cold_start is None else history.cold_start.parts_s,
        "last_cold_start_at": None if history.cold_start is None else history.cold_start.at,
        "exits": [msgspec.to_builtins(each) for each in history.exits],
        "problem": history.problem,
        "zygote": history.zygote or _no_zygotes(fleet, is_strict),
        "zygote_rank": _built(fleet.admission.zygotes.view(revision.id)),
        "memory": _built(fleet.memory(revision.id)),
        "tier": None if fleet.node.inventory is None else fleet.node.inventory.tier,
        "stats": {
            "arrived": totals.arrived,
            "completed": totals.completed,
            "failed": totals.failed,
            "mean_service_s": totals.service_s / totals.completed if totals.completed else None,
        },
    }


def _no_zygotes(fleet: Fleet, is_strict: bool) -> str | None:
    """Why no function has one; None: they may."""
    inventory = fleet.node.inventory
    if inventory is None or inventory.keeps_zygotes:
        return None
    if is_strict:
        return "none: keeper.isolation = strict, so every instance loads its code by itself"
    lacking = "isolation T1, and this server has T0" if inventory.tier == "T0" else "cgroups, which are not there"
    return f"none: they need {lacking}"


def demand(key: FunctionKey, days: Sequence[DaySeen]) -> dict[str, Any]:
    """`minutes`: (minute of the day, calls); `idle_times`: (whole minutes, how often), where `idle_minutes_max` stands
    for all longer ones too. Days and minutes are UTC; what is not named was 0."""
    return {
        "function": key,
        "idle_minutes_max": IDLE_MINUTES_MAX,
        "days": [
            {
                "day": date.fromordinal(EPOCH + each.day).isoformat(),
                "calls": each.calls,
                "minutes": each.minutes,
                "idle_times": each.idle_times,
            }
            for each in days
        ],
    }


def state_of(catalog: Catalog, fleet: Fleet) -> dict[str, Any]:
    inventory = fleet.node.inventory
    return {
        "tier": None if inventory is None else inventory.tier,
        "cpus": os.cpu_count() or 1,
        "not_held": [] if inventory is None else inventory.not_held,
        "runtimes": {} if inventory is None else inventory.runtimes,
        "connected": {"keeper": fleet.has_keeper, "gateway": bool(fleet.gateways)},
        "zygotes": fleet.node.zygotes,
        "budget": _built(fleet.admission.budget),
        "slots_ready": fleet.node.slots_ready,
        "functions": catalog.count,
        "instances": fleet.instance_count,
    }


def _built(view: msgspec.Struct | None) -> dict[str, Any] | None:
    return None if view is None else msgspec.to_builtins(view)


def token_view(token: StoredToken) -> dict[str, Any]:
    view: dict[str, Any] = msgspec.to_builtins(token)
    return view
