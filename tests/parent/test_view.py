"""Corral starts its own processes, and says at once when it cannot."""

import sys
from pathlib import Path

import pytest

from corral.errors import BadConfiguration
from corral.parent.main import up


def test_interpreter_that_cannot_be_run_ends_up_before_anything_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "python3"
    closed.write_bytes(b"")
    closed.chmod(0o644)
    monkeypatch.setattr(sys, "executable", str(closed))
    with pytest.raises(BadConfiguration, match=r"python3 cannot be run by user \d+, .* must be one that this user may"):
        up(tmp_path / "data", {}, {"HOME": str(tmp_path)})
    assert not (tmp_path / "data").exists()
