"""A function under Knative's rule, and rules exchanged under load, on a real server."""

import asyncio
import json

from .load import Load, Loop
from .server import Server, wait_for

SLEEPER = "import time\ndef handler(event): time.sleep(0.1); return 'ok'\n"
KNATIVE = "engine=knative,window_s=6,grace_s=1"


def test_step_of_load_brings_instances_and_its_end_takes_them_all(shared: Server) -> None:
    shared.deploy("served", SLEEPER, "--scaling", KNATIVE)
    load = asyncio.run(Loop(shared.host, "/function/served", 30).run(5.0))
    assert load.statuses() == {200: 150}
    function = shared.described("served")
    assert len(function["instances"]) > 3, "three are busy at once, at 0.7 of one in each"
    assert function["scaling"]["engine"] == "knative"
    last = function["decisions"][-1]
    assert last["inputs"]["stable"] > 1 and last["inputs"]["target"] == 0.7
    shown = shared.ok("describe", "served")
    assert "STABLE" in shown and "EXCESS_BURST" in shown
    # The window, two ticks, and the time after which Knative looks at an idle revision again.
    wait_for("no instance", lambda: not shared.described("served")["instances"], within_s=30.0)


def test_engines_are_exchanged_under_load_and_no_call_fails(shared: Server) -> None:
    shared.deploy("exchanged", SLEEPER, "--max", "8")
    changes = (
        ["engine=knative", "target=1"],
        ["engine=corral"],
        ["engine=knative", "window_s=6", "max=6"],
        ["--reset"],
    )

    async def play() -> Load:
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(Loop(shared.host, "/function/exchanged", 20).run(4.0))
            for change in changes:
                await asyncio.to_thread(shared.ok, "scaling", "exchanged", *change)
        return loading.result()

    assert asyncio.run(play()).statuses() == {200: 80}
    now = json.loads(shared.ok("scaling", "exchanged", "--json"))
    assert (now["engine"], now["origin"], now["live"]) == ("corral", "default", [])


def test_namespace_default_and_mistakes_are_told_at_the_command_line(shared: Server) -> None:
    assert "engine=knative" in shared.ok("namespace", "elsewhere", "--scaling", "engine=knative,target=50")
    shared.deploy("told", SLEEPER, "--namespace", "elsewhere")
    assert "knative, of its namespace" in shared.ok("scaling", "told", "-n", "elsewhere")
    refused = shared.cli("scaling", "told", "-n", "elsewhere", "window_s=1", "min=5", "max=2")
    assert refused.returncode == 2
    assert b"scaling.window_s = 1, must be a whole number between 6 and 3600" in refused.stderr
    assert b"min = 5, must not be above max = 2" in refused.stderr
