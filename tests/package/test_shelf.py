"""Packages on disk."""

import asyncio
from pathlib import Path

import pytest

from corral.errors import Invalid
from corral.package.archive import Limits
from corral.package.bundle import pack
from corral.package.shelf import AWAITED_S, Shelf
from corral.testing import ManualClock


def shelf_in(tmp_path: Path, clock: ManualClock | None = None) -> Shelf:
    return Shelf(tmp_path / "packages", Limits(bytes_max=10_000, members_max=10), clock or ManualClock())


def archive_of(tmp_path: Path, text: str) -> Path:
    source = tmp_path / "app.py"
    source.write_text(text)
    (tmp_path / "archive").write_bytes(pack(source))
    return tmp_path / "archive"


def test_the_same_code_is_kept_once_for_each_namespace(tmp_path: Path) -> None:
    shelf, archive = shelf_in(tmp_path), archive_of(tmp_path, "x = 1")
    first = asyncio.run(shelf.add("default", archive))
    again = asyncio.run(shelf.add("default", archive))
    assert first == again
    assert [path.name for path in (tmp_path / "packages/default").iterdir()] == [first]
    assert shelf.has("default", first)
    assert not shelf.has("other", first)


@pytest.mark.parametrize("package", ["", ".", "..", "../default", "a" * 63, "A" * 64])
def test_what_is_no_hash_is_never_looked_up(tmp_path: Path, package: str) -> None:
    shelf = shelf_in(tmp_path)
    (tmp_path / "packages/default").mkdir()
    assert not shelf.has("default", package)


def test_a_refused_archive_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        asyncio.run(shelf_in(tmp_path).add("default", archive_of(tmp_path, "x" * 20_000)))
    assert list((tmp_path / "packages/default").iterdir()) == []


def test_sweeping_removes_what_nobody_refers_to(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    kept = asyncio.run(shelf.add("default", archive_of(tmp_path, "kept")))
    gone = asyncio.run(shelf.add("default", archive_of(tmp_path, "gone")))
    elsewhere = asyncio.run(shelf.add("other", archive_of(tmp_path, "kept")))
    (tmp_path / "packages/default/.incoming-abc").mkdir()
    assert shelf.sweep([("default", kept)]) == 3
    assert shelf.has("default", kept)
    assert not shelf.has("default", gone)
    assert not shelf.has("other", elsewhere)
    assert [path.name for path in (tmp_path / "packages/default").iterdir()] == [kept]


def test_a_package_goes_with_its_last_holder(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    package = asyncio.run(shelf.add("default", archive_of(tmp_path, "x = 1")))
    asyncio.run(shelf.add("other", archive_of(tmp_path, "x = 1")))
    for _ in range(2):
        shelf.hold("default", package)
        shelf.deployed("default", package)
    for still_there in (True, False):
        shelf.drop("default", package)
        assert asyncio.run(shelf.clear())
        assert shelf.has("default", package) is still_there
    assert shelf.has("other", package)
    assert list((tmp_path / "packages/default").iterdir()) == []


def test_a_package_uploaded_again_stays_for_its_deployment(tmp_path: Path) -> None:
    shelf, archive = shelf_in(tmp_path), archive_of(tmp_path, "x = 1")
    package = asyncio.run(shelf.add("default", archive))
    shelf.hold("default", package)
    shelf.deployed("default", package)
    asyncio.run(shelf.add("default", archive))
    shelf.drop("default", package)
    asyncio.run(shelf.clear())
    assert shelf.has("default", package)


def test_nothing_is_removed_while_an_upload_is_under_way(tmp_path: Path) -> None:
    async def run() -> None:
        shelf, archive = shelf_in(tmp_path), archive_of(tmp_path, "x = 1")
        package = await shelf.add("default", archive)
        shelf.hold("default", package)
        shelf.deployed("default", package)
        shelf.drop("default", package)
        async with asyncio.TaskGroup() as group:
            again = group.create_task(shelf.add("default", archive))
            await asyncio.sleep(0)  # it has begun
            assert not await shelf.clear()
        assert again.result() == package
        assert await shelf.clear()
        assert shelf.has("default", package)

    asyncio.run(run())


def test_an_upload_that_nobody_deploys_is_removed_after_an_hour(tmp_path: Path) -> None:
    clock = ManualClock()
    shelf = shelf_in(tmp_path, clock)
    forgotten = asyncio.run(shelf.add("default", archive_of(tmp_path, "forgotten")))
    used = asyncio.run(shelf.add("default", archive_of(tmp_path, "used")))
    shelf.hold("default", used)
    clock.advance(AWAITED_S / 2)
    again = asyncio.run(shelf.add("default", archive_of(tmp_path, "again")))
    clock.advance(AWAITED_S / 2 - 1)
    for passed_s, there in ((0.0, [True, True, True]), (1.0, [False, True, True]), (AWAITED_S, [False, True, False])):
        clock.advance(passed_s)
        assert asyncio.run(shelf.clear())
        assert [shelf.has("default", package) for package in (forgotten, used, again)] == there
