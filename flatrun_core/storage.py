"""The two storage backends of the core: a file of SQLite, and PostgreSQL by URL."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from peewee import PeeweeException
from playhouse.pool import MaxConnectionsExceeded, PooledSqliteDatabase  # type: ignore[import-untyped]
from playhouse.postgres_ext import PooledPsycopg3Database  # type: ignore[import-untyped]

from flatrun_core.errors import StartupError, Unavailable
from flatrun_core.locks import FileLock
from flatrun_core.ports.storage import StorageBackend

MIGRATION_WAIT = 60.0  # seconds
CONNECT_TIMEOUT = 5  # seconds
POOL_SIZE = 20

PRAGMAS = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "synchronous": "normal"}

# SQLite's primary result codes that say something of the disk or of another process, not of the query.
SQLITE_REASONS = {
    sqlite3.SQLITE_BUSY: "another write takes too long",
    sqlite3.SQLITE_LOCKED: "another write takes too long",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_PERM: "its file cannot be opened",
    sqlite3.SQLITE_NOTADB: "its file is no SQLite database",
}


class _InSession(threading.local):
    active = False


class ConnectsInSession:
    """Mixin before a peewee database: connect at a session's first query, refuse queries outside of one.

    So a request that needs no row costs no connection, and one forgotten open is impossible.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.session = _InSession()
        super().__init__(*args, **kwargs)

    @property
    def autoconnect(self) -> bool:
        """What peewee asks before it connects by itself."""
        return self.session.active

    @autoconnect.setter
    def autoconnect(self, value: bool) -> None:
        """Only a session decides."""


class _Sqlite(ConnectsInSession, PooledSqliteDatabase):  # type: ignore[misc]
    def _connect(self) -> Any:
        try:
            path = Path(self.database)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):  # SQLite itself would make it readable by everybody
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as exc:
            raise Unavailable(_sentence(_why(exc)), code="DATABASE_UNAVAILABLE") from exc
        return super()._connect()


class SqliteStorage(StorageBackend):
    """One file, ``sqlite:////absolute/path.db``; WAL, foreign keys on, writes that wait for one another."""

    name = "sqlite"
    schemes = ("sqlite",)

    def open(self, url: str) -> Any:
        """See the port."""
        # IMMEDIATE, because a transaction that reads before it writes is refused at once, without
        # the busy timeout, when another process wrote in between.
        return _Sqlite(
            str(sqlite_path(url)),
            pragmas=PRAGMAS,
            timeout=5,
            lock_type="IMMEDIATE",
            max_connections=0,
            check_same_thread=False,
        )

    def backup(self, url: str, target: Path) -> Path | None:
        """See the port; by SQLite's online backup, so readers and writers may go on."""
        source = sqlite_path(url)
        copy = source.parent / target
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = copy.with_name(copy.name + ".part")
        try:
            os.close(os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600))
            with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(unfinished)) as new:
                old.backup(new)
                new.execute("PRAGMA journal_mode = delete")
            unfinished.replace(copy)
        finally:
            unfinished.unlink(missing_ok=True)
        return copy

    def is_empty(self, database: Any) -> bool:
        """See the port; a file that is not there is not made."""
        path = Path(database.database)
        return not path.exists() or path.stat().st_size == 0 or not database.get_tables()

    @contextmanager
    def migration_lock(self, database: Any) -> Iterator[None]:
        """See the port; a lock file beside the database."""
        path = Path(database.database)
        lock = FileLock(path.with_name(path.name + ".lock"))
        try:
            _wait_for(lock.acquire)
            yield
        finally:
            lock.release()

    def unavailable(self, error: BaseException) -> str | None:
        """See the port."""
        driver = _driver_error(error)
        if isinstance(driver, OSError):
            return _why(driver)
        if not isinstance(driver, sqlite3.Error):
            return None
        return SQLITE_REASONS.get(getattr(driver, "sqlite_errorcode", 0) & 0xFF)


