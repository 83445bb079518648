"""What people say of traffic, and what they are told."""

from typing import Any

import pytest
from click.testing import CliRunner

from corral.cli.revisions import traffic, where_calls_go
from corral.errors import Invalid


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([{"number": 3, "percent": 100, "tags": []}], "100 % to 3"),
        (
            [
                {"number": 3, "percent": 90, "tags": ["stable", "v1"]},
                {"number": 5, "percent": 10, "tags": []},
                {"number": 6, "percent": 0, "tags": ["canary"]},
            ],
            "90 % to 3 (stable, v1), 10 % to 5, 0 % to 6 (canary)",
        ),
    ],
)
def test_where_calls_go_is_one_line(shares: list[dict[str, Any]], said: str) -> None:
    assert where_calls_go(shares) == said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["3"], "'3', must be REVISION=PERCENT, as in 3=90"),
        (["3="], "'3=', must be REVISION=PERCENT, as in 3=90"),
        (["new=90"], "'new=90': 'new' must be a whole number"),
        (["3=9.5"], "'3=9.5': '9.5' must be a whole number"),
        (["--tag", "stable"], "'stable', must be TAG=REVISION, as in stable=3"),
        (["--tag", "stable=new"], "'stable=new': 'new' must be a whole number"),
    ],
)
def test_what_is_no_share_and_no_tag_is_refused_before_anything_is_sent(words: list[str], sentence: str) -> None:
    done = CliRunner().invoke(traffic, ["hello", *words, "--url", "http://127.0.0.1:1"])
    assert isinstance(done.exception, Invalid)
    assert str(done.exception) == sentence
