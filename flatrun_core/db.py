"""The panel's one database: how it is opened, bound, migrated, and used one session at a time."""

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peewee import DateTimeField, Field, Model, PeeweeException
from playhouse.migrations import Runner  # type: ignore[import-untyped]

from flatrun_core.errors import FlatrunError, StartupError, Unavailable
from flatrun_core.ports.storage import StorageBackend

log = logging.getLogger(__name__)


class UtcDateTimeField(DateTimeField):
    """A moment: aware in Python, UTC without a zone in the table, alike in every database."""

    def db_value(self, value: datetime | None) -> datetime | None:
        """To the table; a naive value is a mistake and raises ``ValueError``."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{self.name} needs a datetime with a time zone")
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def python_value(self, value: Any) -> datetime | None:
        """From the table."""
        moment = super().python_value(value)
        return None if moment is None else moment.replace(tzinfo=UTC)


class JsonField(Field):
    """JSON as ASCII text, so that no database objects to a character in it."""

    field_type = "TEXT"

    def db_value(self, value: Any) -> str | None:
        """To the table; what is no JSON raises ``TypeError`` or ``ValueError``."""
        return None if value is None else json.dumps(value, allow_nan=False, separators=(",", ":"))

    def python_value(self, value: str | None) -> Any:
        """From the table."""
        return None if value is None else json.loads(value)


def now() -> datetime:
    """The current time, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class MigrationSet:
    """The numbered scripts of one plugin (or ``core``), and the models they end at."""

    slug: str
    directory: Path
    models: tuple[type[Model], ...] = ()


class _Depth(threading.local):
    value = 0


