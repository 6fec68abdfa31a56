"""The tables of the audit, and every query on them.

Plain SQL where it is written for each request or read by the million: half a millisecond of query
building would be a quarter of what a record may cost.
"""

# ruff: noqa: S608 - the statements are put together from constants of this module; values are bound

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from peewee import (
    AutoField,
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    IntegerField,
    Model,
    SqliteDatabase,
    TextField,
)

from flatrun_audit.canonical import ZERO, Entry, is_hash
from flatrun_audit.ends import MAX_ID, REBUILT, ROOM, End
from flatrun_audit.filters import Filters

_COLUMNS: Final = ", ".join(Entry._fields)
_MARK: Final = "last_id, last_hash, deleted, total, time, signature"
MIN_ROW, MAX_ROW = -(2**63), 2**63 - 1


def run(model: type[Model], sql: str, values: Sequence[Any] = ()) -> Any:
    """Run a statement written with ``?`` on the model's database; its cursor."""
    database: Any = model._meta.database
    return database.execute_sql(sql if database.param == "?" else sql.replace("?", database.param), values)


def on_sqlite(model: type[Model]) -> bool:
    """Whether the model's database is SQLite's."""
    return isinstance(model._meta.database, SqliteDatabase)


def _raw(model: type[Model], column: str) -> str:
    """A column as SQLite hands it out even when it holds what is no text."""
    return f"CAST({column} AS BLOB)" if on_sqlite(model) else column


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Event(Model):
    """One event; what the fields mean is in docs/audit.md."""

    id = BigAutoField()
    event_id = CharField(max_length=36, unique=True)
    timestamp = BigIntegerField()
    actor_type = CharField(max_length=32)
    actor_id = CharField(max_length=100)
    actor_name = CharField(max_length=100)
    api_key_prefix = CharField(max_length=32)
    action = CharField(max_length=100)
    method = CharField(max_length=16)
    path = TextField()
    resource_type = CharField(max_length=100)
    resource_id = CharField(max_length=255)
    client_ip = CharField(max_length=64)
    user_agent = TextField()
    request_id = CharField(max_length=64)
    request_body = TextField()
    response_status = IntegerField()
    response_time_ms = BigIntegerField()
    success = BooleanField()
    error_message = TextField()
    metadata = TextField()
    prev_hash = CharField(max_length=64)
    hash = CharField(max_length=64)

    class Meta:
        """Where it is kept."""

        table_name = "audit_event"

    @classmethod
    def add(cls, entries: Sequence[Entry]) -> None:
        """Write events that have their ids and hashes."""
        marks = ", ".join("?" * len(Entry._fields))
        for entry in entries:
            run(cls, f"INSERT INTO audit_event ({_COLUMNS}) VALUES ({marks})", entry)

    @classmethod
    def count_of(cls, filters: Filters) -> int:
        """How many there are."""
        where, values = filters.where(sqlite=on_sqlite(cls))
        return int(run(cls, f"SELECT COUNT(*) FROM audit_event WHERE {where}", values).fetchone()[0])

    @classmethod
    def ids_of(cls, filters: Filters, limit: int, offset: int = 0) -> list[int]:
        """Their ids, newest first; answered from an index alone."""
        where, values = filters.where(sqlite=on_sqlite(cls))
        sql = f"SELECT id FROM audit_event WHERE {where} ORDER BY timestamp DESC, id DESC LIMIT ? OFFSET ?"
        return [row[0] for row in run(cls, sql, [*values, limit, offset]).fetchall()]

    @classmethod
    def of_ids(cls, ids: Sequence[int]) -> dict[int, Entry]:
        """Events by id, those that are still there."""
        if not ids:
            return {}
        sql = f"SELECT {_COLUMNS} FROM audit_event WHERE id IN ({', '.join('?' * len(ids))})"
        return {entry.id: entry for entry in map(Entry._make, run(cls, sql, list(ids)).fetchall())}

    @classmethod
    def of_event_id(cls, event_id: str) -> Entry | None:
        """One event by its UUID."""
        row = run(cls, f"SELECT {_COLUMNS} FROM audit_event WHERE event_id = ?", [event_id]).fetchone()
        return Entry._make(row) if row else None

    @classmethod
    def rows(cls, first: int, last: int, limit: int) -> list[tuple[Any, ...]]:
        """Events from one id to another, by id, as the columns of ``Entry``."""
        sql = f"SELECT {_COLUMNS} FROM audit_event WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?"
        found: list[tuple[Any, ...]] = run(cls, sql, [first, last, limit]).fetchall()
        return found

    @classmethod
    def numbers(cls, first: int, last: int, limit: int) -> list[int]:
        """Ids of events from one id to another."""
        sql = "SELECT id FROM audit_event WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?"
        return [row[0] for row in run(cls, sql, [first, last, limit]).fetchall()]

    @classmethod
    def range_of(cls, above: int, up_to: int) -> tuple[int, int]:
        """How many events have an id above one number and up to another, and the smallest id of them."""
        sql = "SELECT COUNT(*), MIN(id) FROM audit_event WHERE id > ? AND id <= ?"
        count, first = run(cls, sql, [above, up_to]).fetchone()
        return int(count), first or 0

    @classmethod
    def first_between(cls, start: int, end: int) -> int | None:
        """The smallest id of an event of these moments."""
        sql = "SELECT MIN(id) FROM audit_event WHERE timestamp >= ? AND timestamp <= ?"
        found: int | None = run(cls, sql, [start, end]).fetchone()[0]
        return found

    @classmethod
    def last_before(cls, moment: int, up_to: int) -> int | None:
        """The largest id, up to one, of an event before that moment."""
        column = (
            "+timestamp" if on_sqlite(cls) else "timestamp"
        )  # by id, where the next one nearly always is it
        sql = f"SELECT id FROM audit_event WHERE id <= ? AND {column} < ? ORDER BY id DESC LIMIT 1"
        row = run(cls, sql, [up_to, moment]).fetchone()
        return row[0] if row else None

    @classmethod
    def end_of(cls, above: int, up_to: int, limit: int) -> int | None:
        """The id of the last of so many events above one id and up to another; None without any."""
        sql = (
            "SELECT MAX(id) FROM (SELECT id FROM audit_event WHERE id > ? AND id <= ? ORDER BY id LIMIT ?) "
            "AS batch"
        )
        found: int | None = run(cls, sql, [above, up_to, limit]).fetchone()[0]
        return found

    @classmethod
    def repairs(cls, action: str) -> list[tuple[int, str]]:
        """Ids and metadata of the events of an action, by id, whatever stands there."""
        sql = f"SELECT id, {_raw(cls, 'metadata')} FROM audit_event WHERE action = ? ORDER BY id"
        return [(number, _text(found)) for number, found in run(cls, sql, [action]).fetchall()]

    @classmethod
    def run_from(cls, number: int) -> int:
        """The last id of the rows that follow a number, none of them more than the room from the next."""
        sql = "SELECT MAX(id) FROM audit_event WHERE id > ? AND id <= ?"
        while (found := run(cls, sql, [number, number + ROOM]).fetchone()[0]) is not None:
            number = found
        return number

    @classmethod
    def hash_at(cls, event: int) -> str | None:
        """The hash of one event."""
        row = run(cls, f"SELECT {_raw(cls, 'hash')} FROM audit_event WHERE id = ?", [event]).fetchone()
        return _text(row[0]) if row else None

    @classmethod
    def delete_to(cls, last: int) -> int:
        """Delete the events up to an id; how many went."""
        return int(run(cls, "DELETE FROM audit_event WHERE id <= ?", [last]).rowcount)

    @classmethod
    def counts_by(cls, column: str) -> dict[str, int]:
        """How many events there are of each value of a column that leads an index; most first."""
        sql = f"SELECT {column}, COUNT(*) FROM audit_event GROUP BY {column}"
        found = dict(run(cls, sql).fetchall())
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @classmethod
    def busiest(cls, limit: int) -> list[tuple[str, int, int]]:
        """Actor ids with their number of events and the latest moment; most first."""
        sql = (
            "SELECT actor_id, COUNT(*), MAX(timestamp) FROM audit_event GROUP BY actor_id "
            "ORDER BY 2 DESC, 1 LIMIT ?"
        )
        return list(run(cls, sql, [limit]).fetchall())

    @classmethod
    def latest_name(cls, actor_id: str) -> tuple[str, str]:
        """Type and name of an actor as the latest event has them."""
        sql = (
            "SELECT actor_type, actor_name FROM audit_event WHERE actor_id = ? "
            "ORDER BY timestamp DESC, id DESC LIMIT 1"
        )
        kind, name = run(cls, sql, [actor_id]).fetchone() or ("", "")
        return kind, name

    @classmethod
    def days_since(cls, moment: int) -> dict[int, int]:
        """Events of each day, by its number since the epoch."""
        day = 86_400_000_000
        sql = f"SELECT timestamp / {day}, COUNT(*) FROM audit_event WHERE timestamp >= ? GROUP BY 1"
        return {int(number): count for number, count in run(cls, sql, [moment]).fetchall()}


