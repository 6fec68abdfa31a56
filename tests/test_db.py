"""The panel's database on SQLite, on good days and bad ones."""

import logging
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peewee import SqliteDatabase

from flatrun_core.db import MigrationSet, PanelDatabase, open_database
from flatrun_core.errors import StartupError, Unavailable
from flatrun_core.jobs import CORE_MIGRATIONS
from flatrun_core.storage import PostgresStorage, SqliteStorage, sqlite_path, sqlite_url
from flatrun_core.testing.storage_contract import StorageBackendContract, migrations, sample_models

NOBODY = 65534


def wait_until(true: Callable[[], Any], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "panel.db"


@pytest.fixture
def database(file: Path) -> Iterator[PanelDatabase]:
    database = open_database(sqlite_url(file), [SqliteStorage()])
    yield database
    database.close()


class TestSqliteStorage(StorageBackendContract):
    @pytest.fixture
    def backend(self) -> SqliteStorage:
        return SqliteStorage()

    @pytest.fixture
    def url(self, file: Path) -> str:
        return sqlite_url(file)


class TestEagerStorage(TestSqliteStorage):
    """A stranger's backend, whose database is a plain peewee one and knows no sessions."""

    @pytest.fixture
    def backend(self) -> SqliteStorage:
        class Eager(SqliteStorage):
            def open(self, url: str) -> Any:
                path = sqlite_path(url)
                path.parent.mkdir(exist_ok=True)
                # No WAL: this one connects before the migration's lock, and two that switch a new file
                # to WAL at once are refused without waiting.
                options = {"pragmas": {"foreign_keys": 1}, "autoconnect": False, "lock_type": "IMMEDIATE"}
                return SqliteDatabase(str(path), **options)

        return Eager()


# --- URLs ----------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_file_name_survives_the_way_through_its_url(name: str) -> None:
    path = Path("/var/lib", name)
    assert sqlite_path(sqlite_url(path)) == Path(os.path.normpath(path)) or ".." in path.parts


@pytest.mark.parametrize("url", ["sqlite:///var/lib/a.db", "sqlite:////var/lib/a.db", "sqlite:/var/lib/a.db"])
def test_an_sqlite_url_is_absolute_however_many_slashes(url: str) -> None:
    assert sqlite_path(url) == Path("/var/lib/a.db")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/a.db",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a#b",
        "sqlite:///:memory:",
        "sqlite:///a%00b",
    ],
)
def test_an_sqlite_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(StartupError, match="sqlite:////absolute"):
        open_database(url, [SqliteStorage()])


@pytest.mark.parametrize("url", ["mysql://root:hunter2@db/flatrun", "panel.db", "", "/var/lib/panel.db"])
def test_a_scheme_nobody_serves_is_refused_with_those_there_are(url: str) -> None:
    with pytest.raises(StartupError, match="only postgres, postgresql, sqlite") as caught:
        open_database(url, [SqliteStorage(), PostgresStorage()])
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named_in_words(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    database = open_database(sqlite_url(tmp_path / "state" / "panel.db"), [SqliteStorage()])
    with pytest.raises(StartupError, match=r"cannot be used: .*: /.*/state") as caught:
        database.prepare([])
    assert "Errno" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h/d?nonsense=1",
        "postgresql://u:hunter2@h",
        "postgresql://u:hunter2@[::1/d",
        "postgres://u:hunter2@h/",
        "postgresql://u:hunter2@127.0.0.1:notaport/d",
    ],
)
def test_a_postgresql_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StartupError, match="database") as caught:
        open_database(url, [PostgresStorage()]).prepare([])
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "hunter2" not in str(chain)
        chain = chain.__cause__


def test_a_postgresql_server_that_is_not_there_is_said_so_without_the_password() -> None:
    database = open_database("postgres://u:hunter2@127.0.0.1:1/d", [PostgresStorage()])
    assert "hunter2" not in repr(vars(database.peewee) | {"connect_params": None})
    with pytest.raises(Unavailable, match="the server cannot be reached") as caught, database.session():
        database.peewee.execute_sql("SELECT 1")
    assert caught.value.code == "DATABASE_UNAVAILABLE"
    with pytest.raises(StartupError, match="refused") as refused:
        database.prepare([])
    assert "hunter2" not in str(refused.value)


# --- the file -------------------------------------------------------------------------------------


def test_folder_and_file_are_the_owners_alone_and_wal_is_on(database: PanelDatabase, file: Path) -> None:
    old = os.umask(0o022)
    try:
        with database.session():
            settings = [
                database.peewee.pragma(name) for name in ("journal_mode", "foreign_keys", "busy_timeout")
            ]
            database.peewee.execute_sql("CREATE TABLE t (x)")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    finally:
        os.umask(old)
    assert settings == ["wal", 1, 5000]
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert modes == {"panel.db": 0o600, "panel.db-wal": 0o600, "panel.db-shm": 0o600}


