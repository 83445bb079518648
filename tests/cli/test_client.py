"""The client against a real HTTP server: tokens found, faults understood."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from corral import errors
from corral.cli.client import Client, fault_of
from corral.parent.token import token_file


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked; `/corral/v1/status/404` with that status and a fault."""

    def do_GET(self) -> None:
        last = self.path.rpartition("/")[2]
        status = int(last) if last.isdigit() else 200
        value: object = {"error": {"code": "not_found", "message": "no such function"}}
        if status == 200:
            value = {"path": self.path, "authorization": self.headers.get("Authorization")}
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_token_left_by_up_is_sent(url: str, tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path), "CORRAL_URL": url}
    file = token_file(url, environment)
    file.parent.mkdir(parents=True)
    file.write_text("left-by-up\n")
    assert Client(None, environment).manage("GET", "/status") == {
        "path": "/corral/v1/status",
        "authorization": "Bearer left-by-up",
    }


def test_token_of_the_environment_wins(url: str, tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path), "CORRAL_TOKEN": "mine"}
    assert Client(url, environment).manage("GET", "/status")["authorization"] == "Bearer mine"


def test_token_of_another_server_is_not_sent(url: str, tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    file = token_file("http://127.0.0.1:1", environment)
    file.parent.mkdir(parents=True)
    file.write_text("for another")
    assert Client(url, environment).manage("GET", "/status")["authorization"] is None


def test_fault_of_the_server_is_raised_by_its_name(url: str) -> None:
    with pytest.raises(errors.NotFound, match="no such function"):
        Client(url, {"XDG_STATE_HOME": "/nowhere"}).manage("GET", "/status/404")


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8080", ""])
def test_url_that_is_none_is_a_sentence(url: str) -> None:
    if url:
        with pytest.raises(errors.Invalid, match="must be http://HOST:PORT or https://HOST:PORT"):
            Client(url, {})
    else:
        assert Client(url, {}).url == "http://127.0.0.1:8080"


def test_load_failure_keeps_its_traceback() -> None:
    body = b'{"error": {"code": "load_failed", "message": "m", "traceback": "File x"}}'
    fault = fault_of(422, body)
    assert isinstance(fault, errors.LoadFailed)
    assert fault.traceback == "File x"


def test_answer_of_another_program_is_said_to_be_one() -> None:
    assert "status 404, which is no answer of a Corral server: <html>" in str(fault_of(404, b"<html>"))


def test_refused_token_says_where_tokens_come_from() -> None:
    body = b'{"error": {"code": "unauthenticated", "message": "no token"}}'
    assert str(fault_of(401, body)) == "no token; set CORRAL_TOKEN, or call from the account that ran `corral up`"