class PanelDatabase:
    """One open URL: sessions for requests, jobs and commands, and the migrations.

    Models are classes of the process, so binding makes this the process's one live database.
    """

    def __init__(self, url: str, backend: StorageBackend) -> None:
        self._url = url
        self._backend = backend
        self._depth = _Depth()
        self.peewee: Any = backend.open(url)

    # --- sessions -------------------------------------------------------------------------------

    @contextmanager
    def session(self) -> Iterator[None]:
        """What a request, a job or a command does its queries in; re-entrant for its thread.

        At most one connection a thread, opened at the first query, given back at the end. What the
        caller left open of a transaction is rolled back. A database that cannot serve raises
        ``Unavailable`` ``DATABASE_UNAVAILABLE``.
        """
        self._depth.value += 1
        try:
            with self.translated():
                self._begin()
                yield
        finally:
            self._depth.value -= 1
            if not self._depth.value:
                self._end()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn errors of the database itself, not those of a query, into ``Unavailable``."""
        try:
            yield
        except FlatrunError:
            raise
        except Exception as exc:
            failure = self.unavailable(exc)
            if failure is None:
                raise
            raise failure from exc

    def unavailable(self, error: BaseException) -> Unavailable | None:
        """The answer for an error of the database itself; None for every other error.

        For the application's error handler; the driver's own text goes to the log only.
        """
        reason = self._backend.unavailable(error)
        if reason is None:
            return None
        log.warning("the database cannot be used (%s): %s", reason, error)
        return Unavailable(f"The database is not available: {reason}", code="DATABASE_UNAVAILABLE")

    def _begin(self) -> None:
        lazy = getattr(self.peewee, "session", None)
        if lazy is not None:
            lazy.active = True
        elif self._depth.value == 1:
            self.peewee.connect(reuse_if_open=True)

    def _end(self) -> None:
        lazy = getattr(self.peewee, "session", None)
        if lazy is not None:
            lazy.active = False
        if self.peewee.is_closed():
            return
        try:
            while self.peewee.in_transaction():
                log.error("a transaction was left open and is rolled back")
                self.peewee.session_rollback()
            self.peewee.close()
        except PeeweeException:
            log.warning("a connection could not be given back", exc_info=True)
            self.peewee.dispose()

    def close(self) -> None:
        """Close every connection there is, used or idle."""
        (getattr(self.peewee, "close_all", None) or self.peewee.close)()

    # --- models and migrations ------------------------------------------------------------------

    def bind(self, models: Iterable[type[Model]]) -> None:
        """Make this the database of the models."""
        self.peewee.bind(list(models), bind_refs=False, bind_backrefs=False)

    def is_empty(self) -> bool:
        """Whether no table exists yet."""
        with self.session():
            return self._backend.is_empty(self.peewee)

    def pending(self, sets: Sequence[MigrationSet]) -> list[str]:
        """Scripts not yet applied, as ``slug/0001_name``, in the order they would be."""
        if self.is_empty():
            return [f"{one.slug}/{script}" for one in sets for script in _scripts(one)]
        with self.session():
            return [
                f"{one.slug}/{script}"
                for one in sets
                for script in _scripts(one)
                if script not in self._applied(one)
            ]

    def unknown_applied(self, sets: Sequence[MigrationSet]) -> list[str]:
        """Scripts in the history that this program does not have: the database is newer than it."""
        if self.is_empty():
            return []
        with self.session():
            return [
                f"{one.slug}/{script}" for one in sets for script in sorted(self._applied(one) - _scripts(one).keys())
            ]

    def backup(self, name: str = "") -> Path | None:
        """A copy of the database in ``backups`` beside it; None where the server keeps its own."""
        target = Path("backups") / (name or f"before-migration-{now():%Y%m%dT%H%M%S%fZ}.db")
        with self.translated():
            return self._backend.backup(self._url, target)

    def prepare(self, sets: Sequence[MigrationSet], *, migrate: bool = False) -> list[str]:
        """What a start does: an empty database is made, an older one only migrated when told.

        Returns what was applied. Raises ``StartupError`` for pending scripts without ``migrate``,
        for a database newer than the program, and for one that cannot be used.
        """
        return self._exclusively(sets, lambda empty: empty or migrate)

    def migrate(self, sets: Sequence[MigrationSet]) -> list[str]:
        """Apply what is pending, after a copy, one process at a time; returns what was applied.

        Each script is one transaction with its line in the history. A failing one raises
        ``StartupError`` with its name; those before it stay applied.
        """
        return self._exclusively(sets, lambda empty: True)

    def _exclusively(self, sets: Sequence[MigrationSet], allowed: Callable[[bool], bool]) -> list[str]:
        try:
            with self.session(), self._backend.migration_lock(self.peewee):
                return self._migrate(sets, allowed)
        except (Unavailable, OSError) as exc:
            raise StartupError(f"{exc} ({exc.__cause__ or type(exc).__name__})") from exc

    def _migrate(self, sets: Sequence[MigrationSet], allowed: Callable[[bool], bool]) -> list[str]:
        newer = self.unknown_applied(sets)
        if newer:
            raise StartupError(
                f"the database was made by a newer version of the program (it has {', '.join(newer)}); "
                "install that version, or go back to a copy of the database from before"
            )
        pending = self.pending(sets)
        empty = self.is_empty()
        if pending and not allowed(empty):
            raise StartupError(
                f"the database is older than the program; run 'flatrun migrate' (pending: {', '.join(pending)})"
            )
        if pending and not empty:
            log.info("the database was copied to %s", self.backup())
        done: list[str] = []
        for one in sets:
            done += self._migrate_set(one)
        return done

    def _migrate_set(self, one: MigrationSet) -> list[str]:
        runner = self._runner(one)
        done = []
        for script in [s for s in _scripts(one) if s not in self._applied(one)]:
            try:
                runner.up(target=script)
            except Exception as exc:
                reason = self._backend.unavailable(exc) or exc
                raise StartupError(f"the migration {one.slug}/{script} failed: {reason}") from exc
            log.info("applied the migration %s/%s", one.slug, script)
            done.append(f"{one.slug}/{script}")
        return done

    def _runner(self, one: MigrationSet) -> Any:
        return Runner(self.peewee, str(one.directory), table_name=f"{one.slug}_schema_migration")

    def _applied(self, one: MigrationSet) -> set[str]:
        return set(self._runner(one).applied())


def _scripts(one: MigrationSet) -> dict[str, Path]:
    """The set's scripts by name, in order; a folder that is not there has none."""
    return {path.stem: path for path in sorted(one.directory.glob("[0-9]*.py"))}


def open_database(url: str, backends: Sequence[StorageBackend]) -> PanelDatabase:
    """The database a URL names, not yet connected.

    Raises ``StartupError`` for a scheme nobody serves, or a URL its backend cannot use.
    """
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    for backend in backends:
        if scheme in backend.schemes:
            return PanelDatabase(url, backend)
    known = ", ".join(sorted(name for backend in backends for name in backend.schemes))
    raise StartupError(f"no storage backend serves the database URL's scheme '{scheme}'; there are {known}")
