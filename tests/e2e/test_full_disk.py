"""The panel's database on a disk that is really full: a small file system of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flatrun_core.db import PanelDatabase, open_database
from flatrun_core.errors import StartupError, Unavailable
from flatrun_core.jobs import CORE_MIGRATIONS, JobRow, JobRunner
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.scheduling import JobContext, JobKind
from flatrun_core.storage import SqliteStorage, sqlite_url
from flatrun_core.testing.storage_contract import migrations


@pytest.fixture
def database(small_disk: Path) -> Iterator[PanelDatabase]:
    database = open_database(sqlite_url(small_disk / "panel.db"), [SqliteStorage()])
    yield database
    database.close()


def fill(small_disk: Path) -> Path:
    path = small_disk / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            return path


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


def test_a_job_that_ends_on_a_full_disk_is_completed_when_there_is_space_again(
    small_disk: Path, database: PanelDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flatrun_core.jobs.POLL", 0.05)
    database.prepare([CORE_MIGRATIONS])
    database.bind([JobRow])
    inside, go = threading.Event(), threading.Event()

    def work(job: JobContext) -> dict[str, str]:
        inside.set()
        go.wait(10)
        return {"text": "x" * 20_000}

    runner = JobRunner(database, {"k": JobKind("k", work)}, LockTable(), print)
    job = runner.submit("k", {}, actor=Actor("system"))
    runner.start()
    assert inside.wait(10)
    filler = fill(small_disk)
    go.set()
    with pytest.raises(Unavailable, match="the disk is full") as caught:
        [runner.submit("k", {"text": "x" * 10_000}, actor=Actor("system")) for _ in range(50)]
    assert caught.value.code == "DATABASE_UNAVAILABLE"
    assert runner.get(job.id).status == "running"
    filler.unlink()
    wait_until(lambda: runner.get(job.id).status == "completed")
    assert len(runner.get(job.id).result["text"]) == 20_000
    with database.session():
        assert database.peewee.execute_sql("PRAGMA integrity_check").fetchone() == ("ok",)
    assert runner.stop()


def test_a_start_and_a_migration_on_a_full_disk_leave_what_was_there(
    small_disk: Path, database: PanelDatabase, tmp_path: Path
) -> None:
    filler = fill(small_disk)
    with pytest.raises(StartupError, match=r"(the disk is full|cannot be opened|reports an error)"):
        database.prepare([CORE_MIGRATIONS])
    filler.unlink()
    database.prepare([CORE_MIGRATIONS, migrations(tmp_path / "shop", one="")])
    shop = migrations(tmp_path / "shop", one="", two="")
    filler = fill(small_disk)
    with pytest.raises(StartupError, match="the disk is full"):
        database.migrate([CORE_MIGRATIONS, shop])
    assert [path.name for path in small_disk.glob("backups/*")] == []
    filler.unlink()
    assert database.pending([CORE_MIGRATIONS, shop]) == ["shop/0002_two"]
    assert database.migrate([CORE_MIGRATIONS, shop]) == ["shop/0002_two"]