_READ_HEAD: Final = (
    "SELECT last_id, last_hash, events, signature, "
    f"(SELECT MAX(e.id) FROM audit_event e WHERE e.id > h.last_id AND e.id <= {ROOM} + "
    f"CASE WHEN h.last_id < {MAX_ID} THEN h.last_id ELSE 0 END) FROM audit_head h WHERE h.id = 1"
)


class Head(Model):
    """The one row that tells where the chain ends."""

    id = AutoField()
    last_id = BigIntegerField()
    last_hash = CharField(max_length=64)
    events = BigIntegerField()
    signature = TextField()

    class Meta:
        """Where it is kept."""

        table_name = "audit_head"

    @classmethod
    def read(cls, *, lock: bool = False) -> "End | None":
        """Where the chain ends.

        With ``lock`` nobody else goes on with the chain before the transaction ends: on PostgreSQL
        by the row's lock, on SQLite because every transaction is ``BEGIN IMMEDIATE``.
        """
        suffix = " FOR UPDATE OF h" if lock and not on_sqlite(cls) else ""
        try:
            row = run(cls, f"{_READ_HEAD}{suffix}").fetchone()
        except Exception as exc:
            if "decode" not in str(exc):
                raise
            row = (-1, "", 0, "")  # somebody wrote what is no text
        return End._make((*row, None)[:5]) if row else None

    @classmethod
    def place(cls) -> None:
        """Make the row where there is none; it tells nothing yet."""
        sql = (
            "INSERT INTO audit_head (id, last_id, last_hash, events, signature) "
            "VALUES (1, -1, '', 0, '') ON CONFLICT (id) DO NOTHING"
        )
        run(cls, sql)

    @classmethod
    def put(cls, end: End) -> None:
        """Say where the chain ends now."""
        sql = "UPDATE audit_head SET last_id = ?, last_hash = ?, events = ?, signature = ? WHERE id = 1"
        run(cls, sql, end[:4])

    @classmethod
    def removed(cls, number: int) -> None:
        """Say that events at the beginning went."""
        run(cls, "UPDATE audit_head SET events = events - ? WHERE id = 1", [number])


