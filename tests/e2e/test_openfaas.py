"""A function under OpenFaaS' rule, on a real server."""

import json

from .server import Server, wait_for

ECHO = "def handler(event): return event\n"


def test_function_that_says_nothing_has_its_instance_before_the_first_call(shared: Server) -> None:
    shared.deploy("waits", ECHO, "--initial", "0", "--scaling", "engine=openfaas")
    wait_for("an instance", lambda: shared.described("waits")["instances"])
    assert shared.described("waits")["why"] == "its rule keeps 1"
    shown = json.loads(shared.ok("scaling", "waits", "--json"))
    assert (shown["engine"], shown["min"], shown["settings"]["target"]) == ("openfaas", 0, 50)


def test_first_call_brings_what_it_wakes_up_with(shared: Server) -> None:
    shared.deploy("sleeps", ECHO, "--initial", "0", "--scaling", "engine=openfaas,zero=true,min_awake=3")
    assert not shared.described("sleeps")["instances"]
    assert shared.call("sleeps").status == 200
    wait_for("three instances", lambda: len(shared.described("sleeps")["instances"]) == 3)
    assert shared.described("sleeps")["decisions"][-1]["why"] == "the first call"


def test_mode_that_makes_no_sense_is_refused_at_the_command_line(shared: Server) -> None:
    shared.deploy("refused", ECHO)
    refused = shared.cli("scaling", "refused", "engine=openfaas", "mode=custom", "zero=true", "min=2")
    assert refused.returncode == 2
    assert b"scaling.metric is not set, mode = custom needs one" in refused.stderr
    assert b"scaling.zero = true, must be false with min = 2" in refused.stderr
