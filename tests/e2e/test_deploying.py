"""A function's life by the command line, and every mistake in it."""

import hashlib
import hmac
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from corral.package.bundle import pack

from .server import CORRAL, EXAMPLES, Server, serving, wait_for

GREETER = """
def main(args):
    print("greeting", args.get("name"))
    return {"greeting": "Hello, " + args.get("name", "stranger")}
"""


def test_function_lives_from_deploy_to_delete(shared: Server) -> None:
    said = shared.deploy("greeter", GREETER, "--memory", "64", "--env", "A=1")
    assert "deployed greeter as revision 1: main, loaded in" in said
    assert f"curl {shared.url}/function/greeter" in said
    assert json.loads(shared.ok("invoke", "greeter", "-d", '{"name": "Ann"}')) == {"greeting": "Hello, Ann"}
    described = shared.described("greeter")
    assert (described["number"], described["style"], described["spec"]["memory_mib"]) == (1, "main", 64)
    assert described["instances"][0]["state"] == "ready"
    assert described["why"]
    assert "greeter" in shared.ok("list")
    line = wait_for("the function's line", lambda: shared.ok("logs", "greeter"))
    assert "greeting Ann" in line
    assert shared.ok("delete", "greeter") == "deleted default/greeter\n"
    gone = shared.cli("describe", "greeter")
    assert gone.returncode == 3
    assert b"no function 'greeter' in namespace 'default'" in gone.stderr
    assert shared.call("greeter").status == 404


def test_call_is_explained(shared: Server) -> None:
    shared.deploy("explained", "def handler(event): return event\n", "--initial", "0")
    done = shared.cli("invoke", "explained", "-v", "-d", '{"a": 1}')
    said = done.stderr.decode()
    assert json.loads(done.stdout) == {"a": 1}
    assert "status    200" in said
    assert "request   " in said
    assert "header    content-type: application/json" in said
    assert "(started for this call)" in said
    assert "ms  cold start" in said
    assert "ms  function" in said
    assert f"{shared.url}/function/explained" in said.splitlines()[-1]
    warm = json.loads(shared.ok("invoke", "explained", "--json"))
    assert (warm["cold"], warm["status"]) == (False, 200)
    assert warm["request_id"] not in said
    parts = shared.described("explained")["last_cold_start"]
    assert all(part >= 0 for part in parts.values())
    assert len(parts) >= 4


def test_initial_0_leaves_no_instance(shared: Server) -> None:
    assert "not loaded yet (--initial 0)" in shared.deploy("bulk", GREETER, "--initial", "0")
    assert shared.described("bulk")["instances"] == []


def test_request_id_leads_to_the_lines_of_its_call(shared: Server) -> None:
    shared.deploy("traced", "def handler(event): print('seen', event['n']); return 'ok'\n")
    ids = [shared.call("traced", {"n": n}).headers["x-request-id"] for n in range(3)]
    lines = wait_for("its line", lambda: shared.ok("logs", "traced", "--json", "--request", ids[1]))
    assert [json.loads(line)["line"] for line in lines.splitlines()] == ["seen 1"]


def test_followed_log_shows_lines_as_they_are_printed(shared: Server) -> None:
    shared.deploy("talks", "def handler(event): print('said', event['n']); return 'ok'\n")
    shared.call("talks", {"n": 1})
    wait_for("the first line", lambda: shared.ok("logs", "talks"))
    with shared.following("talks") as follower:
        seen = [follower.line()]
        shared.call("talks", {"n": 2})
        seen.append(follower.line())
    assert [line.rpartition(" said ")[2] for line in seen] == ["1", "2"]


def test_data_that_is_nearly_json_is_told_before_the_function_gets_bytes(shared: Server) -> None:
    shared.deploy("kind", "def handler(event): return type(event).__name__\n")
    done = shared.cli("invoke", "kind", "-d", '{"name": ')
    assert done.stdout == b"bytes"
    assert b"corral: --data looks like JSON and is none (Expecting value: " in done.stderr
    assert shared.cli("invoke", "kind", "-d", "plain").stderr == b""