class Checkpoint(Model):
    """Where the chain begins after a cleanup; ``signature`` is the panel's over the other fields."""

    id = AutoField()
    last_id = BigIntegerField()
    last_hash = CharField(max_length=64)
    deleted = BigIntegerField()
    total = BigIntegerField()
    time = CharField(max_length=32)
    signature = TextField()

    class Meta:
        """Where it is kept."""

        table_name = "audit_checkpoint"

    @classmethod
    def all_rows(cls) -> list[tuple[int, str, int, int, str, str]]:
        """Last id, hash, number deleted, that of all cleanups, time and signature, oldest first."""
        sql = f"SELECT {_MARK} FROM audit_checkpoint ORDER BY last_id, id"
        return list(run(cls, sql).fetchall())

    @classmethod
    def newest(cls) -> tuple[int, int, str]:
        """Last id, number deleted by all, and hash of the latest sound cleanup; zeros without any."""
        sql = (
            f"SELECT last_id, total, {_raw(cls, 'last_hash')} FROM audit_checkpoint WHERE last_id > 0 "
            f"AND last_id <= {REBUILT} AND total >= 0 AND total <= {REBUILT} ORDER BY last_id DESC, id DESC"
        )
        for last, total, found in run(cls, sql).fetchall():
            if type(last) is type(total) is int and is_hash(_text(found)):
                return last, total, _text(found)
        return 0, 0, ZERO

    @classmethod
    def replace_from(cls, first: int, row: tuple[int, str, int, int, str, str]) -> None:
        """Write a checkpoint in place of those from ``first`` on, which are of the same cleanup."""
        run(cls, "DELETE FROM audit_checkpoint WHERE last_id >= ?", [first])
        run(cls, f"INSERT INTO audit_checkpoint ({_MARK}) VALUES (?, ?, ?, ?, ?, ?)", row)


