"""What a real server is asked and decides, recorded: replayed it is the same, and it can be raced."""

import asyncio
from pathlib import Path

from corral.race.formats import read_trace
from corral.race.race import race
from corral.race.recording import replayed

from .load import Load, Loop
from .recorder import recording
from .server import Server

SLEEPER = "import time\ndef handler(event): time.sleep(0.05); return 'ok'\n"


def test_recording_of_live_traffic_replays_exactly_and_can_be_raced(shared: Server, tmp_path: Path) -> None:
    for engine in ("corral", "knative"):
        shared.deploy(f"recorded-{engine}", SLEEPER, "--idle", "500ms", "--scaling", f"engine={engine}")
    assert shared.call("recorded-corral").status == 200
    file = tmp_path / "live.jsonl.gz"
    with recording(shared, file):

        async def play() -> list[Load]:
            loops = (Loop(shared.host, f"/function/recorded-{engine}", 40) for engine in ("corral", "knative"))
            return list(await asyncio.gather(*(loop.run(1.0) for loop in loops)))

        loads = asyncio.run(play())
        shared.ok("scaling", "recorded-corral", "engine=knative")
        shared.ok("delete", "recorded-knative")
    assert [load.statuses() for load in loads] == [{200: 40}, {200: 40}]
    found = replayed(file)
    assert (found.difference, found.events > 20, found.actions > 5) == ("", True, True)
    trace = read_trace(file)
    counts = {function.name: sum(function.counts) for function in trace.functions}
    assert counts["recorded-corral"] == 40
    assert 35 <= counts["recorded-knative"] <= 40, "the last ones may have been on their way"
    [score] = race(trace, {"knative": {"engine": "knative"}})
    assert score.calls == trace.total
