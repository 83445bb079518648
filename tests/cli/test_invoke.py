"""`corral invoke` explains a call."""

import pytest

from corral.cli.invoke import _body, _header, _target, server_timing
from corral.errors import Invalid


def test_server_timing_is_read_in_milliseconds() -> None:
    assert server_timing("queue;dur=0.1, cold;desc=x;dur=6.5,function;dur=2") == {
        "queue": 0.1,
        "cold": 6.5,
        "function": 2,
    }
    assert server_timing("") == {}


@pytest.mark.parametrize(
    ("name", "namespace", "path", "target"),
    [
        ("a", "default", "", "/function/a"),
        ("a", "team", "/x?y=1", "/function/a.team/x?y=1"),
        ("a.other", "team", "x", "/function/a.other/x"),
        ("a", "default", "?y", "/function/a?y"),
    ],
)
def test_target_has_name_namespace_and_path(name: str, namespace: str, path: str, target: str) -> None:
    assert _target(name, namespace, path) == target


def test_wrong_header_and_missing_file_are_sentences() -> None:
    with pytest.raises(Invalid, match="--header = 'x', must be NAME: VALUE"):
        _header("x")
    with pytest.raises(Invalid, match="--data = @/no/such, must name a file that can be read: No such file"):
        _body("@/no/such")
