"""Which token `corral token revoke` means."""

import pytest

from corral.cli.token import chosen
from corral.errors import Conflict, NotFound

TOKENS = [
    {"label": "ci", "digest": "aa11"},
    {"label": "ann", "digest": "aa22"},
    {"label": "ann", "digest": "bb33"},
    {"label": "bb", "digest": "cc44"},
]


@pytest.mark.parametrize(("which", "digest"), [("ci", "aa11"), ("aa2", "aa22"), ("bb33", "bb33"), ("cc", "cc44")])
def test_label_or_beginning_of_a_digest_names_one(which: str, digest: str) -> None:
    assert chosen(which, TOKENS) == digest


@pytest.mark.parametrize("which", ["aa", "ann", "bb"])
def test_what_fits_several_revokes_none(which: str) -> None:
    with pytest.raises(Conflict, match=f"2 tokens fit '{which}', must be one; give the digest: "):
        chosen(which, TOKENS)


def test_what_fits_none_is_not_found() -> None:
    with pytest.raises(NotFound, match="no token is labelled 'dora'"):
        chosen("dora", TOKENS)
