"""A redeployment says what it takes away."""

from typing import Any

import pytest

from corral.cli.changes import changes, differences, left_open

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


def test_revisions_left_open_beside_a_private_one_are_named() -> None:
    open_, private = BEFORE | {"private": False}, BEFORE
    function = {
        "name": "f", "number": 3, "spec": private, "specs": {"1": open_, "2": private, "3": private, "4": open_},
        "traffic": [
            {"number": 1, "percent": 90, "tags": []}, {"number": 2, "percent": 0, "tags": ["b"]},
            {"number": 3, "percent": 10, "tags": []}, {"number": 4, "percent": 0, "tags": ["old"]},
        ],
    }  # fmt: skip
    assert left_open(function) == [
        "revision 1 stays open: 90 % of the calls go to it",
        "revision 4 stays open: whoever reaches the port may call f@old",
    ]
    assert left_open(function | {"spec": open_}) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, []),
        ({"private": False}, ["not private"]),
        ({"env": {"MODE": "slow", "NEW": "x"}}, ["another value of env MODE", "env NEW", "no env TOKEN"]),
        ({"timeout_s": 2.5}, ["timeout 2.5 s"]),
        ({"initial": 0, "scaling": {"engine": "knative"}}, []),
    ],
)
def test_what_differs_between_revisions_is_said_in_a_few_words(other: dict[str, Any], said: list[str]) -> None:
    assert differences(BEFORE, BEFORE | other) == said
