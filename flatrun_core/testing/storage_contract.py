"""What every storage backend must do, as a suite that its tests inherit.

class TestMyStorage(StorageBackendContract):
    @pytest.fixture
    def backend(self): return MyStorage()

    @pytest.fixture
    def url(self): return "my://..."     # an empty database, a new one for each test
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from peewee import (
    BigIntegerField,
    BlobField,
    BooleanField,
    CharField,
    DoubleField,
    ForeignKeyField,
    IntegerField,
    IntegrityError,
    InterfaceError,
    Model,
    PeeweeException,
    ProgrammingError,
    TextField,
)
from peewee import OperationalError as QueryFailed
from playhouse.schema_diff import diff_models

from flatrun_core.db import JsonField, MigrationSet, PanelDatabase, UtcDateTimeField, open_database
from flatrun_core.errors import Conflict, StartupError
from flatrun_core.jobs import CORE_MIGRATIONS, JobRow, JobRunner
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.scheduling import JobKind
from flatrun_core.ports.storage import StorageBackend

TABLE = """
from peewee import IntegerField, Model

def up(migrator, db):
    class Row(Model):
        number = IntegerField()
        class Meta:
            database = db
            table_name = "{table}"
    db.create_tables([Row])
    Row.create(number=1)
    {then}
"""


def migrations(folder: Path, **scripts: str) -> MigrationSet:
    """A set ``shop`` in a folder; each script makes the table of its name and then runs its text."""
    folder.mkdir(exist_ok=True)
    for number, (name, then) in enumerate(scripts.items(), 1):
        (folder / f"{number:04}_{name}.py").write_text(
            TABLE.format(table=f"shop_{name}", then=then or "pass")
        )
    return MigrationSet("shop", folder)


def sample_models() -> tuple[type[Model], type[Model]]:
    """Two new model classes: binding one is for good, so no test shares them."""

    class Parent(Model):
        name = CharField(unique=True)
        text = TextField(default="")
        big = BigIntegerField(default=0)
        ratio = DoubleField(default=0.0)
        flag = BooleanField(default=False)
        bits = BlobField(default=b"")
        data = JsonField(null=True)
        at = UtcDateTimeField(null=True)

        class Meta:
            table_name = "shop_parent"

    class Child(Model):
        parent = ForeignKeyField(Parent, on_delete="CASCADE")
        count = IntegerField(default=0)

        class Meta:
            table_name = "shop_child"

    return Parent, Child


class StorageBackendContract:
    """Inherit it, name the class ``Test...`` and give two fixtures.

    ``backend`` is the ``StorageBackend`` under test, ``url`` names an empty database of the test's own.
    """

    @pytest.fixture
    def again(self, backend: StorageBackend, url: str) -> Iterator[Callable[[], PanelDatabase]]:
        """Open the URL once more, as another process would."""
        opened: list[PanelDatabase] = []

        def make() -> PanelDatabase:
            opened.append(open_database(url, [backend]))
            return opened[-1]

        yield make
        for database in opened:
            database.close()

    @pytest.fixture
    def database(self, again: Callable[[], PanelDatabase]) -> PanelDatabase:
        """The database under test."""
        return again()

    @pytest.fixture
    def models(self, database: PanelDatabase) -> tuple[Any, Any]:
        """``Parent`` and ``Child``, bound, with their tables."""
        parent, child = sample_models()
        database.bind([parent, child])
        with database.session():
            database.peewee.create_tables([parent, child])
        return parent, child

    # --- sessions -------------------------------------------------------------------------------

    def test_names_its_schemes(self, backend: StorageBackend) -> None:
        assert backend.name
        assert backend.schemes
        assert all(scheme == scheme.lower() for scheme in backend.schemes)

    def test_opening_connects_nothing_and_a_query_outside_of_a_session_is_refused(
        self, database: PanelDatabase
    ) -> None:
        assert database.peewee.is_closed()
        with pytest.raises(InterfaceError):
            database.peewee.execute_sql("SELECT 1")
        assert database.peewee.is_closed()

    def test_a_session_is_reentrant_and_gives_its_connection_back(self, database: PanelDatabase) -> None:
        with database.session():
            with database.session():
                assert database.peewee.execute_sql("SELECT 1").fetchone()[0] == 1
            assert database.peewee.execute_sql("SELECT 2").fetchone()[0] == 2
        assert database.peewee.is_closed()

    def test_a_session_of_one_thread_is_none_of_another(self, database: PanelDatabase) -> None:
        with database.session(), ThreadPoolExecutor(1) as other:
            database.peewee.execute_sql("SELECT 1")
            with pytest.raises(InterfaceError):
                other.submit(database.peewee.execute_sql, "SELECT 1").result()

    def test_a_transaction_left_open_is_rolled_back_and_the_next_session_works(
        self, database: PanelDatabase, models: tuple[Any, Any]
    ) -> None:
        with database.session():
            database.peewee.session_start()
            models[0].create(name="lost")
        with database.session():
            assert models[0].select().count() == 0

    # --- values and transactions ----------------------------------------------------------------

    def test_is_empty_until_the_first_table(self, database: PanelDatabase) -> None:
        assert database.is_empty()
        parent, _ = sample_models()
        database.bind([parent])
        with database.session():
            database.peewee.create_tables([parent])
        assert not database.is_empty()

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("text", "line\nquote ' \" \\ % %s ? \u00e9 \u4e2d \U0001f600"),
            ("text", "x" * 100_000),
            ("big", 2**63 - 1),
            ("big", -(2**63)),
            ("ratio", 0.1),
            ("flag", True),
            ("bits", bytes(range(256))),
            ("data", {"nul": "\0", "half": "\ud800", "list": [1, None, True, 1.5, {}], "": "\U0001f600"}),
            ("data", None),
            ("at", datetime(2024, 2, 29, 23, 59, 59, 999999, UTC)),
            ("at", datetime(2024, 7, 1, 12, 0, tzinfo=timezone(timedelta(hours=-5)))),
            ("at", None),
        ],
        ids=lambda value: str(value)[:12].strip().encode("ascii", "replace").decode(),
    )
    def test_values_come_back_as_they_were(
        self, database: PanelDatabase, models: tuple[Any, Any], field: str, value: object
    ) -> None:
        with database.session():
            models[0].create(name="one", **{field: value})
            found = getattr(models[0].get(name="one"), field)
        assert (bytes(found) if isinstance(value, bytes) else found) == value
        assert not isinstance(found, datetime) or found.tzinfo is UTC

    def test_moments_are_ordered_as_time_is(self, database: PanelDatabase, models: tuple[Any, Any]) -> None:
        start = datetime(2024, 1, 1, 12, 0, 0, 0, UTC)
        moments = [start + timedelta(microseconds=step) for step in (0, 1, 500_000, 1_000_000)]
        with database.session():
            for number, moment in enumerate(reversed(moments)):
                models[0].create(name=str(number), at=moment)
            assert [row.at for row in models[0].select().order_by(models[0].at)] == moments
            assert models[0].select().where(models[0].at > start).count() == 3

    def test_an_exception_undoes_its_transaction_and_a_nested_one_only_itself(
        self, database: PanelDatabase, models: tuple[Any, Any]
    ) -> None:
        parent, _ = models
        with database.session():
            with pytest.raises(ZeroDivisionError), database.atomic():  # noqa: PT012 - the transaction is what is tested
                parent.create(name="gone")
                raise ZeroDivisionError
            with database.atomic():
                parent.create(name="outer")
                with pytest.raises(IntegrityError), database.atomic():
                    parent.create(name="outer")
                parent.create(name="after")
            assert {row.name for row in parent.select()} == {"outer", "after"}

    def test_foreign_keys_are_enforced(self, database: PanelDatabase, models: tuple[Any, Any]) -> None:
        parent, child = models
        with database.session():
            with pytest.raises(IntegrityError):
                child.create(parent=12345)
            child.create(parent=parent.create(name="one"))
            parent.delete().execute()
            assert child.select().count() == 0

    def test_writers_in_many_threads_lose_nothing(
        self, database: PanelDatabase, models: tuple[Any, Any]
    ) -> None:
        _, child = models
        with database.session():
            row = child.create(parent=models[0].create(name="one"))

        def add(_: int) -> None:
            with database.atomic():
                child.select().where(child.id == row.id).get()
                child.update(count=child.count + 1).where(child.id == row.id).execute()

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(add, range(200)))
        with database.session():
            assert child.get_by_id(row.id).count == 200

    def test_an_error_of_a_query_is_none_of_the_database(self, database: PanelDatabase) -> None:
        with (
            database.session(),
            pytest.raises((ProgrammingError, QueryFailed)) as caught,
            database.translated(),
        ):
            database.peewee.execute_sql("SELECT * FROM no_such_table")
        assert database.unavailable(caught.value) is None
        assert database.unavailable(ValueError("disk is full")) is None

    # --- migrations -----------------------------------------------------------------------------

    def test_the_migrations_of_the_core_end_at_its_models(self, database: PanelDatabase) -> None:
        assert database.prepare([CORE_MIGRATIONS]) == database_names(CORE_MIGRATIONS)
        with database.session():
            difference = diff_models(database.peewee, list(CORE_MIGRATIONS.models))
        assert not difference, difference

    def test_an_empty_database_is_made_and_made_once(self, database: PanelDatabase, tmp_path: Path) -> None:
        shop = migrations(tmp_path / "shop", one="", two="")
        assert database.pending([CORE_MIGRATIONS, shop])[-2:] == ["shop/0001_one", "shop/0002_two"]
        assert database.prepare([CORE_MIGRATIONS, shop])[-2:] == ["shop/0001_one", "shop/0002_two"]
        assert database.pending([CORE_MIGRATIONS, shop]) == []
        assert database.prepare([CORE_MIGRATIONS, shop]) == []
        assert database.migrate([CORE_MIGRATIONS, shop]) == []

    def test_an_older_database_is_migrated_only_when_told(
        self, database: PanelDatabase, tmp_path: Path
    ) -> None:
        database.prepare([migrations(tmp_path / "shop", one="")])
        shop = migrations(tmp_path / "shop", one="", two="")
        with pytest.raises(StartupError, match=r"shop/0002_two.*flatrun migrate"):
            database.prepare([shop])
        assert database.pending([shop]) == ["shop/0002_two"]
        assert database.prepare([shop], migrate=True) == ["shop/0002_two"]

    def test_a_database_newer_than_the_program_is_left_alone(
        self, database: PanelDatabase, tmp_path: Path
    ) -> None:
        database.prepare([migrations(tmp_path / "new", one="", two="")])
        shop = migrations(tmp_path / "old", one="")
        assert database.unknown_applied([shop]) == ["shop/0002_two"]
        for migrate in (True, False):
            with pytest.raises(StartupError, match=r"newer version.*shop/0002_two"):
                database.prepare([shop], migrate=migrate)

    def test_a_failing_migration_leaves_what_was_before_it_and_says_which(
        self, database: PanelDatabase, tmp_path: Path
    ) -> None:
        shop = migrations(tmp_path / "shop", one="", two="1 / 0", three="")
        with pytest.raises(StartupError, match="shop/0002_two failed: division by zero"):
            database.prepare([shop])
        assert database.pending([shop]) == ["shop/0002_two", "shop/0003_three"]
        with database.session():
            assert database.peewee.table_exists("shop_one")
            assert not database.peewee.table_exists("shop_two")
        assert (
            database.migrate([migrations(tmp_path / "shop", one="", two="", three="")])[0] == "shop/0002_two"
        )

    @pytest.mark.parametrize("text", ["def up(", "import no_such_module_at_all", "x = 1"])
    def test_a_script_that_cannot_be_loaded_is_named(
        self, database: PanelDatabase, tmp_path: Path, text: str
    ) -> None:
        shop = migrations(tmp_path / "shop", one="")
        (shop.directory / "0002_bad.py").write_text(text)
        with pytest.raises(StartupError, match="shop/0002_bad failed"):
            database.prepare([shop])

    def test_two_that_migrate_at_once_apply_each_script_once(
        self, again: Callable[[], PanelDatabase], tmp_path: Path
    ) -> None:
        shop = migrations(tmp_path / "shop", one="import time; time.sleep(0.2)", two="")
        start = threading.Barrier(4)

        def prepare(database: PanelDatabase) -> list[str]:
            start.wait()
            return database.prepare([shop])

        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(prepare, [again() for _ in range(4)]))
        assert sorted(done, key=len) == [[], [], [], ["shop/0001_one", "shop/0002_two"]]

    def test_a_backup_holds_every_row_or_is_the_servers_own_business(
        self, backend: StorageBackend, database: PanelDatabase, models: tuple[Any, Any]
    ) -> None:
        with database.session():
            models[0].create(name="kept")
        copy = database.backup()
        assert copy is None or (copy.stat().st_size > 0 and copy.stat().st_mode & 0o077 == 0)

    # --- jobs -----------------------------------------------------------------------------------

    def test_of_fifty_exclusive_submissions_at_once_one_wins(
        self, again: Callable[[], PanelDatabase]
    ) -> None:
        database = again()
        database.prepare([CORE_MIGRATIONS])
        database.bind([JobRow])
        runner = JobRunner(database, {"k": JobKind("k", lambda job: None)}, LockTable(), lambda event: None)
        start = threading.Barrier(50)

        def submit(number: int) -> tuple[str, str]:
            start.wait()
            try:
                return "won", runner.submit("k", {"n": number}, exclusive="one", actor=Actor("system")).id
            except Conflict as exc:
                return exc.code, exc.details["job_id"]

        with ThreadPoolExecutor(50) as pool:
            outcomes = list(pool.map(submit, range(50)))
        assert sorted(outcome for outcome, _ in outcomes) == ["JOB_RUNNING"] * 49 + ["won"]
        assert len({job_id for _, job_id in outcomes}) == 1
        assert len(runner.list()) == 1


def database_names(one: MigrationSet) -> list[str]:
    """The set's scripts as ``prepare`` names them."""
    return [f"{one.slug}/{name}" for name in one.scripts]


__all__ = ["PeeweeException", "StorageBackendContract", "database_names", "migrations", "sample_models"]
