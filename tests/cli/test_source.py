"""What a developer's files mean, and when they have changed."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.cli.dev import source
from corral.cli.dev.source import Source, name_of
from corral.errors import Invalid

HELLO = "def handler(event): return 1\n"


@pytest.fixture(autouse=True)
def looks_up_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LOOK_MS", 20)


def until_change(changes: Iterator[bool], looks: int = 500) -> None:
    """A look is LOOK_MS at most. Fails when nothing is noticed in so many."""
    assert any(next(changes) for _ in range(looks)), "no change was noticed"


def is_quiet(changes: Iterator[bool]) -> bool:
    """For five looks, which is longer than a change takes to be noticed."""
    return not any(next(changes) for _ in range(5))


@pytest.mark.parametrize(
    ("path", "name"),
    [("hello.py", "hello"), ("My_Function.py", "my-function"), ("Ünï.py", "n"), ("__.py", "function")],
)
def test_file_without_a_name_has_its_own_as_far_as_it_may(tmp_path: Path, path: str, name: str) -> None:
    (tmp_path / path).write_text(HELLO)
    assert name_of(tmp_path / path) == name
    assert Source(tmp_path / path, None).read()[0].deployment.name == name


def test_digest_is_of_what_counts(tmp_path: Path) -> None:
    file = tmp_path / "handler.py"
    file.write_text(HELLO)
    read = Source(tmp_path, "mine").read
    [first] = read()
    assert (first.deployment.namespace, first.deployment.spec.initial) == ("mine", 1)
    file.touch()
    (tmp_path / "handler.py~").write_text("an editor's")
    assert read()[0].digest == first.digest
    file.write_text(HELLO + "\n")
    changed = read()[0].digest
    assert changed != first.digest
    (tmp_path / "corral.toml").write_text(f'name = "{first.deployment.name}"\nmemory = 64\n')
    assert read()[0].digest not in (first.digest, changed)


def test_unverified_deployments_are_verified_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(HELLO)
    (tmp_path / "corral.toml").write_text('name = "lazy"\ninitial = 0\n')
    assert Source(tmp_path, None).read()[0].deployment.spec.initial == 1


def test_watching_begins_with_a_look_at_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(HELLO)
    changes = Source(tmp_path, None).changes()
    assert next(changes)
    assert is_quiet(changes)


def test_one_file_is_watched_and_not_its_neighbours(tmp_path: Path) -> None:
    file, other = tmp_path / "hello.py", tmp_path / "other.py"
    file.write_text(HELLO)
    changes = Source(file, None).changes()
    assert next(changes)
    other.write_text(HELLO)
    assert is_quiet(changes)
    other.rename(file)
    until_change(changes)
    file.unlink()
    until_change(changes)
    file.write_text(HELLO)
    until_change(changes)


def test_new_folders_are_watched_and_noise_is_not(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(HELLO)
    changes = Source(tmp_path, None).changes()
    assert next(changes)
    for noise in ("__pycache__/a.pyc", ".git/index", ".venv/lib/x.py", ".handler.py.swp", "handler.py~"):
        (tmp_path / noise).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / noise).write_text("x")
    assert is_quiet(changes)
    (tmp_path / "lib").mkdir()
    until_change(changes)
    (tmp_path / "lib/words.py").write_text("x = 1\n")
    until_change(changes)


def test_nothing_outside_the_folder_is_watched_through_a_link(tmp_path: Path) -> None:
    folder, outside = tmp_path / "code", tmp_path / "outside"
    for each in (folder, outside):
        each.mkdir()
    (folder / "handler.py").write_text(HELLO)
    (folder / "away").symlink_to(outside)
    changes = Source(folder, None).changes()
    assert next(changes)
    (outside / "other.py").write_text(HELLO)
    assert is_quiet(changes)
    (folder / "away").unlink()
    until_change(changes)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_folder_that_cannot_be_read_does_not_end_the_watching() -> None:
    with tempfile.TemporaryDirectory() as around:
        folder = Path(around)
        folder.chmod(0o755)
        (folder / "handler.py").write_text(HELLO)
        (folder / "closed").mkdir(mode=0o700)
        os.seteuid(65_534)
        try:
            changes = Source(folder, None).changes()
            assert next(changes)
            assert is_quiet(changes)
        finally:
            os.seteuid(0)
        (folder / "handler.py").write_text(HELLO + "\n")
        until_change(changes)


def test_folder_that_is_replaced_is_watched_again(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "handler.py").write_text(HELLO)
    made = Source(folder, None)
    changes = made.changes()
    assert next(changes)
    folder.rename(tmp_path / "aside")
    assert not all(next(changes) for _ in range(5))
    with pytest.raises(Invalid, match="there is none"):
        made.read()
    folder.mkdir()
    until_change(changes)
    assert is_quiet(changes)
    (folder / "handler.py").write_text(HELLO)
    until_change(changes)


def test_archive_is_nothing_to_write_in(tmp_path: Path) -> None:
    (tmp_path / "app.zip").write_bytes(b"")
    with pytest.raises(Invalid, match=r"is an archive, must be a file or folder that you write in"):
        Source(tmp_path / "app.zip", None)
