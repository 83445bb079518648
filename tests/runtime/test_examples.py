"""The examples run under every interpreter that Corral runs functions on."""

import hashlib
import hmac
from pathlib import Path

import pytest

from .keeper import Gateway, Zygote

EXAMPLES = Path(__file__).parents[2] / "examples/plain"


def serve(zygote: Zygote, handler: str, **env: str) -> Gateway:
    return zygote.start_package(EXAMPLES, handler=handler, env=env).serve()


def test_words(any_version: Zygote) -> None:
    answer = serve(any_version, "words.py:handler").call(b'{"text": "To be, or not to be."}')
    assert (answer.status, answer.json()["words"]) == (200, 6)


@pytest.mark.parametrize("body", [b"[1]", b'{"text": 1}'])
def test_words_refuses_what_is_no_text(any_version: Zygote, body: bytes) -> None:
    answer = serve(any_version, "words.py:handler").call(body)
    assert (answer.status, "send text" in answer.json()["error"]) == (400, True)


def test_table(any_version: Zygote) -> None:
    headers = {"content-type": "text/csv"}
    answer = serve(any_version, "table.py:handler").call(b"name;price\nAnn;1.5\n", headers=headers)
    assert answer.json() == [{"name": "Ann", "price": 1.5}]


def test_changes(any_version: Zygote) -> None:
    answer = serve(any_version, "changes.py:handler").call(b'{"before": "a", "after": "b"}')
    assert answer.body.endswith(b"-a+b")


def test_greet(any_version: Zygote) -> None:
    assert serve(any_version, "greet.py:main").call(target="/?name=Ann").json() == {"greeting": "Hello, Ann!"}


def test_units(any_version: Zygote) -> None:
    gateway = serve(any_version, "units.py:handle")
    assert gateway.call(target="/").json() == {"kinds": ["length", "mass", "time"]}
    assert "km" in gateway.call(target="/length").json()["units"]
    converted = gateway.call(target="/length/convert?value=2&from=km&to=m").json()
    assert converted == {"value": 2000.0, "unit": "m"}


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [
        ("/height", 404, "no kind 'height'"),
        ("/length/convert?value=2&from=km&to=kg", 400, "'kg' is no unit of length"),
        ("/length/convert?value=two&from=km&to=m", 400, "value = 'two', must be a number"),
        ("/length/convert/", 404, "there is no /length/convert/"),
    ],
)
def test_units_says_what_is_wrong(plain: Zygote, target: str, status: int, said: str) -> None:
    answer = serve(plain, "units.py:handle").call(target=target)
    assert (answer.status, said in answer.json()["error"]) == (status, True)


def test_units_names_the_methods_it_has(plain: Zygote) -> None:
    answer = serve(plain, "units.py:handle").call(b"{}", target="/length")
    assert (answer.status, dict(answer.headers)["allow"]) == (405, "GET")


def test_signed(any_version: Zygote) -> None:
    gateway = serve(any_version, "signed.py:handle", WEBHOOK_SECRET="s")
    right = "sha256=" + hmac.new(b"s", b"{}", hashlib.sha256).hexdigest()
    assert gateway.call(b"{}", headers={"x-hub-signature-256": right}).status < 300
    assert gateway.call(b"{}", headers={"x-hub-signature-256": "sha256=0"}).status >= 400
