"""The panel's one database: how it is opened, bound, migrated, and used one session at a time."""

import json
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peewee import DateTimeField, Field, Model, PeeweeException
from playhouse.migrations import Runner

from flatrun_core.errors import FlatrunError, StartupError, Unavailable
from flatrun_core.ports.storage import StorageBackend

log = logging.getLogger(__name__)


class UtcDateTimeField(DateTimeField):
    """A moment: with its zone in Python, UTC without one in the table, alike in every database."""

    def db_value(self, value: datetime | None) -> datetime | None:
        """To the table; without a zone it is a mistake and raises ``ValueError``."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{self.name} needs a datetime with a time zone")
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def python_value(self, value: Any) -> datetime | None:
        """From the table."""
        moment: datetime | None = super().python_value(value)  # type: ignore[no-untyped-call]
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

    @property
    def scripts(self) -> list[str]:
        """Their names, in order; a folder that is not there has none."""
        return sorted(path.stem for path in self.directory.glob("[0-9]*.py"))


class _Depth(threading.local):
    value = 0


class PanelDatabase:
    """One open URL: sessions for requests, jobs and commands, and the migrations.

    Models are classes of the process, so binding them makes this the process's one live database.
    """

    def __init__(self, url: str, backend: StorageBackend) -> None:
        self._url = url
        self._backend = backend
        self._depth = _Depth()
        self.peewee: Any = backend.open(url)

    @contextmanager
    def session(self) -> Iterator[None]:
        """What a request, a job or a command does its queries in; re-entrant for its thread.

        At most one connection a thread, opened at the first query and given back at the end; what
        is left open of a transaction is rolled back. A database that cannot serve raises
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
    def atomic(self) -> Iterator[None]:
        """A session with a transaction in it; nested ones are savepoints."""
        with self.session(), self.peewee.atomic():
            yield

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn errors of the database itself, not those of a query, into ``Unavailable``."""
        try:
            yield
        except Exception as exc:
            failure = self.unavailable(exc)
            if failure is None:
                raise
            raise failure from exc

    def unavailable(self, error: BaseException) -> Unavailable | None:
        """The answer to an error of the database itself, None for any other; its own text is only logged."""
        reason = None if isinstance(error, FlatrunError) else self._backend.unavailable(error)
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
        while self.peewee.in_transaction():
            log.error("a transaction was left open and is rolled back")
            with suppress(PeeweeException):  # nothing to roll back when the connection is gone
                self.peewee.session_rollback()
        self.peewee.close()

    def close(self) -> None:
        """Close every connection there is, used or idle."""
        (getattr(self.peewee, "close_all", None) or self.peewee.close)()

    def bind(self, models: Iterable[type[Model]]) -> None:
        """Make this the database of the models."""
        self.peewee.bind(list(models), bind_refs=False, bind_backrefs=False)

    def is_empty(self) -> bool:
        """Whether no table exists yet."""
        with self.session():
            return self._backend.is_empty(self.peewee)

    def pending(self, sets: Sequence[MigrationSet]) -> list[str]:
        """Scripts not yet applied, as ``slug/0001_name``, in the order they would be."""
        with self.session():
            return [f"{one.slug}/{name}" for one in sets for name in self._pending(one)]

    def unknown_applied(self, sets: Sequence[MigrationSet]) -> list[str]:
        """Applied scripts that this program does not have: the database is newer than it."""
        with self.session():
            unknown = {one.slug: self._applied(one).difference(one.scripts) for one in sets}
            return [f"{slug}/{name}" for slug, names in unknown.items() for name in sorted(names)]

    def backup(self) -> Path | None:
        """A copy of the database in ``backups`` beside it; None where the server keeps its own."""
        with self.translated():
            return self._backend.backup(self._url, Path("backups", f"panel-{now():%Y%m%dT%H%M%S%fZ}.db"))

    def migrate(self, sets: Sequence[MigrationSet]) -> list[str]:
        """Apply what is pending, after a copy, one process at a time; returns what was applied.

        Each script is one transaction with its line in the history. A failing one raises
        ``StartupError`` with its name; those before it stay applied.
        """
        return self.prepare(sets, migrate=True)

    def prepare(self, sets: Sequence[MigrationSet], *, migrate: bool = False) -> list[str]:
        """What a start does: an empty database is made, an older one migrated only when told.

        Raises ``StartupError`` for one that is older without ``migrate``, newer than the program,
        or cannot be used.
        """
        try:
            with self.session(), self._backend.migration_lock(self.peewee):
                self._check(sets, migrate)
                return [name for one in sets for name in self._apply(one)]
        except OSError as exc:
            where = f": {exc.filename}" if exc.filename else ""
            reason = f"{exc.strerror or type(exc).__name__}{where}"
            raise StartupError(f"the folder of the database cannot be used: {reason}") from exc
        except Unavailable as exc:
            raise StartupError(f"{exc} ({exc.__cause__ or type(exc).__name__})") from exc

    def _check(self, sets: Sequence[MigrationSet], migrate: bool) -> None:
        newer = self.unknown_applied(sets)
        if newer:
            raise StartupError(
                f"the database was made by a newer version of the program (it has {', '.join(newer)}); "
                "install that version, or go back to a copy of the database from before"
            )
        pending = self.pending(sets)
        if not pending or self.is_empty():
            return
        if not migrate:
            behind = ", ".join(pending)
            raise StartupError(f"the database is older than the program ({behind}); run 'flatrun migrate'")
        log.info("before the migration the database was copied to %s", self.backup())

    def _apply(self, one: MigrationSet) -> Iterator[str]:
        for name in self._pending(one):
            try:
                self._runner(one).up(target=name)
            except Exception as exc:
                reason = self._backend.unavailable(exc) or exc
                raise StartupError(f"the migration {one.slug}/{name} failed: {reason}") from exc
            log.info("applied the migration %s/%s", one.slug, name)
            yield f"{one.slug}/{name}"

    def _pending(self, one: MigrationSet) -> list[str]:
        applied = self._applied(one)
        return [name for name in one.scripts if name not in applied]

    def _applied(self, one: MigrationSet) -> set[str]:
        return set() if self._backend.is_empty(self.peewee) else set(self._runner(one).applied())

    def _runner(self, one: MigrationSet) -> Any:
        return Runner(self.peewee, str(one.directory), table_name=f"{one.slug}_schema_migration")


def open_database(url: str, backends: Sequence[StorageBackend]) -> PanelDatabase:
    """The database a URL names, not yet connected.

    Raises ``StartupError`` for a scheme nobody serves, or a URL its backend cannot use.
    """
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    for backend in backends:
        if scheme in backend.schemes:
            return PanelDatabase(url, backend)
    known = ", ".join(sorted(name for backend in backends for name in backend.schemes))
    raise StartupError(f"no storage backend serves database URLs of the scheme '{scheme}', only {known}")
