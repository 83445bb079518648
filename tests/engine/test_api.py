"""Who may ask the management API what, and how it refuses."""

import asyncio
import errno
import json
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from corral import link
from corral.api.native.manage import URLS
from corral.api.native.origin import check_host
from corral.config import Engine as EngineSettings
from corral.config import Settings
from corral.errors import Forbidden
from corral.model import FunctionSpec
from corral.package.bundle import pack

from .world import World, world

PATHS = [
    ("GET", "/status"),
    ("GET", "/functions"),
    ("GET", "/tokens"),
    ("POST", "/tokens"),
    ("DELETE", "/tokens/abc"),
    ("POST", "/namespaces/default/packages"),
    ("GET", "/namespaces/default/functions"),
    ("POST", "/namespaces/default/functions"),
    ("GET", "/namespaces/default/functions/hello"),
    ("PUT", "/namespaces/default/functions/hello"),
    ("DELETE", "/namespaces/default/functions/hello"),
    ("GET", "/namespaces/default/functions/hello/logs"),
    ("GET", "/namespaces/default/functions/hello/demand"),
    ("GET", "/namespaces/default/functions/hello/revisions"),
    ("PATCH", "/namespaces/default/functions/hello/traffic"),
    ("POST", "/namespaces/default/functions/hello/rollback"),
    ("GET", "/namespaces/default/functions/hello/scaling"),
    ("PUT", "/namespaces/default/functions/hello/scaling"),
    ("GET", "/namespaces/default"),
    ("PUT", "/namespaces/default"),
    ("GET", "/namespaces/default/functions/hello/build-log"),
    ("GET", "/recording"),
    ("GET", "/namespaces/default/recording"),
]


