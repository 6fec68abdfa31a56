"""The two storage backends of the core: a file of SQLite, and PostgreSQL by URL."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from peewee import PeeweeException, SqliteDatabase
from playhouse.pool import MaxConnectionsExceeded, PooledSqliteDatabase
from playhouse.postgres_ext import PooledPsycopg3Database

from flatrun_core.disk import give_to_owner_of
from flatrun_core.errors import StartupError, Unavailable
from flatrun_core.locks import FileLock
from flatrun_core.ports.storage import StorageBackend

MIGRATION_WAIT: Final = 60.0  # seconds
CONNECT_TIMEOUT: Final = 5  # seconds
POOL_SIZE: Final = 20
PRAGMAS: Final = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 5000, "synchronous": "normal"}
ADVISORY_LOCK: Final = 0x666C617472756E

# The primary result codes that speak of the disk or of another process, not of the query.
_SQLITE_REASONS: Final = {
    sqlite3.SQLITE_BUSY: "another write takes too long",
    sqlite3.SQLITE_LOCKED: "another write takes too long",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_NOTADB: "its file is no SQLite database",
}


class _InSession(threading.local):
    active = False


class ConnectsInSession:
    """Mixin before a peewee database: connect at a session's first query, refuse queries outside of one.

    So a request that needs no row costs no connection, and none is forgotten open.
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


class _OwnFile(SqliteDatabase):
    """Makes the file before SQLite would; beneath the pool, so for new connections only."""

    def _connect(self) -> Any:
        path = Path(self.database)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):  # made here, because SQLite makes it as the umask says
                _make(path)
        except OSError as exc:
            reason = f"The database is not available: its file cannot be made ({exc.strerror})"
            raise Unavailable(reason, code="DATABASE_UNAVAILABLE") from exc
        return super()._connect()  # type: ignore[misc]


class _Sqlite(ConnectsInSession, PooledSqliteDatabase, _OwnFile):  # type: ignore[misc]
    def rollback(self) -> None:
        """Nothing to do where SQLite has done it: a full disk ends the whole transaction."""
        if self.connection().in_transaction:  # type: ignore[no-untyped-call]
            super().rollback()


class SqliteStorage(StorageBackend):
    """One file, ``sqlite:////absolute/path.db``: WAL, foreign keys on, writers wait for one another."""

    name = "sqlite"
    schemes = ("sqlite",)

    def open(self, url: str) -> Any:
        """See the port."""
        # IMMEDIATE, because a transaction that reads before it writes is refused at once, without
        # the busy timeout, when somebody else wrote in between.
        options = {"lock_type": "IMMEDIATE", "max_connections": 0, "check_same_thread": False}
        return _Sqlite(str(sqlite_path(url)), pragmas=PRAGMAS, **options)

    def backup(self, url: str, target: Path) -> Path | None:
        """See the port; by SQLite's online backup, so that readers and writers go on."""
        source = sqlite_path(url)
        copy = source.parent / target
        _make_folder(copy.parent)
        unfinished = copy.with_name(copy.name + ".part")
        try:
            _make(unfinished)
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
        return not path.exists() or not path.stat().st_size or not database.get_tables()

    @contextmanager
    def migration_lock(self, database: Any) -> Iterator[None]:
        """See the port; a lock file beside the database."""
        lock = FileLock(Path(database.database + ".lock"))
        _wait_for(lock.acquire)
        try:
            yield
        finally:
            lock.release()

    def unavailable(self, error: BaseException) -> str | None:
        """See the port."""
        codes = [getattr(cause, "sqlite_errorcode", 0) & 0xFF for cause in _from_driver(error, "sqlite3")]
        return next((_SQLITE_REASONS[code] for code in codes if code in _SQLITE_REASONS), None)