def test_calls_are_shown_among_the_lines_of_a_followed_log(shared: Server) -> None:
    shared.deploy("watched", "def handler(event): return 'ok'\n")
    with shared.following("watched", "--calls") as follower:
        # The log is followed as soon as the first call is shown.
        wait_for("a call", lambda: shared.call("watched") and follower.has_line())
        assert re.search(r" GET / 200 in \d+\.\d ms$", follower.line())
    alone = shared.cli("logs", "watched", "--calls")
    assert (alone.returncode, b"must be with it" in alone.stderr) == (2, True)


def test_followed_log_says_that_the_server_stopped(server: Server) -> None:
    server.deploy("talks", "def handler(event): print('said')\n")
    with subprocess.Popen(
        [*CORRAL, "logs", "-f", "talks"],
        env={**server.environment, "CORRAL_URL": server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as follower:
        assert server.call("talks").status == 200
        assert follower.stdout is not None and b"said" in follower.stdout.readline()
        server.stop()
        _, said = follower.communicate(timeout=10)
    assert (follower.returncode, said.count(b"corral: ")) == (4, 1), said


def test_next_function_of_a_name_does_not_show_the_log_of_the_one_before(shared: Server) -> None:
    farewell = "import atexit\ndef handler(event): print('old'); return 'ok'\natexit.register(print, 'old')\n"
    shared.deploy("reborn", farewell)
    shared.call("reborn")
    wait_for("the old line", lambda: "old" in shared.ok("logs", "reborn"))
    shared.ok("delete", "reborn")
    (shared.data.parent / "reborn.py").write_text("print('old')\nraise ValueError('old')\n")
    assert shared.cli("deploy", "reborn", str(shared.data.parent / "reborn.py")).returncode == 1
    folder = shared.data / "logs/default/reborn"
    wait_for("the end of the log", lambda: not folder.exists())
    shared.deploy("reborn", "def handler(event): print('new'); return 'ok'\n")
    shared.call("reborn")
    said = wait_for("the new line", lambda: shared.ok("logs", "reborn"))
    assert "new" in said
    assert "old" not in said


def test_function_that_is_not_there_does_not_keep_others_from_being_deleted(shared: Server) -> None:
    for name in ("first", "last"):
        shared.deploy(name, "def main(args): pass\n", "--initial", "0")
    done = shared.cli("delete", "first", "nope", "last")
    assert (done.returncode, done.stdout) == (3, b"deleted default/first\ndeleted default/last\n")
    assert b"nope" in done.stderr


def test_exits_are_described_with_their_cause(shared: Server) -> None:
    shared.deploy("quits", "import os\ndef handler(event): os._exit(3)\n")
    assert shared.call("quits").status == 502
    line = wait_for(
        "its exit", lambda: [each for each in shared.ok("describe", "quits").splitlines() if "exited" in each]
    )
    assert line[0].startswith("exit ")
    assert "3" in line[0].partition("exited: ")[2]


@pytest.mark.parametrize(
    ("code", "flags", "status", "said"),
    [
        ("import time\ndef handler(event): time.sleep(60)\n", ["--timeout", "200ms"], 504, "CallTimeout: the function"),
        ("import os\ndef handler(event): os._exit(3)\n", [], 502, "InstanceLost: the instance ended while it held"),
    ],
    ids=["timeout", "crash"],
)
def test_call_that_ended_without_its_function_is_in_the_log(
    shared: Server, code: str, flags: list[str], status: int, said: str
) -> None:
    name = f"lost-{status}"
    shared.deploy(name, code, *flags)
    answer = shared.call(name)
    assert answer.status == status, answer
    request = answer.headers["x-request-id"]
    line = wait_for("a line of the call", lambda: shared.ok("logs", name, "--request", request))
    assert said in line, line


def test_call_that_was_late_because_of_its_output_says_so_in_the_log(shared: Server) -> None:
    code = "def handler(event):\n    while True: print('x' * 4000)\n"
    shared.deploy("chatty", code, "--timeout", "2s")
    assert shared.call("chatty").status == 504
    told = wait_for("its line", lambda: [each for each in shared.ok("logs", "chatty").splitlines() if "CallTi" in each])
    assert "its timeout of 2 s; what it printed waited " in told[0]
    shared.ok("delete", "chatty")


def test_redeploying_makes_a_new_revision(shared: Server) -> None:
    shared.deploy("again", "def handler(event): return 'one'\n")
    assert shared.call("again").body == b"one"
    assert "as revision 2" in shared.deploy("again", "def handler(event): return 'two'\n")
    assert shared.call("again").body == b"two"


def test_redeploying_says_what_the_new_revision_loses(shared: Server) -> None:
    shared.deploy("loses", "def main(args): pass\n", "--private", "--env", "TOKEN=t0p", "--memory", "64")
    described = shared.ok("describe", "loses")
    assert f"{shared.url}/function/loses (private: wants a token)" in described
    assert "TOKEN=…" in described and "t0p" not in shared.ok("describe", "loses", "--json")
    assert "TOKEN=t0p" in shared.ok("describe", "loses", "--secrets")
    said = [line.strip() for line in shared.deploy("loses", "def main(args): pass\n").splitlines()[1:-1]]
    assert sorted(said) == [
        "env TOKEN is gone",
        "memory: 64, now 256",
        "no longer private: whoever reaches the port may call it",
    ]


def test_more_cores_than_the_machine_has_are_warned_of(shared: Server, tmp_path: Path) -> None:
    (tmp_path / "hungry.py").write_text("def main(args): pass\n")
    done = shared.cli("deploy", "hungry", str(tmp_path / "hungry.py"), "--cpu", "999", "--initial", "0")
    assert done.returncode == 0, done
    assert done.stderr.decode() == f"warning: hungry: cpu = 999, but the server's machine has {os.cpu_count()}\n"


def test_folder_with_a_manifest_deploys_many_side_by_side(shared: Server, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/words.py").write_text("WORD = 'shared'\n")
    (tmp_path / "one.py").write_text("from lib.words import WORD\ndef handler(event): return WORD + ' one'\n")
    (tmp_path / "two.py").write_text("async def run(event): return 'two'\n")
    (tmp_path / "corral.toml").write_text(
        'namespace = "many"\nmemory = 64\n[functions.one]\nhandler = "one.py:handler"\n'
        '[functions.two]\nhandler = "two.py:run"\ntimeout = "5s"\n'
    )
    said = shared.ok("deploy", str(tmp_path))
    assert "deployed one.many as revision 1: handler" in said
    assert "deployed two.many as revision 1: async handler" in said
    assert (shared.call("one.many").body, shared.call("two.many").body) == (b"shared one", b"two")
    assert json.loads(shared.ok("describe", "two", "-n", "many", "--json"))["spec"]["timeout_s"] == 5


def test_examples_are_deployed_and_answer(shared: Server) -> None:
    said = shared.ok("deploy", str(EXAMPLES), "-n", "examples")
    functions = json.loads(shared.ok("list", "-n", "examples", "--json"))
    assert len(functions) >= 5
    assert said.count("deployed ") == len(functions)
    words = shared.call("words.examples", {"text": "To be, or not to be. Indeed!"}).json()
    assert (words["words"], words["different"], words["sentences"]) == (7, 5, 2)
    assert shared.call("greet.examples?name=Ann").json() == {"greeting": "Hello, Ann!"}
    assert shared.call("changes.examples", {"before": "a", "after": "b"}).body.endswith(b"-a+b")
    csv = {"Content-Type": "text/csv"}
    rows = shared.ask("POST", "/function/table.examples", b"name;price\nAnn;1.5\n", csv).json()
    assert rows == [{"name": "Ann", "price": 1.5}]
    signature = "sha256=" + hmac.new(b"change-me", b"{}", hashlib.sha256).hexdigest()
    signed = [
        shared.ask("POST", "/function/signed.examples", b"{}", headers).status
        for headers in ({}, {"X-Hub-Signature-256": signature})
    ]
    assert signed == [401, 202]


@pytest.mark.parametrize(
    ("code", "flags", "status", "sentence"),
    [
        ("def main(:\n", [], 1, "line 1: invalid syntax"),
        ("import nosuchmodule\ndef main(args): pass\n", [], 1, "imports nosuchmodule, which is not there"),
        ("def helper(a): pass\n", [], 1, "has no function main, handle, handler or lambda_handler; it has helper"),
        ("def main(args): pass\n", ["--handler", "bad.py:gone"], 1, "has no function gone"),
        ("def main(args): pass\n", ["--handler", "other.py:main"], 1, "other.py"),
        ("raise ValueError('at import')\n", [], 1, "raised ValueError while it was loaded: at import"),
        (
            "def main(args): pass\n",
            ["--style", "handel"],
            2,
            "--style = 'handel', must be one of main, handle, handler",
        ),
        ("def main(args): pass\n", ["--memory", "-5"], 2, "--memory = -5, must be between 32 and 1048576"),
        ("def main(args): pass\n", ["--memory", "much"], 2, "much"),
        ("def main(args): pass\n", ["--timeout", "soon"], 2, "--timeout = 'soon', must be a time, as in"),
        ("def main(args): pass\n", ["--min", "5", "--max", "2"], 2, "--min = 5, must not be above max = 2"),
        ("def main(args): pass\n", ["--runtime", "cobol"], 2, "--runtime = 'cobol', must be python3 or python3.N"),
        ("def main(args): pass\n", ["--env", "A"], 2, "--env = 'A', must be NAME=VALUE"),
        ("def main(args): pass\n", ["--namespace", "No_Label"], 2, "namespace = 'No_Label', must be a DNS label"),
    ],
)
def test_mistake_is_a_sentence_and_nothing_is_deployed(
    shared: Server, tmp_path: Path, code: str, flags: list[str], status: int, sentence: str
) -> None:
    (tmp_path / "bad.py").write_text(code)
    done = shared.cli("deploy", "bad", str(tmp_path / "bad.py"), *flags)
    assert done.returncode == status, done
    assert sentence in done.stderr.decode()
    assert "corral/cli" not in done.stderr.decode()
    assert shared.cli("describe", "bad").returncode == 3


def test_one_bad_function_of_many_deploys_none(shared: Server, tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("def main(args): pass\n")
    (tmp_path / "worse.py").write_text("import nosuchmodule\n")
    (tmp_path / "corral.toml").write_text(
        '[functions.good]\nhandler = "good.py:main"\n[functions.worse]\nhandler = "worse.py:main"\n'
    )
    done = shared.cli("deploy", str(tmp_path))
    assert done.returncode == 1
    assert b"worse" in done.stderr
    assert b"nosuchmodule" in done.stderr
    assert [shared.cli("describe", name).returncode for name in ("good", "worse")] == [3, 3]


def test_failed_redeployment_leaves_the_old_revision_serving(shared: Server, tmp_path: Path) -> None:
    shared.deploy("steady", "def handler(event): return 'old'\n")
    (tmp_path / "new.py").write_text("import nosuchmodule\n")
    assert shared.cli("deploy", "steady", str(tmp_path / "new.py")).returncode == 1
    assert shared.call("steady").body == b"old"


def test_exception_is_a_500_with_an_id_and_its_traceback_in_the_log(shared: Server) -> None:
    shared.deploy("raises", "def handler(event): return 1 / 0\n")
    answer = shared.call("raises")
    assert answer.status == 500
    assert answer.headers["x-request-id"] in answer.body.decode()
    assert shared.cli("invoke", "raises").returncode == 1
    log = wait_for("the traceback", lambda: "ZeroDivisionError" in (said := shared.ok("logs", "raises")) and said)
    assert "Traceback" in log


def test_why_code_does_not_load_is_told_to_its_owner_alone(shared: Server) -> None:
    shared.deploy("unloaded", "import nothing_of_that_name\n", "--initial", "0")
    answer = shared.call("unloaded")
    assert (answer.status, answer.json()["error"]["code"]) == (502, "load_failed")
    assert b"nothing_of_that_name" not in answer.body
    assert "nothing_of_that_name" in shared.ok("describe", "unloaded") + shared.ok("logs", "unloaded")


def test_network_of_the_machine_can_be_forbidden(tmp_path: Path) -> None:
    sentence = "network = 'host', must be none: keeper.network_host = forbidden for all functions of this server"
    with serving(tmp_path) as server:
        server.deploy("before", "def main(args): return 'ok'\n", "--network", "host")
        assert server.call("before").body == b"ok"
    with serving(tmp_path, "--keeper-network-host", "forbidden") as server:
        done = server.cli("deploy", "after", str(tmp_path / "before.py"), "--network", "host")
        assert (done.returncode != 0, sentence in done.stderr.decode()) == (True, True), done
        assert server.cli("describe", "after").returncode == 3
        answer = server.call("before")
        assert (answer.status, sentence in answer.body.decode()) == (503, True), answer
        assert "revision 1" in server.deploy("within", "def main(args): return 'ok'\n")


def test_result_that_is_no_json_is_said_to_be_returned(shared: Server) -> None:
    shared.deploy("nan", "def handler(event): return {'mean': float('nan')}\n")
    answer = shared.call("nan")
    assert (answer.status, answer.json()["error"]["message"]) == (
        500,
        "the function's result cannot be written as JSON: it holds nan or infinity, which JSON cannot say; "
        "None becomes null",
    )


def test_name_that_nobody_has_is_404(shared: Server) -> None:
    assert shared.call("nobody").status == 404
    assert shared.cli("invoke", "nobody").returncode == 3
    assert shared.cli("logs", "nobody").returncode == 3
    assert shared.cli("delete", "nobody").returncode == 3


def test_interpreter_that_is_not_there_is_named(shared: Server, tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("def main(args): pass\n")
    done = shared.cli("deploy", "old", str(tmp_path / "old.py"), "--runtime", "python3.2")
    assert done.returncode in (1, 2)
    assert "python3.2" in done.stderr.decode()


def test_function_sees_nothing_of_the_server(shared: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("T0 holds nothing apart")
    shared.deploy(
        "curious",
        "import os\n"
        "def handler(event):\n"
        "    return {'there': [path for path in event['paths'] if os.path.exists(path)], 'env': dict(os.environ)}\n",
    )
    paths = [str(shared.data), str(shared.token_file), "/run/corral", "/etc/shadow", str(Path(__file__))]
    seen = shared.call("curious", {"paths": paths}).json()
    assert seen["there"] == []
    assert "CORRAL_BOOT" not in seen["env"]


def test_a_thousand_functions_are_deployed_in_bulk(tmp_path: Path) -> None:
    """The store is large enough then that SQLite wants room beside it, of which an enclosed engine has none."""
    with serving(tmp_path, "--keeper-uid-count", "3000") as server:
        source = tmp_path / "app.py"
        source.write_text("def main(args): return {'seven': 7}")
        uploaded = server.ask("POST", "/corral/v1/namespaces/many/packages", pack(source), server.bearer)
        # In no order, so that each request changes the whole table.
        names = [f"f{number * 7919 % 1250}" for number in range(1250)]
        rows = [{"name": name, "package": uploaded.json()["package"], "spec": {"initial": 0}} for name in names]
        for first in range(0, len(rows), 250):
            body = json.dumps(rows[first : first + 250]).encode()
            answer = server.ask("POST", "/corral/v1/namespaces/many/functions", body, server.bearer)
            assert answer.status == 200, answer
        assert server.call("f1249.many").json() == {"seven": 7}
