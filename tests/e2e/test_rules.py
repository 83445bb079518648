"""Every scaling rule on a function that serves: exchanged under load, and in force from that moment on."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from corral.model import RevisionId
from corral.policy import SCALERS
from corral.race.recording import Reader
from corral.roster.journal import Entry, replay, roster_of

from .load import Load, Loop
from .recorder import recording
from .server import Server

SLEEPER = "import time\ndef handler(event): time.sleep(0.1); return 'ok'\n"
REVISION = RevisionId("default/ruled@1")
MORE = ("engine=openfaas mode=capacity target=1", "engine=fission once_only=true", "engine=corral")
CHANGES = [*[f"engine={engine}" for engine in SCALERS], *MORE]


def test_each_rule_decides_from_the_moment_it_is_set_and_no_call_fails(shared: Server, tmp_path: Path) -> None:
    shared.deploy("ruled", SLEEPER, "--max", "20", "--scaling", "engine=hybrid")
    file = tmp_path / "changes.jsonl.gz"

    async def play() -> Load:
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(Loop(shared.host, "/function/ruled", 20).run(4.0))
            for change in CHANGES:
                await asyncio.to_thread(shared.ok, "scaling", "ruled", *change.split())
        return loading.result()

    with recording(shared, file):
        load = asyncio.run(play())
    assert load.statuses() == {200: 80}
    assert in_force(file) == [change.split()[0].removeprefix("engine=") for change in CHANGES]


def in_force(file: Path) -> list[str]:
    """After each change, the engine whose rule decided at that very event."""
    state, *events = (line for line in Reader(file) if line.state or line.event)
    plan, engines = roster_of(msgspec.json.decode(state.state)), []
    for line in events:
        entry = Entry(line.event or "", *(decoded(raw) for raw in (line.args, line.named, line.actions)))
        before = plan._revisions.find(REVISION)
        asked = None if before is None else before.why
        assert replay(plan, entry) == entry.actions
        if entry.event == "rescaled" and entry.args[0] == REVISION:
            known = plan._revisions.find(REVISION)
            assert known is not None
            assert known.why != asked, "the new rule gave its own reason"
            engines.append(type(known.scaler).__module__.split(".")[2])
    return engines


def decoded(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw)