class _Postgres(ConnectsInSession, PooledPsycopg3Database):  # type: ignore[misc]
    _failure: tuple[float, Exception] | None = None

    def _connect(self) -> Any:
        # peewee connects one thread at a time. When the server does not answer, those that queued
        # up meanwhile share one answer, or the last of them would wait for all.
        if self._failure and time.monotonic() - self._failure[0] < 1:
            raise self._failure[1]
        try:
            return super()._connect()
        except MaxConnectionsExceeded:
            raise
        except Exception as exc:
            self._failure = (time.monotonic(), exc)
            raise


class PostgresStorage(StorageBackend):
    """A PostgreSQL server, ``postgresql://user:password@host:port/database``; psycopg 3, pooled."""

    name = "postgresql"
    schemes = ("postgresql", "postgres")

    def open(self, url: str) -> Any:
        """See the port. The URL is taken apart here, so that nothing keeps or shows it."""
        try:
            from psycopg import Error, conninfo  # noqa: PLC0415 - an extra, not everybody has it
        except ImportError as exc:
            raise StartupError("PostgreSQL needs psycopg: pip install 'psycopg[binary]'") from exc
        try:
            parts: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "application_name": "flatrun"}
            parts |= conninfo.conninfo_to_dict(url)
        except Error:
            # The driver's own text quotes the URL, and with it the password.
            raise StartupError("the database URL is no valid PostgreSQL URL") from None
        if not parts.get("dbname"):
            raise StartupError("the database URL names no database: postgresql://user@host/DATABASE")
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

        def call(function: str) -> bool:
            return bool(database.execute_sql(f"SELECT {function}(%s)", (ADVISORY_LOCK,)).fetchone()[0])

        _wait_for(lambda: call("pg_try_advisory_lock"))
        try:
            yield
        finally:
            with suppress(PeeweeException):  # went with the connection, when that is gone
                call("pg_advisory_unlock")

    def unavailable(self, error: BaseException) -> str | None:
        """See the port."""
        if isinstance(error, MaxConnectionsExceeded):
            return "all its connections are in use"
        return next(filter(None, map(_postgres_reason, _from_driver(error, "psycopg"))), None)


def _postgres_reason(error: BaseException) -> str | None:
    state: str | None = getattr(error, "sqlstate", None)
    if state is None:  # errors of the connection have none, errors of a query always do
        lost = any(kind.__name__ == "OperationalError" for kind in type(error).__mro__)
        return "the server cannot be reached" if lost else None
    known = {"25006": "it is read-only", "53100": "the disk is full"}
    return known.get(
        state, "the server cannot serve now" if state.startswith(("08", "53", "57P", "58")) else None
    )


def _make(path: Path) -> None:
    """An empty file for nobody else's eyes; ``FileExistsError``."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        give_to_owner_of(path.parent, handle)
    finally:
        os.close(handle)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        give_to_owner_of(path.parent, handle)
    finally:
        os.close(handle)


def sqlite_path(url: str) -> Path:
    """The file of a ``sqlite:`` URL; always absolute, so that it never depends on where one stands."""
    parts = urlsplit(url)
    path = unquote(parts.path).lstrip("/")
    if parts.netloc or parts.query or parts.fragment or not path or "\0" in path or path.startswith(":"):
        raise StartupError("the database URL is not of the form sqlite:////absolute/path/to/file.db")
    return Path("/", path)


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return "sqlite:///" + quote(str(path.absolute()))


def _from_driver(error: BaseException, driver: str) -> Iterator[BaseException]:
    """What the driver raised, latest first: peewee wraps it, and a rollback that fails hides its cause."""
    cause: BaseException | None = (
        error if isinstance(error, PeeweeException) or _is_of(error, driver) else None
    )
    while cause is not None:
        if _is_of(cause, driver):
            yield cause
        cause = cause.__context__


def _is_of(error: BaseException, driver: str) -> bool:
    return any(kind.__module__.startswith(driver) for kind in type(error).__mro__)


def _wait_for(take: Callable[[], bool]) -> None:
    until = time.monotonic() + MIGRATION_WAIT
    while not take():
        if time.monotonic() > until:
            raise StartupError("another process is migrating the database; try again when it is done")
        time.sleep(0.1)
