"""Layers on disk: whole or not at all, and nobody's but ours."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.errors import SandboxFailed
from corral.keeper.layers import Bounds, Layers

LAYER, OTHER = "a" * 64, "b" * 64
BOUNDS = Bounds(bytes_max=1000, files_max=20)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[int]:
    """What an installer left, by descriptor."""
    folder = tmp_path / "installed"
    (folder / "dep/inner").mkdir(parents=True)
    (folder / "dep/__init__.py").write_text("x = 1\n")
    (folder / "dep/inner/tool").write_text("#!")
    (folder / "dep/inner/tool").chmod(0o711)
    os.utime(folder / "dep/__init__.py", (1_000_000, 1_000_000))
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def layers(tmp_path: Path) -> Layers:
    (tmp_path / "layers").mkdir(exist_ok=True)
    return Layers(tmp_path, BOUNDS)


def put(stored: Layers, namespace: str, layer: str, installed: int) -> None:
    stored.put(namespace, layer, stored.copy(namespace, installed))
    stored.sync(namespace)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.glob("layers/*/*"))


def test_a_layer_is_a_copy_with_the_times_of_its_files(tmp_path: Path, installed: int) -> None:
    stored = layers(tmp_path)
    put(stored, "team", LAYER, installed)
    assert stored.has("team", LAYER) and not stored.has("other", LAYER)
    layer = tmp_path / "layers/team" / LAYER
    # Compiled modules are believed by the time of their source.
    assert (layer / "dep/__init__.py").stat().st_mtime == 1_000_000
    modes = {str(path.relative_to(layer)): path.stat().st_mode & 0o7777 for path in layer.rglob("*")}
    assert modes == {"dep": 0o755, "dep/__init__.py": 0o444, "dep/inner": 0o755, "dep/inner/tool": 0o555}
    (tmp_path / "installed/dep/__init__.py").write_text("x = 2\n")
    assert (layer / "dep/__init__.py").read_text() == "x = 1\n"


def test_what_was_broken_off_has_no_name_and_is_removed(
    tmp_path: Path, installed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = layers(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", full)
        with pytest.raises(SandboxFailed, match="what was installed could not be kept: No space left on device"):
            put(stored, "team", LAYER, installed)
    assert names(tmp_path) == []


def test_what_a_killed_keeper_left_is_removed_at_the_next_start(tmp_path: Path, installed: int) -> None:
    stored = layers(tmp_path)
    put(stored, "team", LAYER, installed)
    for left in (".incoming-1", ".gone-1"):
        (tmp_path / "layers/team" / left / "dep").mkdir(parents=True)
    stored.clear()
    assert names(tmp_path) == [".incoming-1", LAYER], "another installation may be at it"
    stored.clear(with_unfinished=True)
    assert names(tmp_path) == [LAYER]


def test_only_what_is_needed_stays(tmp_path: Path, installed: int) -> None:
    stored = layers(tmp_path)
    for namespace, layer in (("one", LAYER), ("one", OTHER), ("two", LAYER)):
        put(stored, namespace, layer, installed)
    stored.keep_only({("one", OTHER)})
    assert [stored.has("one", LAYER), stored.has("one", OTHER), stored.has("two", LAYER)] == [False, True, False]
    stored.clear()
    assert names(tmp_path) == [OTHER]


def test_removing_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    layers(tmp_path).set_aside("team", LAYER)


def test_a_folder_that_the_engine_put_there_is_not_written_to(tmp_path: Path, installed: int) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "layers").symlink_to(elsewhere)
    with pytest.raises(SandboxFailed):
        put(Layers(tmp_path, BOUNDS), "team", LAYER, installed)
    assert not list(elsewhere.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_written_to(tmp_path: Path, installed: int) -> None:
    stored = layers(tmp_path)
    os.chown(tmp_path / "layers", 12_345, 12_345)
    with pytest.raises(SandboxFailed):
        put(stored, "team", LAYER, installed)
    assert names(tmp_path) == []
