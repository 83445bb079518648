"""The engine's part of /metrics."""

import asyncio
from collections import Counter

from corral.engine.catalog import Catalog
from corral.engine.fleet import Fleet
from corral.observe.metrics import AnyFamily, counters, gauges, lines, page
from corral.roster import BudgetView

AT_ONCE = 200
"""Functions looked at before everybody else on the loop has his turn."""


async def exposition(catalog: Catalog, fleet: Fleet) -> bytes:
    """Read from what is kept anyway: nothing is counted for its sake while calls wait. Functions of which nothing has
    run or been asked since the engine began are left out: ten thousand idle ones would make a page of megabytes."""
    functions = gauges("corral_functions", "Deployed functions.")
    instances = gauges("corral_instances", "Instances by state.", "namespace", "function", "state")
    cpu = counters("corral_function_cpu_seconds_total", "Cpu time used.", "namespace", "function")
    memory = gauges("corral_function_memory_bytes", "Memory in use.", "namespace", "function")
    zygotes = gauges("corral_zygotes", "Zygotes by runtime.", "runtime")
    slots = gauges("corral_slots_ready", "Sandbox parts prepared ahead.")
    decisions = counters("corral_scaling_decisions_total", "Changes of a desired number of instances.")
    starts = counters("corral_instance_starts_total", "Instances started for any reason.")
    exits = counters("corral_instance_exits_total", "Instances that ended.", "cause")
    connected = gauges("corral_connected", "1 while the process is connected to the engine.", "process")

    functions.labels().value = catalog.count
    for number, key in enumerate(fleet.seen()):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
        names = tuple(key.split("/"))
        running = [each for _, each in fleet.instances_of(key)]
        for state, count in Counter(each.state for each in running).items():
            instances.labels(*names, state).value = count
        used = [fleet.node.used.get(each.instance, (0.0, 0.0)) for each in running]
        cpu.labels(*names).value = fleet.history.look(key).totals.ended_cpu_s + sum(each[0] for each in used)
        memory.labels(*names).value = sum(each[1] for each in used) * 1024 * 1024
    for runtime in fleet.node.zygotes:
        zygotes.labels(runtime).value = 1
    slots.labels().value = fleet.node.slots_ready
    decisions.labels().value = fleet.history.decisions
    starts.labels().value = fleet.history.starts
    for cause, count in fleet.history.exits.items():
        exits.labels(cause.value).value = count
    connected.labels("keeper").value = float(fleet.has_keeper)
    connected.labels("gateway").value = float(bool(fleet.gateways))
    families: list[AnyFamily] = [functions, instances, cpu, memory, zygotes, slots, decisions, starts, exits, connected]
    return await page(lines([*families, *_budget(fleet.admission.budget)]))


def _budget(seen: BudgetView) -> list[AnyFamily]:
    memory = gauges("corral_budget_bytes", "Memory that functions may use, and what is charged.", "part")
    parts = {"limit": seen.limit_mib, "instances": seen.instances_mib, "zygotes": seen.zygotes_mib}
    for part, mib in parts.items():
        if mib is not None:
            memory.labels(part).value = mib * 1024 * 1024
    zygotes = gauges("corral_function_zygotes", "Zygotes of functions.")
    zygotes.labels().value = seen.zygotes
    waiting = gauges("corral_starts_waiting", "Revisions whose starts wait for memory.")
    waiting.labels().value = seen.waiting
    evictions = counters("corral_evictions_total", "What was given up for want of memory.", "kind")
    evictions.labels("instance").value = seen.evicted_instances
    evictions.labels("zygote").value = seen.evicted_zygotes
    evictions.labels("retired").value = seen.retired
    return [memory, zygotes, waiting, evictions]