@dataclass(frozen=True, slots=True)
class Begun:
    """A request that was admitted and has not ended; ``host``, ``pid`` and ``started`` name its process."""

    request_id: str
    timestamp: int
    actor_type: str
    actor_id: str
    actor_name: str
    api_key_prefix: str
    action: str
    method: str
    path: str
    resource_type: str
    resource_id: str
    client_ip: str
    host: str = field(kw_only=True)
    pid: int = field(kw_only=True)
    started: str = field(kw_only=True)


_BEGUN: Final = tuple(Begun.__dataclass_fields__)


class OpenRequest(Model):
    """See ``Begun``."""

    request_id = CharField(max_length=64, primary_key=True)
    timestamp = BigIntegerField()
    actor_type = CharField(max_length=32)
    actor_id = CharField(max_length=100)
    actor_name = CharField(max_length=100)
    api_key_prefix = CharField(max_length=32)
    action = CharField(max_length=100)
    method = CharField(max_length=16)
    path = TextField()
    resource_type = CharField(max_length=100)
    resource_id = CharField(max_length=255)
    client_ip = CharField(max_length=64)
    host = CharField(max_length=255)
    pid = BigIntegerField()
    started = CharField(max_length=64)

    class Meta:
        """Where it is kept."""

        table_name = "audit_open_request"

    @classmethod
    def add(cls, begun: Begun) -> None:
        """Write that a request begins."""
        marks = ", ".join("?" * len(_BEGUN))
        sql = f"INSERT INTO audit_open_request ({', '.join(_BEGUN)}) VALUES ({marks})"
        run(cls, sql, [getattr(begun, name) for name in _BEGUN])

    @classmethod
    def remove(cls, request_id: str) -> bool:
        """Take a request out; whether it was there."""
        return bool(run(cls, "DELETE FROM audit_open_request WHERE request_id = ?", [request_id]).rowcount)

    @classmethod
    def oldest(cls, limit: int, offset: int = 0) -> list[Begun]:
        """The oldest requests that have not ended."""
        sql = (
            f"SELECT {', '.join(_BEGUN)} FROM audit_open_request "
            "ORDER BY timestamp, request_id LIMIT ? OFFSET ?"
        )
        rows = run(cls, sql, [limit, offset]).fetchall()
        return [Begun(**dict(zip(_BEGUN, row, strict=True))) for row in rows]


ALL: Final = (Event, Head, Checkpoint, OpenRequest)
