"""Instances come with calls and go without them."""

import asyncio

from .load import Loop
from .server import Server, wait_for

SLEEPER = "import time\ndef handler(event): time.sleep(0.05); return 'ok'\n"


def test_idle_function_goes_to_zero_and_comes_back(shared: Server) -> None:
    shared.deploy("briefly", SLEEPER, "--idle", "300ms")
    assert shared.call("briefly").status == 200
    wait_for("no instance", lambda: not shared.described("briefly")["instances"])
    assert shared.described("briefly")["why"]
    assert shared.call("briefly").status == 200


def test_minimum_is_kept(shared: Server) -> None:
    shared.deploy("kept", SLEEPER, "--idle", "200ms", "--min", "2")
    wait_for("two instances", lambda: len(shared.described("kept")["instances"]) == 2)
    assert shared.call("kept").status == 200


def test_burst_is_answered_by_more_instances_but_not_above_the_maximum(shared: Server) -> None:
    shared.deploy("burst", SLEEPER, "--max", "6")
    load = asyncio.run(Loop(shared.host, "/function/burst", 100).run(1.0))
    assert load.statuses() == {200: 100}
    assert 1 < len(shared.described("burst")["instances"]) <= 6


def test_full_queue_is_429_with_retry_after(shared: Server) -> None:
    shared.deploy("narrow", "import time\ndef handler(event): time.sleep(0.3)\n", "--max", "1", "--queue", "1")
    load = asyncio.run(Loop(shared.host, "/function/narrow", 50).run(0.2))
    assert set(load.statuses()) == {200, 429}