class _Postgres(ConnectsInSession, PooledPsycopg3Database):  # type: ignore[misc]
    _failed: tuple[float, BaseException] | None = None

    def _connect(self) -> Any:
        # peewee connects one thread at a time. When the server does not answer, those that queued
        # up meanwhile share the one answer, or the last of them would wait for all.
        if self._failed and time.monotonic() - self._failed[0] < 1:
            raise self._failed[1]
        try:
            return super()._connect()
        except MaxConnectionsExceeded:
            raise
        except Exception as exc:
            self._failed = (time.monotonic(), exc)
            raise


class PostgresStorage(StorageBackend):
    """A PostgreSQL server, ``postgresql://user:password@host:port/database``; psycopg 3, pooled."""

    name = "postgresql"
    schemes = ("postgresql", "postgres")

    def open(self, url: str) -> Any:
        """See the port. The URL is taken apart here, so that no object keeps or shows it."""
        try:
            import psycopg.conninfo
        except ImportError as exc:
            raise StartupError("PostgreSQL needs psycopg: pip install 'psycopg[binary]'") from exc
        try:
            parts: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            # The driver's own text quotes the URL, and with it the password.
            raise StartupError("the database URL is no valid PostgreSQL URL") from None
        if not parts.get("dbname"):
            raise StartupError("the database URL names no database: postgresql://user@host/DATABASE")
        parts.setdefault("connect_timeout", CONNECT_TIMEOUT)
        parts.setdefault("application_name", "flatrun")
        return _Postgres(parts.pop("dbname"), max_connections=POOL_SIZE, timeout=CONNECT_TIMEOUT, **parts)

    def backup(self, url: str, target: Path) -> Path | None:
        """None: a server is backed up by its own means."""
        return None

    def is_empty(self, database: Any) -> bool:
        """See the port; looks at the schema that new tables would go to."""
        return not database.get_tables()

    @contextmanager
    def migration_lock(self, database: Any) -> Iterator[None]:
        """See the port; an advisory lock, which the server drops with the connection."""

        def take() -> bool:
            return bool(database.execute_sql("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_LOCK,)).fetchone()[0])

        _wait_for(take)
        try:
            yield
        finally:
            with suppress(PeeweeException):  # gone with the connection, when that is gone
                database.execute_sql("SELECT pg_advisory_unlock(%s)", (_ADVISORY_LOCK,))

    def unavailable(self, error: BaseException) -> str | None:
        """See the port."""
        if isinstance(error, MaxConnectionsExceeded):
            return "all its connections are in use"
        driver = _driver_error(error)
        module = type(driver).__module__.partition(".")[0]
        if module != "psycopg":
            return None
        return _postgres_reason(getattr(driver, "sqlstate", None), type(driver).__name__)


_ADVISORY_LOCK = 0x666C617472756E  # "flatrun"


def _postgres_reason(state: str | None, kind: str) -> str | None:
    if state is None:
        # Errors of the connection itself carry no state; errors of a query always do.
        return "the server cannot be reached" if kind in ("OperationalError", "ConnectionTimeout") else None
    if state == "25006":
        return "it is read-only"
    if state == "53100":
        return "the disk is full"
    return "the server cannot serve now" if state[:3] in ("57P",) or state[:2] in ("08", "53", "58") else None


def sqlite_path(url: str) -> Path:
    """The file of a ``sqlite:`` URL, always absolute, so that it never depends on where one stands."""
    parts = urlsplit(url)
    path = "/" + unquote(parts.path).lstrip("/")
    if parts.netloc or parts.query or parts.fragment or path == "/" or "\0" in path or ":memory:" in path:
        raise StartupError("the database URL is not sqlite:////absolute/path/to/file.db")
    return Path(path)


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return "sqlite:///" + quote(str(path.absolute()))


def _driver_error(error: BaseException) -> BaseException:
    """What the driver raised: peewee keeps it as the first argument of its own exception."""
    if isinstance(error, PeeweeException) and error.args and isinstance(error.args[0], BaseException):
        return error.args[0]
    return error


def _why(error: OSError) -> str:
    return f"its file cannot be opened: {error.strerror or 'unknown error'}"


def _sentence(reason: str) -> str:
    return f"The database is not available: {reason}"


def _wait_for(take: Callable[[], bool]) -> None:
    until = time.monotonic() + MIGRATION_WAIT
    while not take():
        if time.monotonic() > until:
            raise StartupError("another process is migrating the database; try again when it is done")
        time.sleep(0.1)