def test_looking_at_a_database_that_is_not_there_makes_none(database: PanelDatabase, tmp_path: Path) -> None:
    shop = migrations(tmp_path / "shop", one="")
    assert database.is_empty()
    assert database.pending([shop]) == ["shop/0001_one"]
    assert database.unknown_applied([shop]) == []
    with database.session():
        pass
    assert not (tmp_path / "state").exists()


def test_a_copy_is_made_before_an_older_database_is_migrated_and_only_then(
    database: PanelDatabase, file: Path, tmp_path: Path
) -> None:
    one = migrations(tmp_path / "shop", one="")
    database.prepare([one])
    assert not (file.parent / "backups").exists()
    database.migrate([migrations(tmp_path / "shop", one="", two="")])
    [copy] = (file.parent / "backups").iterdir()
    with sqlite3.connect(copy) as old:
        assert old.execute("SELECT number FROM shop_one").fetchall() == [(1,)]
        assert old.execute("SELECT name FROM shop_schema_migration").fetchall() == [("0001_one",)]
    old.close()
    restored = open_database(sqlite_url(copy), [SqliteStorage()])
    assert restored.pending([MigrationSet("shop", one.directory)]) == ["shop/0002_two"]
    restored.close()


def test_a_copy_taken_while_others_write_is_whole(database: PanelDatabase, file: Path) -> None:
    parent, child = sample_models()
    database.bind([parent, child])
    with database.session():
        database.peewee.create_tables([parent, child])
        parent.create(name="before")
        with database.peewee.atomic():
            parent.create(name="uncommitted")
            copy = database.backup()
    assert copy is not None
    assert copy.parent == file.parent / "backups"
    with sqlite3.connect(copy) as old:
        assert old.execute("SELECT name FROM shop_parent").fetchall() == [("before",)]
        assert old.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    old.close()
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


# --- bad days -------------------------------------------------------------------------------------


def test_kill_in_the_middle_of_a_migration_leaves_the_earlier_state(
    database: PanelDatabase,
    file: Path,
    tmp_path: Path,
    migrating_process: Callable[..., subprocess.Popen[str]],
) -> None:
    database.prepare([migrations(tmp_path / "shop", one="")])
    hang = f"""
    import os, sys
    from pathlib import Path
    Row.insert_many([{{"number": n}} for n in range(5000)]).execute()
    if "HANG" in os.environ:
        Path({str(tmp_path / "reached")!r}).touch()
        sys.stdin.read()"""
    shop = migrations(tmp_path / "shop", one="", two=hang)
    process = migrating_process(SqliteStorage, sqlite_url(file), shop, HANG="1")
    wait_until((tmp_path / "reached").exists)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert database.pending([shop]) == ["shop/0002_two"]
    with database.session():
        assert not database.peewee.table_exists("shop_two")
        assert database.peewee.execute_sql("PRAGMA integrity_check").fetchone() == ("ok",)
    assert database.migrate([shop]) == ["shop/0002_two"]
    with database.session():
        assert database.peewee.execute_sql("SELECT count(*) FROM shop_two").fetchone() == (5001,)


def test_two_processes_that_start_at_once_make_one_database(
    file: Path, tmp_path: Path, migrating_process: Callable[..., subprocess.Popen[str]]
) -> None:
    shop = migrations(tmp_path / "shop", one="import time; time.sleep(0.3)", two="")
    processes = [migrating_process(SqliteStorage, sqlite_url(file), shop) for _ in range(3)]
    answers = [process.communicate(timeout=30) for process in processes]
    assert sorted(out for out, _ in answers) == ["['shop/0001_one', 'shop/0002_two']\n", "[]\n", "[]\n"]


