"""The Store on SQLite: one writer thread with group commit. What was acknowledged is on disk."""

import asyncio
import contextlib
import queue
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from corral.errors import CorralError, DataFolderBusy, StoreFailed, StoreTooNew
from corral.model import FunctionKey, RevisionId, ScalingValue
from corral.ports import StoredFunction, StoredToken
from corral.store import demand, rows
from corral.store.demand import SqliteDemand

LOAD_WORKING_SETS = "SELECT * FROM working_sets"
PUT_WORKING_SET = "INSERT OR REPLACE INTO working_sets (revision, memory_mib) VALUES (?, ?)"
DROP_WORKING_SET = "DELETE FROM working_sets WHERE revision = ?"
Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Any]
REMEDY = "restore a copy of it, or move it and the folder packages beside it away to start empty"
GROUP_MAX = 512
"""Most writes in one transaction: bounds how long the first of them waits for its acknowledgement."""


def migrations() -> list[tuple[int, str]]:
    """(version, SQL) of every file of the schema, in order. A database at `user_version` n has had the first n."""
    files = sorted(file.name for file in resources.files("corral.store.schema").iterdir() if file.name.endswith(".sql"))
    numbered = [(int(name[:3]), name) for name in files if re.match(r"\d{3}_", name)]
    return [(number, resources.files("corral.store.schema").joinpath(name).read_text()) for number, name in numbered]


