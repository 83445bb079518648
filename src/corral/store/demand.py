"""The demand of functions on SQLite: see ports.DemandStore."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from corral.errors import StoreFailed
from corral.model import FunctionKey
from corral.ports import MinuteSeen
from corral.store.minutes import HOUR, entries, entry

DAYS_KEPT = 14
DAY = 24

# What was seen of a function that has been deleted meanwhile is not for the next one of its name.
IF_DEPLOYED = "WHERE EXISTS (SELECT 1 FROM functions WHERE namespace = :namespace AND name = :name)"
ADD = f"""
INSERT INTO demand (hour, function, entries) SELECT :hour, :function, :entry {IF_DEPLOYED}
ON CONFLICT (hour, function) DO UPDATE SET entries = CAST(entries || excluded.entries AS BLOB)
"""
ADD_LAST = f"""
INSERT INTO last_calls (function, minute) SELECT :function, :minute {IF_DEPLOYED}
ON CONFLICT (function) DO UPDATE SET minute = excluded.minute
"""
# From one hour to the next by the index: at most some 340 steps, where SELECT DISTINCT would read millions of rows.
HOURS = """
WITH RECURSIVE hours (hour) AS (
    SELECT min(hour) FROM demand
    UNION ALL
    SELECT (SELECT min(demand.hour) FROM demand WHERE demand.hour > hours.hour) FROM hours WHERE hours.hour IS NOT NULL
)
"""
ALL_HOURS = f"{HOURS} SELECT hour FROM hours WHERE hour IS NOT NULL"
DROP_HOUR = "DELETE FROM demand WHERE hour = ?"
LOAD = f"""
{HOURS} SELECT hour, entries FROM demand
WHERE function = :function AND hour IN (SELECT hour FROM hours WHERE hour >= :first) ORDER BY hour
"""
LOAD_LAST = "SELECT function, minute FROM last_calls"
FORGET = (
    f"{HOURS} DELETE FROM demand WHERE function = :function AND hour IN (SELECT hour FROM hours)",
    "DELETE FROM last_calls WHERE function = :function",
)


class Submit(Protocol):
    def __call__(self, work: Callable[[sqlite3.Connection], Any], /) -> Awaitable[Any]: ...


class SqliteDemand:
    """See ports.DemandStore. `submit` has the work done by the store's writer, in a transaction."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit

    async def add(self, minutes: Sequence[MinuteSeen]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            rows = [_row(seen) for seen in minutes]
            connection.executemany(ADD, [row for row in rows if row["entry"]])
            connection.executemany(ADD_LAST, rows)
            _drop_oldest(connection)

        await self._submit(work)

    async def load(self, key: FunctionKey, first_minute: int) -> Sequence[MinuteSeen]:
        def work(connection: sqlite3.Connection) -> list[MinuteSeen]:
            rows = connection.execute(LOAD, {"function": key, "first": first_minute // HOUR}).fetchall()
            try:
                seen = [each for row in rows for each in entries(key, row["hour"], row["entries"])]
            except ValueError as exc:
                raise StoreFailed(f"what is stored of the calls of {key} cannot be read: {exc}") from exc
            return [each for each in seen if each.minute >= first_minute]

        found: list[MinuteSeen] = await self._submit(work)
        return found

    async def last_calls(self) -> Mapping[FunctionKey, int]:
        found: dict[FunctionKey, int] = await self._submit(lambda c: dict(map(tuple, c.execute(LOAD_LAST))))
        return found


def forget(connection: sqlite3.Connection, key: FunctionKey) -> None:
    """With the function, in the transaction that deletes it."""
    for statement in FORGET:
        connection.execute(statement, {"function": key})


def _row(seen: MinuteSeen) -> dict[str, Any]:
    """`entry` is empty when it would say nothing: a call went on for a whole minute."""
    namespace, _, name = seen.key.partition("/")
    return {
        "hour": seen.minute // HOUR,
        "minute": seen.minute,
        "function": seen.key,
        "namespace": namespace,
        "name": name,
        "entry": entry(seen) if seen.calls or seen.idle_times else b"",
    }


def _drop_oldest(connection: sqlite3.Connection) -> None:
    """One hour at a time, so that no write takes long; there is one to drop per hour and a chance each minute. What
    counts are the newest days that have anything, not the date: a clock that is wrong for a while costs a day."""
    hours = [hour for (hour,) in connection.execute(ALL_HOURS)]
    days = sorted({hour // DAY for hour in hours})
    if len(days) > DAYS_KEPT:
        connection.execute(DROP_HOUR, (hours[0],))
