"""The panel's state on a real PostgreSQL server, started for these tests from Debian's binaries."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flatrun_e2e.postgres import PASSWORD, QUOTED, Cluster

from flatrun_core.db import PanelDatabase, open_database
from flatrun_core.errors import Conflict, StartupError, Unavailable
from flatrun_core.jobs import CORE_MIGRATIONS, JobRow, JobRunner
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.scheduling import JobKind
from flatrun_core.storage import POOL_SIZE, PostgresStorage
from flatrun_core.testing.storage_contract import StorageBackendContract, migrations, sample_models


@pytest.fixture
def url(server: Cluster) -> str:
    return server.create()


@pytest.fixture
def database(url: str) -> Iterator[PanelDatabase]:
    database = open_database(url, [PostgresStorage()])
    yield database
    database.close()


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def ask(database: PanelDatabase, question: str = "SELECT 1") -> object:
    with database.session():
        return database.peewee.execute_sql(question).fetchone()[0]


class TestPostgresStorage(StorageBackendContract):
    @pytest.fixture
    def backend(self) -> PostgresStorage:
        return PostgresStorage()

    @pytest.fixture
    def url(self, server: Cluster) -> str:
        return server.create()


def test_the_other_scheme_and_a_unix_socket_work_too(server: Cluster) -> None:
    for url in (
        server.create().replace("postgresql:", "postgres:"),
        f"postgresql://flatrun:{QUOTED}@/postgres?host={server.folder}&port={server.port}",
    ):
        database = open_database(url, [PostgresStorage()])
        assert ask(database) == 1
        database.close()


def test_a_wrong_password_and_a_missing_database_stop_the_start_with_the_reason(server: Cluster) -> None:
    wrong = server.url("postgres").replace(QUOTED, "hunter2")
    for url, reason in ((wrong, "password authentication failed"), (server.url("nothing"), "does not exist")):
        database = open_database(url, [PostgresStorage()])
        with pytest.raises(StartupError, match=reason) as caught:
            database.prepare([CORE_MIGRATIONS])
        assert "hunter2" not in str(caught.value)
        assert PASSWORD not in str(caught.value)


def test_the_password_is_in_no_log_and_no_object_that_one_would_print(
    server: Cluster, database: PanelDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    ask(database)
    with pytest.raises(Unavailable):
        ask(open_database(server.url("nothing"), [PostgresStorage()]))
    for secret in (PASSWORD, QUOTED):
        assert secret not in caplog.text
        assert secret not in f"{database!r} {database.peewee!r} {database.peewee.database}"


def test_a_server_that_goes_away_and_comes_back_needs_no_restart_of_the_panel(
    server: Cluster, database: PanelDatabase
) -> None:
    parent: Any
    child: Any
    parent, child = sample_models()
    database.bind([parent, child])
    with database.session():
        database.peewee.create_tables([parent, child])
        parent.create(name="kept")
    with pytest.raises(Unavailable) as lost, database.atomic():  # noqa: PT012 - the transaction is what is tested
        parent.create(name="lost")
        server.stop()
        parent.create(name="lost too")
    assert (lost.value.code, lost.value.status) == ("DATABASE_UNAVAILABLE", 503)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(ask, database).exception() for _ in range(20)]
    assert {str(answer) for answer in answers} == {
        "The database is not available: the server cannot be reached"
    }
    server.start()
    wait_until(lambda: works(database))
    with database.session():
        assert [row.name for row in parent.select()] == ["kept"]


def works(database: PanelDatabase) -> bool:
    try:
        return ask(database) == 1
    except Unavailable:
        return False


def test_a_connection_that_the_server_ends_is_replaced(server: Cluster, database: PanelDatabase) -> None:
    end = "SELECT pg_terminate_backend({})"
    idle = ask(database, "SELECT pg_backend_pid()")
    assert ask(database, "SELECT pg_backend_pid()") == idle
    server.execute("postgres", end.format(idle))
    assert ask(database, "SELECT pg_backend_pid()") != idle
    with pytest.raises(Unavailable), database.atomic():  # noqa: PT012 - the transaction is what is tested
        used = database.peewee.execute_sql("SELECT pg_backend_pid()").fetchone()[0]
        server.execute("postgres", end.format(used))
        database.peewee.execute_sql("SELECT 1")
    assert ask(database) == 1


def test_a_server_that_does_not_answer_is_not_waited_for_by_one_thread_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flatrun_core.storage.CONNECT_TIMEOUT", 2)  # seconds; what libpq takes at least
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        url = f"postgresql://flatrun:x@127.0.0.1:{silent.getsockname()[1]}/panel"
        database = open_database(url, [PostgresStorage()])
        started = time.monotonic()
        with ThreadPoolExecutor(10) as pool:
            failures = [pool.submit(ask, database) for _ in range(10)]
        assert all(isinstance(one.exception(), Unavailable) for one in failures)
        assert time.monotonic() - started < 12


def test_more_threads_than_connections_take_turns(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A thread's patience begins before the connections are made, one after the other, each with its
    # costly password check: on a busy machine that alone may take the usual five seconds.
    monkeypatch.setattr("flatrun_core.storage.CONNECT_TIMEOUT", 60)
    database = open_database(url, [PostgresStorage()])
    question = "SELECT pg_backend_pid() FROM pg_sleep(0.05)"
    with ThreadPoolExecutor(POOL_SIZE * 2) as pool:
        servers = list(pool.map(lambda _: ask(database, question), range(POOL_SIZE * 4)))
    assert len(servers) == POOL_SIZE * 4
    assert 1 < len(set(servers)) <= POOL_SIZE
    database.close()


def test_all_connections_in_use_for_too_long_is_said_so(
    server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flatrun_core.storage.POOL_SIZE", 1)
    monkeypatch.setattr("flatrun_core.storage.CONNECT_TIMEOUT", 0.1)
    database = open_database(server.url("postgres") + "?connect_timeout=5", [PostgresStorage()])
    with database.session(), ThreadPoolExecutor(1) as other:
        database.peewee.execute_sql("SELECT 1")
        with pytest.raises(Unavailable, match="all its connections are in use"):
            other.submit(ask, database).result()
    assert ask(database) == 1
    database.close()


def test_a_read_only_server_is_said_so(server: Cluster, url: str) -> None:
    name = url.rpartition("/")[2]
    server.execute("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database = open_database(url, [PostgresStorage()])
    with pytest.raises(Unavailable, match="it is read-only"), database.session():
        database.peewee.execute_sql("CREATE TABLE t (x int)")
    with pytest.raises(StartupError, match="read-only"):
        database.prepare([CORE_MIGRATIONS])
    database.close()


def test_kill_in_the_middle_of_a_migration_leaves_the_earlier_state_and_no_lock(
    database: PanelDatabase, url: str, tmp_path: Path, migrating_process: Callable[..., subprocess.Popen[str]]
) -> None:
    reached = tmp_path / "reached"
    hang = f"""
    import os, sys
    from pathlib import Path
    if "HANG" in os.environ:
        Path({str(reached)!r}).touch()
        sys.stdin.read()"""
    shop = migrations(tmp_path / "shop", one="", two=hang)
    process = migrating_process(PostgresStorage, url, shop, HANG="1")
    wait_until(reached.exists)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert database.pending([shop]) == ["shop/0002_two"]
    with database.session():
        assert not database.peewee.table_exists("shop_two")
    assert database.migrate([shop]) == ["shop/0002_two"]


def test_two_processes_that_start_at_once_make_one_database(
    url: str, tmp_path: Path, migrating_process: Callable[..., subprocess.Popen[str]]
) -> None:
    shop = migrations(tmp_path / "shop", one="import time; time.sleep(0.3)", two="")
    processes = [migrating_process(PostgresStorage, url, shop) for _ in range(3)]
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert sorted(answers) == ["['shop/0001_one', 'shop/0002_two']\n", "[]\n", "[]\n"]


def test_jobs_are_worked_off_once_by_two_panels_that_share_the_database(url: str) -> None:
    done: list[str] = []
    lock = threading.Lock()

    def work(job: object) -> None:
        with lock:
            done.append(job.id)  # type: ignore[attr-defined]

    database = open_database(url, [PostgresStorage()])
    database.prepare([CORE_MIGRATIONS])
    database.bind([JobRow])
    runners = [JobRunner(database, {"k": JobKind("k", work)}, LockTable(), print) for _ in range(2)]
    ids = [runners[0].submit("k", {}, actor=Actor("system")).id for _ in range(60)]
    for runner in runners:
        runner.start()
    wait_until(lambda: all(job.status == "completed" for job in runners[0].list()))
    for runner in runners:
        assert runner.stop()
    assert sorted(done) == sorted(ids)
    database.close()


def test_an_exclusive_submission_that_fails_leaves_the_callers_transaction_usable(
    database: PanelDatabase,
) -> None:
    database.prepare([CORE_MIGRATIONS])
    database.bind([JobRow])
    runner = JobRunner(database, {"k": JobKind("k", lambda job: None)}, LockTable(), print)
    with database.atomic():
        first = runner.submit("k", {"nul": "\0"}, exclusive="one", actor=Actor("system"))
        with pytest.raises(Conflict) as caught:
            runner.submit("k", {}, exclusive="one", actor=Actor("system"))
        second = runner.submit("k", {}, exclusive="two", actor=Actor("system"))
    assert caught.value.details["job_id"] == first.id
    assert [job.id for job in runner.list()] == [second.id, first.id]
