"""Who may do what: management, private functions, pages of other origins."""

from pathlib import Path

import pytest

from .server import Server, serving, wait_for

HELLO = "def handler(event): return 'hello'\n"


@pytest.mark.parametrize("path", ["/corral/v1/functions", "/corral/v1/status", "/corral/v1/tokens"])
def test_management_needs_a_token(shared: Server, path: str) -> None:
    assert shared.ask("GET", path).status == 401
    assert shared.ask("GET", path, headers={"Authorization": "Bearer wrong"}).status == 401
    assert shared.ask("GET", path, headers=shared.bearer).status == 200


def test_command_without_its_token_ends_with_5(shared: Server, tmp_path: Path) -> None:
    earlier = shared.environment
    shared.environment = {**earlier, "XDG_STATE_HOME": str(tmp_path)}
    try:
        done = shared.cli("list")
    finally:
        shared.environment = earlier
    assert done.returncode == 5
    assert b"set CORRAL_TOKEN, or call from the account that ran `corral up`" in done.stderr


def test_private_function_needs_a_token_of_its_namespace(shared: Server) -> None:
    shared.deploy("secret", HELLO, "--private")
    assert shared.call("secret").status == 401
    tokens = {name: shared.ok("token", "create", name, "-n", name).strip() for name in ("default", "other")}

    def status(token: str) -> int:
        return shared.ask("GET", "/function/secret", headers={"Authorization": f"Bearer {token}"}).status

    wait_for("the token at the gateway", lambda: status(tokens["default"]) == 200)
    assert status(tokens["other"]) in (401, 403)
    assert status(shared.token) == 200
    assert shared.cli("invoke", "secret").returncode == 0


def test_revoked_token_opens_nothing(shared: Server) -> None:
    shared.deploy("closing", HELLO, "--private")
    token = shared.ok("token", "create", "leaver").strip()

    def status() -> int:
        return shared.ask("GET", "/function/closing", headers={"Authorization": f"Bearer {token}"}).status

    wait_for("the token at the gateway", lambda: status() == 200)
    row = next(line for line in shared.ok("token", "list").splitlines() if "leaver" in line)
    assert token not in row
    shared.ok("token", "revoke", row.split()[0])
    wait_for("its end at the gateway", lambda: status() in (401, 403))


def test_token_that_may_only_invoke_cannot_manage(shared: Server) -> None:
    token = shared.ok("token", "create", "caller").strip()
    assert shared.ask("GET", "/corral/v1/functions", headers={"Authorization": f"Bearer {token}"}).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_page_of_another_origin_cannot_manage(shared: Server, headers: dict[str, str]) -> None:
    answer = shared.ask("GET", "/corral/v1/functions", headers={**shared.bearer, **headers})
    assert answer.status == 403, answer


def test_auth_all_asks_every_caller(tmp_path: Path) -> None:
    with serving(tmp_path, "--auth", "all") as server:
        server.deploy("asked", HELLO)
        assert server.call("asked").status == 401
        assert server.ask("GET", "/function/asked", headers=server.bearer).status == 200
        assert server.ask("GET", "/healthz").status == 200