def open_database(path: Path, busy_s: float, lost: str = "") -> sqlite3.Connection:
    """The database at `path`, made and brought to this version's schema where needed. Waits up to `busy_s` for
    another process to let go of it. `lost` says what shows that there was one: then none is made.
    Raises StoreTooNew, DataFolderBusy, or StoreFailed when it is damaged, lost or cannot be written."""
    if path.is_dir():
        raise StoreFailed(f"{path} is a folder, must be a file: move it away")
    try:
        connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as exc:
        raise _fault(exc, path) from exc
    try:
        connection.row_factory = sqlite3.Row
        # Exclusive: a second engine on the same folder is refused, and no shared-memory file is needed.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        if lost and _version(connection) == 0:
            raise StoreFailed(f"{path} is missing or empty, and {lost}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # What a large transaction may have to undo would go to a temporary file, and the engine may write none.
        connection.execute("PRAGMA temp_store = MEMORY")
        _check(connection, path)
        _migrate(connection, path)
    except sqlite3.Error as exc:
        connection.close()
        raise _fault(exc, path) from exc
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreFailed(f"{path} is damaged ({verdict}): {REMEDY}")


def _version(connection: sqlite3.Connection) -> int:
    """Of the schema; 0: it has none yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    known = migrations()
    version = _version(connection)
    if version > len(known):
        raise StoreTooNew(
            f"{path} has schema version {version}, and this Corral knows {len(known)}: "
            "start the newer Corral that wrote it"
        )
    for number, sql in known[version:]:
        connection.executescript(f"BEGIN;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")


def _fault(exc: sqlite3.Error, path: Path) -> CorralError:
    """The one place where SQLite's errors become ours."""
    code = getattr(exc, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DataFolderBusy(f"{path} is held by another engine: stop that one, or choose another data folder")
    if primary == sqlite3.SQLITE_FULL:
        return StoreFailed(f"{path} cannot grow, the disk is full: make room and try again; nothing was changed")
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreFailed(f"{path} is damaged ({exc}): {REMEDY}")
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreFailed(f"{path} cannot be opened for writing ({exc}): check its owner and mode")
    return StoreFailed(f"{path}: {exc}; nothing was changed")


class _Pending:
    """One piece of work on its way through the writer."""

    __slots__ = ("future", "loop", "outcome", "work")

    def __init__(self, work: Work, future: "asyncio.Future[Any]") -> None:
        self.work, self.future = work, future
        self.loop = future.get_loop()
        self.outcome: Any = None

    def answer(self, fault: CorralError | None) -> None:
        # The loop may be gone when the process ends: then nobody waits for the acknowledgement.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._settle, fault)

    def _settle(self, fault: CorralError | None) -> None:
        if self.future.done():
            return
        if fault is not None:
            self.future.set_exception(fault)
        elif isinstance(self.outcome, CorralError):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)


class SqliteStore:
    """See ports.Store. Opened at construction, by the thread that constructs it; `close` waits for what is queued."""

    def __init__(self, path: Path, busy_s: float = 2.0, lost: str = "") -> None:
        """See open_database."""
        self._path = path
        self._connection = open_database(path, busy_s, lost)
        self.commits = 0
        """Transactions so far: each costs a wait for the disk."""
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self.demand = SqliteDemand(self._submit)
        self._thread = threading.Thread(target=self._write, name="store", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    async def load(self) -> tuple[Sequence[StoredFunction], Sequence[StoredToken]]:
        def work(connection: sqlite3.Connection) -> tuple[list[StoredFunction], list[StoredToken]]:
            found = connection.execute(rows.LOAD_FUNCTIONS).fetchall(), connection.execute(rows.LOAD_REVISIONS)
            functions = list(rows.stored_functions(*found))
            tokens = [rows.stored_token(row) for row in connection.execute(rows.LOAD_TOKENS)]
            return functions, tokens

        return await self._submit(work)

    async def next_number(self, key: FunctionKey) -> int:
        def work(connection: sqlite3.Connection) -> int:
            # All rows are fetched: an unfinished statement would keep the transaction open.
            return int(connection.execute(rows.NEXT_NUMBER, (key,)).fetchall()[0]["last"])

        return await self._submit(work)

    async def put_functions(self, functions: Iterable[StoredFunction]) -> None:
        batch = list(functions)
        put = [rows.function_row(stored) for stored in batch]
        revisions = [row for stored in batch for row in rows.revision_rows(stored)]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(rows.PUT_FUNCTION, put)
            connection.executemany(rows.KEEP_REVISIONS, put)
            connection.executemany(rows.PUT_REVISION, revisions)

        await self._submit(work)

    async def delete_function(self, key: FunctionKey) -> bool:
        namespace, _, name = key.partition("/")

        def work(connection: sqlite3.Connection) -> bool:
            demand.forget(connection, key)
            connection.execute(rows.DELETE_REVISIONS, (namespace, name))
            return connection.execute(rows.DELETE_FUNCTION, (namespace, name)).rowcount > 0

        return await self._submit(work)

    async def load_defaults(self) -> Mapping[str, Mapping[str, ScalingValue]]:
        return await self._submit(lambda c: dict(map(rows.default_scaling, c.execute(rows.LOAD_DEFAULTS))))

    async def put_default(self, namespace: str, scaling: Mapping[str, ScalingValue]) -> None:
        if not scaling:
            await self._submit(lambda connection: _forget(connection.execute(rows.DELETE_DEFAULT, (namespace,))))
            return
        row = (namespace, msgspec.json.encode(scaling).decode())
        await self._submit(lambda connection: _forget(connection.execute(rows.PUT_DEFAULT, row)))

    async def load_working_sets(self) -> Mapping[RevisionId, int]:
        def work(connection: sqlite3.Connection) -> dict[RevisionId, int]:
            return {RevisionId(row["revision"]): row["memory_mib"] for row in connection.execute(LOAD_WORKING_SETS)}

        return await self._submit(work)

    async def put_working_sets(self, learned: Mapping[RevisionId, int]) -> None:
        batch = list(learned.items())
        await self._submit(lambda connection: _forget(connection.executemany(PUT_WORKING_SET, batch)))

    async def drop_working_sets(self, revisions: Iterable[RevisionId]) -> None:
        batch = [(revision,) for revision in revisions]
        await self._submit(lambda connection: _forget(connection.executemany(DROP_WORKING_SET, batch)))

    async def put_token(self, token: StoredToken) -> None:
        row = rows.token_row(token)
        await self._submit(lambda connection: _forget(connection.execute(rows.PUT_TOKEN, row)))

    async def delete_token(self, digest: str) -> bool:
        return await self._submit(lambda connection: connection.execute(rows.DELETE_TOKEN, (digest,)).rowcount > 0)

    async def _submit(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.put(_Pending(work, future))
        return await future

    def _write(self) -> None:
        """The writer thread: everything that waits goes into one transaction, and is acknowledged after its commit."""
        ending = False
        while not ending:
            group = [self._queue.get()]
            while len(group) < GROUP_MAX:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            ending = None in group
            self._commit([pending for pending in group if pending is not None])

    def _commit(self, group: list[_Pending]) -> None:
        if not group:
            return
        fault: CorralError | None = None
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for pending in group:
                self._carry_out(pending)
            self._connection.execute("COMMIT")
            self.commits += 1
        except sqlite3.Error as exc:
            fault = _fault(exc, self._path)
            # After a full disk SQLite may have rolled back by itself.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
        for pending in group:
            pending.answer(fault)

    def _carry_out(self, pending: _Pending) -> None:
        """One write inside the group's transaction: its own failure undoes it alone."""
        self._connection.execute("SAVEPOINT one")
        try:
            pending.outcome = pending.work(self._connection)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError) as exc:
            pending.outcome = _fault(exc, self._path)
            self._connection.execute("ROLLBACK TO one")
        except sqlite3.Error:
            raise
        except Exception as exc:
            # Whatever it is, the writer must live on: everybody waits for it.
            pending.outcome = _unreadable(exc, self._path)
            self._connection.execute("ROLLBACK TO one")
        self._connection.execute("RELEASE one")


def _unreadable(exc: Exception, path: Path) -> CorralError:
    if isinstance(exc, rows.Unreadable):
        return StoreFailed(
            f"{path} holds a record that this version cannot read, {exc}: "
            "start the Corral that wrote it, or restore a copy of the file"
        )
    return StoreFailed(f"{path}: {type(exc).__name__}: {exc}; nothing was changed")


def _forget(_cursor: sqlite3.Cursor) -> None:
    """A write whose result says nothing."""
