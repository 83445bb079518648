"""The Store on SQLite."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from corral.errors import DataFolderBusy, StoreFailed, StoreTooNew
from corral.model import FunctionKey, FunctionSpec, Revision, Share, function_key, revision_id
from corral.ports import StoredFunction, StoredToken, Tuning
from corral.store.sqlite import SqliteStore, migrations

Result = TypeVar("Result")


def function(name: str, number: int = 1, uid: int = 100_002, **spec: object) -> StoredFunction:
    key = function_key("default", name)
    revision = Revision(
        id=revision_id(key, number),
        namespace="default",
        name=name,
        number=number,
        package="a" * 64,
        uid=uid,
        spec=FunctionSpec(**spec),  # type: ignore[arg-type]
        created_at=1_700_000_000.25,
        style="handle",
        is_async=True,
    )
    share = Share(number=number, percent=100)
    return StoredFunction(revisions=(revision,), traffic=(share,), proven=(number,), updated_at=1_700_000_001.5)


def token(digest: str = "d" * 64) -> StoredToken:
    return StoredToken(
        digest=digest, label="ci", namespaces=("default", "team"), manage=True, invoke=False, created_at=5.0
    )


def within(path: Path, use: Callable[[SqliteStore], Awaitable[Result]]) -> Result:
    """Open the store, use it, close it."""

    async def run() -> Result:
        with closing(SqliteStore(path)) as store:
            return await use(store)

    return asyncio.run(run())


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    stored = function("hello", env={"A": "ä"}, memory_mib=64, concurrency=3, network="host")

    async def put(store: SqliteStore) -> None:
        await store.put_functions([stored])
        await store.put_token(token())

    within(tmp_path / "db", put)
    functions, tokens = within(tmp_path / "db", lambda store: store.load())
    assert functions == [stored]
    assert [(each.digest, list(each.namespaces), each.manage, each.invoke) for each in tokens] == [
        ("d" * 64, ["default", "team"], True, False)
    ]


def test_put_replaces_the_function_of_that_name(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> list[int]:
        await store.put_functions([function("hello", 1)])
        await store.put_functions([function("hello", 2, uid=100_003)])
        return [each.revisions[0].number for each in (await store.load())[0]]

    assert within(tmp_path / "db", use) == [2]


def test_functions_are_put_all_or_none(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> list[str]:
        await store.put_functions([function("first", uid=100_002)])
        with pytest.raises(StoreFailed, match="uid"):
            await store.put_functions([function("second", uid=100_003), function("thief", uid=100_002)])
        return [each.revisions[0].name for each in (await store.load())[0]]

    assert within(tmp_path / "db", use) == ["first"]


def test_a_failing_write_does_not_undo_its_neighbours_in_the_same_group(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> list[str]:
        await store.put_functions([function("first", uid=100_002)])
        results = []

        async def put(each: StoredFunction) -> None:
            try:
                await store.put_functions([each])
            except StoreFailed:
                results.append(each.revisions[0].name)

        async with asyncio.TaskGroup() as group:
            for each in (function("b", uid=100_003), function("thief", uid=100_002), function("c", uid=100_004)):
                group.create_task(put(each))
        assert results == ["thief"]
        return [each.revisions[0].name for each in (await store.load())[0]]

    assert within(tmp_path / "db", use) == ["b", "c", "first"]


def test_delete_says_whether_there_was_one(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> list[bool]:
        await store.put_functions([function("hello")])
        await store.put_token(token())
        key = function_key("default", "hello")
        digest = token().digest
        return [
            await store.delete_function(key),
            await store.delete_function(key),
            await store.delete_token(digest),
            await store.delete_token(digest),
        ]

    assert within(tmp_path / "db", use) == [True, False, True, False]


def test_numbers_are_never_given_twice_also_after_deletion_and_restart(tmp_path: Path) -> None:
    key = FunctionKey("default/hello")

    async def use(store: SqliteStore) -> list[int]:
        first = await store.next_number(key)
        await store.put_functions([function("hello", first)])
        await store.delete_function(key)
        return [first, await store.next_number(key)]

    assert within(tmp_path / "db", use) == [1, 2]
    assert within(tmp_path / "db", use) == [3, 4]


def test_writes_asked_for_together_share_commits(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> int:
        async with asyncio.TaskGroup() as group:
            for place in range(1000):
                group.create_task(store.next_number(FunctionKey(f"default/f{place}")))
        return store.commits

    assert within(tmp_path / "db", use) <= 20


def test_a_full_disk_refuses_the_write_and_the_store_goes_on(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        # SQLite answers as on a full disk when a file may not have more pages.
        await store._submit(lambda c: c.execute("PRAGMA max_page_count = 12").fetchall() and None)
        with pytest.raises(StoreFailed, match=r"disk is full: make room and try again; nothing was changed"):
            await store.put_functions([function("big", env={"A": "x" * 200_000})])
        await store.put_functions([function("small")])
        assert [each.revisions[0].name for each in (await store.load())[0]] == ["small"]

    within(tmp_path / "db", use)


def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew, match=r"schema version 99, and this Corral knows \d"):
        SqliteStore(tmp_path / "db")


def test_a_file_that_is_no_database_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"not a database, whatever its name says. " * 100)
    with pytest.raises(StoreFailed, match=r"is damaged .*: restore a copy of it, or move it and the folder packages"):
        SqliteStore(tmp_path / "db")


def test_a_database_with_overwritten_pages_is_called_damaged(tmp_path: Path) -> None:
    within(tmp_path / "db", lambda store: store.put_functions([function(f"f{n}", uid=n) for n in range(200)]))
    with (tmp_path / "db").open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096 * 3)
    with pytest.raises(StoreFailed, match="is damaged"):
        SqliteStore(tmp_path / "db")


def test_a_second_engine_on_the_same_file_is_refused(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "db")):
        with pytest.raises(DataFolderBusy, match="held by another engine"):
            SqliteStore(tmp_path / "db", busy_s=0.0)


def test_a_setting_of_a_newer_patch_version_is_left_out(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        await store.put_functions([function("hello")])
        await store._submit(lambda c: c.execute('UPDATE revisions SET spec = \'{"warp": 9, "min": 2}\'').rowcount)
        [stored], _ = await store.load()
        assert stored.revisions[0].spec == FunctionSpec(min=2)

    within(tmp_path / "db", use)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ('revisions SET spec = \'{"min": "two"}\'', "Expected `int`, got `str`"),
        ("revisions SET spec = '[]'", "Expected `object`, got `array`"),
        ("revisions SET spec = '{'", "Input data was truncated"),
        ("revisions SET style = 'go'", "Invalid enum value 'go'"),
        ("functions SET uid = 'root'", "Expected `int`, got `str`"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_the_writer_lives_on(tmp_path: Path, change: str, why: str) -> None:
    async def use(store: SqliteStore) -> None:
        await store.put_functions([function("hello")])
        await store._submit(lambda c: c.execute(f"UPDATE {change}").rowcount)
        with pytest.raises(StoreFailed, match=rf"cannot read, function default/hello: {why}.*: start the Corral that"):
            await store.load()
        assert await store.delete_function(function_key("default", "hello"))

    within(tmp_path / "db", use)


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_every_commit_is_synced_to_disk(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> list[object]:
        names = ("journal_mode", "synchronous")
        return [await store._submit(lambda c, n=name: c.execute(f"PRAGMA {n}").fetchall()[0][0]) for name in names]  # type: ignore[misc]

    assert within(tmp_path / "db", use) == ["wal", 2]


def test_function_of_the_schema_before_has_its_revision_with_all_calls(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        for number, sql in migrations()[:4]:
            connection.executescript(f"{sql}\nPRAGMA user_version = {number};")
        connection.execute(
            "INSERT INTO functions VALUES ('default', 'hello', 7, ?, 100002, '{\"min\": 2}', 'handle', 1, 5.0, 6.0, ?)",
            ("a" * 64, '{"max": 9}'),
        )
        connection.commit()

    [stored], _ = within(tmp_path / "db", lambda store: store.load())
    assert stored.traffic == (Share(number=7, percent=100),)
    assert (stored.proven, stored.updated_at, stored.tuning) == ((7,), 6.0, Tuning(max=9))
    [revision] = stored.revisions
    assert (revision.id, revision.uid, revision.spec, revision.style) == (
        "default/hello@7", 100_002, FunctionSpec(min=2), "handle",
    )  # fmt: skip


def test_revisions_that_are_not_named_again_are_gone(tmp_path: Path) -> None:
    first, second, third = (function("hello", number).revisions[0] for number in (1, 2, 3))
    split = (Share(number=2, percent=90, tag="stable"), Share(number=3, percent=10))

    async def use(store: SqliteStore) -> StoredFunction:
        await store.put_functions([function("hello"), function("hello-2", uid=100_003)])
        both = StoredFunction(revisions=(first, second), traffic=function("hello").traffic, proven=(1,), updated_at=1.0)
        await store.put_functions([both])
        learned = msgspec.structs.replace(second, style="main", is_async=False)
        last = StoredFunction(revisions=(learned, third), traffic=split, proven=(2,), updated_at=2.0)
        await store.put_functions([last])
        stored, other = (await store.load())[0]
        assert (stored, other) == (last, function("hello-2", uid=100_003))
        await store.delete_function(stored.key)
        return (await store.load())[0][0]

    assert within(tmp_path / "db", use).key == "default/hello-2"


def test_calls_that_go_to_a_revision_that_is_not_there_are_a_damaged_record(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        await store.put_functions([function("hello")])
        await store._submit(lambda c: c.execute("DELETE FROM revisions").rowcount)
        with pytest.raises(StoreFailed, match=r"function default/hello: its calls go to \[1\], which is not there"):
            await store.load()

    within(tmp_path / "db", use)
