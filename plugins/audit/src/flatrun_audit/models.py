"""The tables of the audit, and every query on them.

Plain SQL where it is written for each request or read by the million: half a millisecond of query
building would be a quarter of what a record may cost.
"""

# ruff: noqa: S608 - the statements are put together from constants of this module; values are bound

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

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

from flatrun_audit.canonical import Entry

_COLUMNS: Final = ", ".join(Entry._fields)

LEADS: Final = ("resource_id", "client_ip", "actor_id", "action", "resource_type", "actor_type")
"""Filters with an index of their own, those that leave the fewest events first."""


def run(model: type[Model], sql: str, values: Sequence[Any] = ()) -> Any:
    """Run a statement written with ``?`` on the model's database; its cursor."""
    database: Any = model._meta.database
    return database.execute_sql(sql if database.param == "?" else sql.replace("?", database.param), values)


def on_sqlite(model: type[Model]) -> bool:
    """Whether the model's database is SQLite's."""
    return isinstance(model._meta.database, SqliteDatabase)


@dataclass(frozen=True, slots=True)
class Filters:
    """What events to find; None and the empty text mean any. Times are microseconds, inclusive."""

    actor_id: str = ""
    actor_type: str = ""
    action: str = ""
    resource_type: str = ""
    resource_id: str = ""
    client_ip: str = ""
    success: bool | None = None
    start: int | None = None
    end: int | None = None
    last_id: int | None = None

    def where(self, *, sqlite: bool) -> tuple[str, list[Any]]:
        """The condition and its values.

        One index is enough for each question; SQLite, which keeps no statistics here, is led to the
        one that leaves the fewest events by a ``+`` before the other columns.
        """
        given = [name for name in LEADS if getattr(self, name)]
        other = "+" if sqlite else ""
        terms = [f"{'' if name is given[0] else other}{name} = ?" for name in given]
        values: list[Any] = [getattr(self, name) for name in given]
        start = 0 if self.start is None and self.success is False and not given else self.start
        for term, value in (
            ("timestamp >= ?", start),
            ("timestamp <= ?", self.end),
            ("id <= ?", self.last_id),
        ):
            if value is not None:
                terms.append((other if term.startswith("id") else "") + term)
                values.append(value)
        if self.success is not None:
            terms.append("success = TRUE" if self.success else "success = FALSE")
        return " AND ".join(terms) or "1 = 1", values


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
    def from_id(cls, first: int, last: int, limit: int) -> list[Entry]:
        """Events from one id to another, by id."""
        sql = f"SELECT {_COLUMNS} FROM audit_event WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?"
        return [Entry._make(row) for row in run(cls, sql, [first, last, limit]).fetchall()]

    @classmethod
    def numbers(cls, first: int, last: int, limit: int) -> list[int]:
        """Ids of events from one id to another."""
        sql = "SELECT id FROM audit_event WHERE id >= ? AND id <= ? ORDER BY id LIMIT ?"
        return [row[0] for row in run(cls, sql, [first, last, limit]).fetchall()]

    @classmethod
    def first_since(cls, moment: int) -> int | None:
        """The smallest id of an event of that moment or later."""
        sql = "SELECT MIN(id) FROM audit_event WHERE timestamp >= ?"
        found: int | None = run(cls, sql, [moment]).fetchone()[0]
        return found

    @classmethod
    def first_id(cls) -> int | None:
        """The smallest id there is."""
        found: int | None = run(cls, "SELECT MIN(id) FROM audit_event").fetchone()[0]
        return found

    @classmethod
    def hash_at(cls, event: int) -> str | None:
        """The hash of one event."""
        row = run(cls, "SELECT hash FROM audit_event WHERE id = ?", [event]).fetchone()
        return row[0] if row else None

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


class End(NamedTuple):
    """The last id and its hash, how many events there are, and the panel's signature over the first two."""

    last_id: int
    last_hash: str
    events: int
    signature: str


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
        suffix = " FOR UPDATE" if lock and not on_sqlite(cls) else ""
        sql = f"SELECT last_id, last_hash, events, signature FROM audit_head WHERE id = 1{suffix}"
        row = run(cls, sql).fetchone()
        return End._make(row) if row else None

    @classmethod
    def move(cls, last: int, last_hash: str, added: int, signature: str) -> None:
        """Say where the chain ends now."""
        sql = (
            "UPDATE audit_head SET last_id = ?, last_hash = ?, events = events + ?, signature = ? "
            "WHERE id = 1"
        )
        run(cls, sql, [last, last_hash, added, signature])

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
    time = CharField(max_length=32)
    signature = TextField()

    class Meta:
        """Where it is kept."""

        table_name = "audit_checkpoint"

    @classmethod
    def all_rows(cls) -> list[tuple[int, str, int, str, str]]:
        """Last id, hash, number deleted, time and signature, oldest first."""
        sql = "SELECT last_id, last_hash, deleted, time, signature FROM audit_checkpoint ORDER BY last_id, id"
        return list(run(cls, sql).fetchall())

    @classmethod
    def replace_from(cls, first: int, row: tuple[int, str, int, str, str]) -> None:
        """Write a checkpoint in place of those from ``first`` on, which are of the same cleanup."""
        run(cls, "DELETE FROM audit_checkpoint WHERE last_id >= ?", [first])
        sql = (
            "INSERT INTO audit_checkpoint (last_id, last_hash, deleted, time, signature) "
            "VALUES (?, ?, ?, ?, ?)"
        )
        run(cls, sql, row)


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