def test_a_migration_that_another_process_does_not_finish_is_not_waited_for_for_ever(
    database: PanelDatabase, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flatrun_core.storage.MIGRATION_WAIT", 0.2)
    file.parent.mkdir()
    other = open_database(sqlite_url(file), [SqliteStorage()])
    with (
        SqliteStorage().migration_lock(other.peewee),
        pytest.raises(StartupError, match="another process is migrating"),
    ):
        database.prepare([migrations(tmp_path / "shop", one="")])
    other.close()


@contextmanager
def full_disk(database: PanelDatabase) -> Iterator[None]:
    """SQLite's own limit of pages gives the very error that a disk without space gives."""
    with database.session():
        pages = database.peewee.pragma("page_count")
        database.peewee.pragma("max_page_count", pages)
        try:
            yield
        finally:
            database.peewee.pragma("max_page_count", 2**30)


def test_a_full_disk_is_said_so_and_nothing_is_lost(
    database: PanelDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    parent: Any
    child: Any
    parent, child = sample_models()
    database.bind([parent, child])
    with database.session():
        database.peewee.create_tables([parent, child])
        parent.create(name="kept")
    with full_disk(database), pytest.raises(Unavailable) as caught, database.atomic():
        parent.create(name="lost", text="x" * 1_000_000)
    assert (caught.value.status, caught.value.code) == (503, "DATABASE_UNAVAILABLE")
    assert caught.value.message == "The database is not available: the disk is full"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    with database.session():
        parent.create(name="later", text="x" * 1_000_000)
        assert {row.name for row in parent.select()} == {"kept", "later"}


def test_a_full_disk_in_a_migration_leaves_the_earlier_state(database: PanelDatabase, tmp_path: Path) -> None:
    database.prepare([migrations(tmp_path / "shop", one="")])
    fill = 'db.execute_sql("CREATE TABLE big (x)"); '
    fill += 'db.execute_sql("INSERT INTO big VALUES (zeroblob(1000000))")'
    shop = migrations(tmp_path / "shop", one="", two=fill)
    with full_disk(database), pytest.raises(StartupError, match="shop/0002_two failed: the disk is full"):
        database.migrate([shop])
    assert database.pending([shop]) == ["shop/0002_two"]
    with database.session():
        assert not database.peewee.table_exists("shop_two")
    assert database.migrate([shop]) == ["shop/0002_two"]


def test_another_process_that_writes_for_long_is_waited_for_and_then_said_so(
    database: PanelDatabase, file: Path
) -> None:
    with database.session():
        database.peewee.execute_sql("CREATE TABLE t (x)")
        database.peewee.execute_sql("PRAGMA busy_timeout = 100")
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another write takes too long"), database.atomic():
            pass
        other.execute("COMMIT")
        other.close()
        with database.atomic():
            database.peewee.execute_sql("INSERT INTO t VALUES (1)")


def test_a_file_that_is_no_database_is_left_as_it_is(database: PanelDatabase, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"these are not the rows you are looking for" * 100)
    before = file.read_bytes()
    with pytest.raises(StartupError, match="no SQLite database"):
        database.prepare([CORE_MIGRATIONS])
    assert file.read_bytes() == before


@pytest.fixture
def folder_of_another() -> Iterator[Path]:
    """A folder that can be reached but not written by the one whom ``unprivileged`` makes us."""
    folder = Path(tempfile.mkdtemp(prefix="flatrun-test-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Be somebody whom a read-only folder stops; root is stopped by nothing."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_read_only_folder_is_said_so(folder_of_another: Path) -> None:
    url = sqlite_url(folder_of_another / "panel.db")
    made = open_database(url, [SqliteStorage()])
    made.prepare([])
    with made.session():
        made.peewee.execute_sql("CREATE TABLE t (x)")
    made.close()
    database = open_database(url, [SqliteStorage()])
    with (
        unprivileged(folder_of_another),
        pytest.raises(Unavailable, match=r"(it is read-only|its file cannot be opened)$") as caught,
        database.session(),
    ):
        database.peewee.execute_sql("INSERT INTO t VALUES (1)")
    assert caught.value.code == "DATABASE_UNAVAILABLE"
    with database.session():
        database.peewee.execute_sql("INSERT INTO t VALUES (1)")
    database.close()


def test_a_folder_that_cannot_be_made_stops_the_start_with_the_reason(folder_of_another: Path) -> None:
    database = open_database(sqlite_url(folder_of_another / "new" / "panel.db"), [SqliteStorage()])
    with unprivileged(folder_of_another):
        with pytest.raises(StartupError, match="Permission denied"):
            database.prepare([])
        with pytest.raises(Unavailable, match="Permission denied"), database.session():
            database.peewee.execute_sql("SELECT 1")
    assert list(folder_of_another.iterdir()) == []


def test_a_copy_that_fails_leaves_nothing_behind(database: PanelDatabase, file: Path) -> None:
    with database.session():
        database.peewee.execute_sql("CREATE TABLE t (x)")
    (file.parent / "backups").write_text("in the way")
    with pytest.raises(OSError, match="backups"):
        database.backup()
    (file.parent / "backups").unlink()
    database.close()
    file.write_bytes(b"damaged" * 1000)
    with pytest.raises(Unavailable, match="no SQLite database"):
        database.backup()
    assert list((file.parent / "backups").iterdir()) == []