def play(tmp_path: Path, scene: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with world(tmp_path, **options) as w:
            await scene(w)

    asyncio.run(run())


def code(tmp_path: Path) -> bytes:
    (tmp_path / "app.py").write_text("def handle(event, context): return event")
    return pack(tmp_path / "app.py")


async def token_for(w: World, *namespaces: str, manage: bool = True, invoke: bool = True) -> str:
    body = json.dumps({"label": "t", "namespaces": namespaces, "manage": manage, "invoke": invoke}).encode()
    answer = await w.ask("POST", "/tokens", body)
    assert answer.status == 201, answer
    return str(answer.json["token"])


def test_the_list_of_paths_here_is_complete() -> None:
    places = {"{namespace}": "default", "{name}": "hello", "{digest}": "abc"}
    served = set()
    for method, path, _ in URLS:
        for place, value in places.items():
            path = path.replace(place, value)
        served.add((method, path.removeprefix("/corral/v1")))
    assert served == {*PATHS, ("GET", "/metrics")}


def test_every_path_needs_a_token_that_may_manage_there(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        elsewhere = await token_for(w, "theirs")
        invoker = await token_for(w, "*", manage=False)
        for method, path in PATHS:
            assert (await w.ask(method, path, token=None)).status == 401, (method, path)
            answer = await w.ask(method, path, token="guessed")
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "bearer"), (method, path)
            assert (await w.ask(method, path, token=invoker)).status == 403, (method, path)
            if path not in ("/status", "/functions"):
                assert (await w.ask(method, path, token=elsewhere)).status == 403, (method, path)

    play(tmp_path, scene)


def test_a_namespace_token_sees_and_changes_its_namespace_only(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        for namespace in ("mine", "theirs"):
            assert (await w.put("hello", await w.upload(code(tmp_path), namespace), namespace)).status == 201
        mine = await token_for(w, "mine")
        listed = await w.ask("GET", "/functions", token=mine)
        assert [each["namespace"] for each in listed.json["functions"]] == ["mine"]
        assert (await w.ask("GET", "/namespaces/mine/functions/hello", token=mine)).status == 200
        assert (await w.ask("DELETE", "/namespaces/theirs/functions/hello", token=mine)).status == 403
        assert (await w.ask("DELETE", "/namespaces/mine/functions/hello", token=mine)).status == 204

    play(tmp_path, scene)


def test_a_token_is_shown_once_reaches_the_gateway_and_survives_a_restart(tmp_path: Path) -> None:
    tokens: list[str] = []

    async def scene(w: World) -> None:
        tokens.append(await token_for(w, "mine", invoke=True))
        listed = (await w.get("/tokens")).json["tokens"]
        assert tokens[0] not in json.dumps(listed)
        put = await w.gateway.got(link.TokenPut)
        assert (put.digest, put.namespaces, put.invoke) == (listed[0]["digest"], ["mine"], True)

    async def after_a_restart(w: World) -> None:
        digest = (await w.gateway.got(link.TokenPut)).digest
        assert (await w.ask("GET", "/functions", token=tokens[0])).status == 200
        assert (await w.ask("DELETE", f"/tokens/{digest[:12]}")).status == 204
        assert not (await w.gateway.got(link.TokenPut, 2)).invoke
        assert (await w.ask("GET", "/functions", token=tokens[0])).status == 401

    play(tmp_path, scene)
    play(tmp_path, after_a_restart)


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ({"label": "", "namespaces": ["*"]}, "label = '', must be 1 to 100"),
        ({"label": "a", "namespaces": []}, "namespaces names 0"),
        ({"label": "a", "namespaces": ["NO"]}, "namespaces = 'NO', must be a DNS label"),
        ({"label": "a", "namespaces": ["*"], "invoke": False}, "the token could do nothing"),
        ({"label": "a", "namespaces": ["*"], "root": True}, "root"),
        ({"label": 3, "namespaces": ["*"]}, "label"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(tmp_path: Path, token: dict[str, object], sentence: str) -> None:
    async def scene(w: World) -> None:
        answer = await w.ask("POST", "/tokens", json.dumps(token).encode())
        assert answer.status == 400
        assert sentence in answer.json["error"]["message"]

    play(tmp_path, scene, connected=False)


@pytest.mark.parametrize(
    ("hosts", "origins", "allowed"),
    [
        (["localhost"], [], True),
        (["LOCALHOST:8080"], [], True),
        (["127.0.0.1:8080"], [], True),
        (["[::1]:8080"], [], True),
        (["10.1.2.3"], [], True),
        (["corral.lan:8080"], [], True),
        (["evil.example:8080"], [], False),
        (["localhost.evil.example"], [], False),
        (["127.0.0.1.evil.example"], [], False),
        ([""], [], False),
        ([], [], False),
        (["localhost", "localhost"], [], False),
        (["localhost:8080"], ["http://localhost:8080"], True),
        (["localhost:8080"], ["http://localhost:9999"], False),
        (["localhost:8080"], ["http://evil.example"], False),
        (["localhost:8080"], ["null"], False),
        (["localhost:8080"], ["http://["], False),
        (["localhost:8080"], ["http://[::1"], False),
        (["localhost:8080"], ["http://\u2100"], False),
    ],
)
def test_hosts_and_origins(hosts: list[str], origins: list[str], allowed: bool) -> None:
    if allowed:
        check_host(hosts, origins, "corral.lan")
        return
    with pytest.raises(Forbidden):
        check_host(hosts, origins, "corral.lan")


def test_a_foreign_host_is_refused_before_the_token_is_looked_at(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        for token in (None, "admin-token"):
            answer = await w.ask("GET", "/status", token=token, host="evil.example")
            assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")
        assert (await w.ask("GET", "//metrics", token=None, host="evil.example")).status == 403

    play(tmp_path, scene, connected=False)


@pytest.mark.parametrize(
    ("body", "sentences"),
    [
        (b"{", ["not JSON"]),
        (b'{"package": "\xff"}', ["not JSON"]),
        (b"[" * 100_000, ["nested too deeply"]),
        (b"[]", ["must be an object with package and spec"]),
        (b"{}", ["package = None, must be text"]),
        (b'{"package": "x", "spec": {}, "uid": 0}', ["uid: no such field"]),
        (
            b'{"package": "x", "spec": {"root": 1, "memory_mib": "much", "style": "go", "env": {"A": 1}}}',
            ["spec.root: no such field", "spec.memory_mib = 'much'", "spec.style = 'go'", "spec.env = {'A': 1}"],
        ),
        (b'{"package": "x", "spec": []}', ["spec = [], must be an object"]),
    ],
)
def test_a_deployment_that_makes_no_sense_is_refused(tmp_path: Path, body: bytes, sentences: list[str]) -> None:
    async def scene(w: World) -> None:
        answer = await w.ask("PUT", "/namespaces/default/functions/hello", body)
        assert answer.status == 400, answer
        for sentence in sentences:
            assert sentence in answer.json["error"]["message"]

    play(tmp_path, scene, connected=False)


FIFTY = [f"functions[{place}].0, must be an object with package and spec" for place in range(50)]
FIELDS = ", ".join(field.name for field in msgspec.structs.fields(FunctionSpec))


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (
            b"[" + b"0," * 2_000_000 + b"0]",
            ["functions has 2000001 members, must be at most 5000 in one request"],
        ),
        (b"[" + b"0," * 4_000 + b"0]", [*FIFTY, "and more"]),
        (
            b'[{"name": "a", "package": "x", "spec": {' + b",".join(b'"%d":0' % n for n in range(400_000)) + b"}}]",
            [f"functions[0].spec.{n}: no such field, must be one of {FIELDS}" for n in range(10)]
            + ["functions[0].spec.… has more fields that do not exist"],
        ),
        (
            b'[{"name": "a", "package": "x", "spec": {"env": {'
            + b",".join(b'"%d":""' % n for n in range(9_000))
            + b"}}}]",
            [
                f"env name '{n}', must be letters, digits and _, not beginning with a digit; values without NUL"
                for n in range(50)
            ]
            + ["and more"],
        ),
    ],
    ids=["too many functions", "too many mistakes", "too many unknown fields", "too many wrong names"],
)
def test_a_flood_of_mistakes_has_a_short_answer(tmp_path: Path, body: bytes, problems: list[str]) -> None:
    async def scene(w: World) -> None:
        answer = await w.ask("POST", "/namespaces/default/functions", body)
        assert (answer.status, answer.json["error"]["problems"]) == (400, problems)

    play(tmp_path, scene, connected=False)


def test_an_upload_that_finds_the_disk_full_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("corral.package.shelf.unpack", full)

    async def scene(w: World) -> None:
        answer = await w.ask("POST", "/namespaces/default/packages", code(tmp_path))
        assert (answer.status, answer.json["error"]["code"]) == (503, "store_failed")
        assert "No space left on device" in answer.json["error"]["message"]

    play(tmp_path, scene, connected=False)


def test_a_disk_that_is_full_at_the_last_byte_of_an_upload_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = partial(open, "/dev/full", "wb", buffering=0)
    monkeypatch.setattr("tempfile.NamedTemporaryFile", lambda **_: full())

    async def scene(w: World) -> None:
        answer = await w.ask("POST", "/namespaces/default/packages", code(tmp_path))
        assert (answer.status, answer.json["error"]["code"]) == (503, "store_failed")

    play(tmp_path, scene, connected=False)


def test_nobody_is_sent_to_the_host_they_name(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await w.ask("GET", "/status/", host="evil.example")
        assert (answer.status, "location" in answer.headers) == (404, False)

    play(tmp_path, scene, connected=False)


@pytest.mark.parametrize("path", ["/namespaces/Bad_/functions/a", "/namespaces/default/functions/Bad_"])
def test_names_are_dns_labels(tmp_path: Path, path: str) -> None:
    async def scene(w: World) -> None:
        answer = await w.ask("PUT", path, b"{}")
        assert answer.status == 400
        assert "must be a DNS label" in answer.json["error"]["message"]

    play(tmp_path, scene, connected=False)


def test_a_body_too_large_is_refused_while_it_comes(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await w.ask("POST", "/namespaces/default/packages", b"x" * 2_000_000)
        assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")
        assert list((tmp_path / "uploads").iterdir()) == []

    small = Settings(engine=EngineSettings(package_max_mib=0.01, package_files_max=1))
    play(tmp_path, scene, connected=False, settings=small)


def test_a_refused_archive_says_why(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await w.ask("POST", "/namespaces/default/packages", b"7z\xbc\xaf\x27\x1c no zip")
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid")
        assert "must be a zip or a tar" in answer.json["error"]["message"]
        assert (await w.ask("POST", "/namespaces/default/packages")).status == 400

    play(tmp_path, scene, connected=False)


def test_values_of_an_environment_are_shown_only_when_asked_for(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = (await w.ask("POST", "/namespaces/default/packages", code(tmp_path))).json["package"]
        body = json.dumps({"package": package, "spec": {"env": {"TOKEN": "t0p"}, "initial": 0}}).encode()
        deployed = await w.ask("PUT", "/namespaces/default/functions/hello", body)
        assert deployed.json["spec"]["env"] == {"TOKEN": "…"}, deployed
        for path in ("/functions", "/namespaces/default/functions", "/namespaces/default/functions/hello"):
            hidden = await w.ask("GET", path)
            assert b"TOKEN" in hidden.body and b"t0p" not in hidden.body, hidden
        for path in ("/namespaces/default/functions", "/namespaces/default/functions/hello"):
            assert b"t0p" in (await w.ask("GET", f"{path}?secrets=1")).body
        caller = await token_for(w, "default", manage=False)
        refused = await w.ask("GET", "/namespaces/default/functions/hello?secrets=1", token=caller)
        assert refused.status == 403 and b"t0p" not in refused.body

    play(tmp_path, scene)


def test_what_has_no_route_is_answered_in_our_form(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await w.ask("GET", "/nothing")
        assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")
        answer = await w.ask("PATCH", "/status")
        assert (answer.status, answer.json["error"]["code"]) == (405, "bad_request")

    play(tmp_path, scene, connected=False)


def test_the_request_id_is_kept_when_it_is_harmless(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        answer = await w.ask("GET", "/namespaces/default/functions/none", x_request_id="abc-1")
        assert (answer.headers["x-request-id"], answer.json["request_id"]) == ("abc-1", "abc-1")
        answer = await w.ask("GET", "/status", x_request_id="<script>")
        assert len(answer.headers["x-request-id"]) == 32

    play(tmp_path, scene, connected=False)


def test_status_says_what_runs_and_what_is_not_held(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        status = (await w.get("/status")).json
        assert status["tier"] == "T1"
        assert status["not_held"] == ["no protection against rain"]
        assert set(status["processes"]) == {"engine", "gateway", "keeper", "parent"}
        assert status["connected"] == {"keeper": True, "gateway": True}

    play(tmp_path, scene)


def test_metrics_count_instances_starts_and_exits(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        await w.put("hello", await w.upload(code(tmp_path)))
        instance = w.keeper.all(link.Start)[0].instance
        w.keeper.send(link.Used({instance: (1.5, 20.0)}))
        function = '{namespace="default",function="hello"}'
        text = await w.until_metrics_say(f"corral_function_cpu_seconds_total{function} 1.5")
        assert 'corral_instances{namespace="default",function="hello",state="ready"} 1' in text
        assert "corral_instance_starts_total 1" in text
        await w.ask("DELETE", "/namespaces/default/functions/hello")
        await w.until_metrics_say('corral_instance_exits_total{cause="removed"} 1')

    play(tmp_path, scene)


def test_brief_list_names_every_function_and_shows_no_settings(tmp_path: Path) -> None:
    async def scene(w: World) -> None:
        package = await w.upload(code(tmp_path))
        rows = [{"name": f"f-{number:04}", "package": package, "spec": {"initial": 0}} for number in range(450)]
        answer = await w.ask("POST", "/namespaces/default/functions", body=json.dumps(rows).encode())
        assert answer.status == 200
        whole = (await w.get("/namespaces/default/functions")).json["functions"]
        brief = (await w.get("/functions?brief=1")).json["functions"]
        assert [each["name"] for each in whole] == [each["name"] for each in rows]
        assert brief == [{field: each[field] for field in brief[0]} for each in whole]
        assert "spec" in whole[0] and "spec" not in brief[0]
        empty = await w.get("/namespaces/empty/functions?brief=1")
        assert empty.json == {"functions": []}

    play(tmp_path, scene)
