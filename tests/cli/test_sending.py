"""Who waits for an installation is told so, and nobody else."""

import threading
from pathlib import Path

import pytest

from corral.cli import sending
from corral.cli.sending import told_of_installation


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, is_long: bool) -> list[str]:
    """What is said while something happens that `is_long`, or not."""
    monkeypatch.setattr(sending, "TOLD_AFTER_S", 0.0 if is_long else 60.0)
    said: list[str] = []
    heard = threading.Event()

    def tell(packages: str) -> None:
        said.append(packages)
        heard.set()

    with told_of_installation([folder], tell):
        if is_long and (folder / "requirements.txt").exists():
            assert heard.wait(10)
    return said


def test_packages_are_counted_once_it_takes_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("jinja2\nmarkdown>=3  # pages\n")
    assert told(monkeypatch, tmp_path, is_long=True) == ["2 packages"]
    assert told(monkeypatch, tmp_path, is_long=False) == []


def test_function_without_requirements_is_no_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert told(monkeypatch, tmp_path, is_long=True) == []
