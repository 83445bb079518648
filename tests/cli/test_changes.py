"""A redeployment says what it takes away."""

from typing import Any

import pytest

from corral.cli.changes import changes

BEFORE: dict[str, Any] = {
    "handler": None,
    "env": {"TOKEN": "t", "MODE": "fast"},
    "memory_mib": 256,
    "timeout_s": 60.0,
    "network": "none",
    "private": True,
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"private": False}, ["no longer private: whoever reaches the port may call it"]),
        ({"env": {"MODE": "fast"}}, ["env TOKEN is gone"]),
        ({"env": {"TOKEN": "u", "MODE": "fast", "NEW": "x"}}, ["env TOKEN has another value"]),
        ({"network": "host"}, ["network: none, now host"]),
        ({"timeout_s": 2.5}, ["timeout: 60 s, now 2.5 s"]),
        ({"memory_mib": 512, "handler": "a.py:b"}, ["handler: not set, now a.py:b", "memory: 256, now 512"]),
    ],
)
def test_each_setting_lost_or_changed_is_a_sentence(change: dict[str, Any], said: list[str]) -> None:
    assert changes(BEFORE, BEFORE | change) == said


def test_change_back_to_private_is_said() -> None:
    assert changes({"private": False}, {"private": True}) == ["now private: calls need a token"]
