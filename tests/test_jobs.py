"""Background jobs on SQLite."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import flatrun_core
from flatrun_core.db import PanelDatabase, now, open_database
from flatrun_core.errors import Conflict, Failed, NotFound, Unavailable
from flatrun_core.jobs import CORE_MIGRATIONS, INTERRUPTED, JobRow, JobRunner
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.scheduling import JobContext, JobKind, JobRecord
from flatrun_core.storage import SqliteStorage, sqlite_url

ROOT = Path(flatrun_core.__file__).parents[1]
ALICE = Actor("user", "7", "alice", "fr_1234")
Run = Callable[[JobContext], Mapping[str, Any] | None]


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)


@dataclass
class Bench:
    """A database, the kinds and what a test wants to look at."""

    database: PanelDatabase
    url: str
    locks: LockTable = field(default_factory=LockTable)
    kinds: dict[str, JobKind] = field(default_factory=dict)
    failed: list[JobRecord] = field(default_factory=list)
    runners: list[JobRunner] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    inside: list[str] = field(default_factory=list)

    def kind(self, name: str, run: Run, recover: Callable[[JobRecord], None] | None = None) -> None:
        self.kinds[name] = JobKind(name, run, recover)

    def runner(self, *, start: bool = True, workers: int = 4) -> JobRunner:
        made = JobRunner(
            self.database, self.kinds, self.locks, lambda event: self.failed.append(event.job), workers
        )
        self.runners.append(made)
        if start:
            made.start()
        return made

    def wait_for_go(self, job: JobContext) -> Mapping[str, Any]:
        """A job that works until the test lets it end or somebody stops it."""
        self.inside.append(job.id)
        while not self.go.wait(0.01):
            if job.cancelled():
                return {"stopped": True}
        return {"stopped": False}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("flatrun_core.jobs.POLL", 0.05)
    url = sqlite_url(tmp_path / "panel.db")
    database = open_database(url, [SqliteStorage()])
    database.prepare([CORE_MIGRATIONS])
    database.bind([JobRow])
    bench = Bench(database, url)
    bench.kind("wait", bench.wait_for_go)
    bench.kind("add", lambda job: {"sum": job.payload["a"] + job.payload["b"]})
    yield bench
    bench.go.set()
    stopped = [runner.stop(10) for runner in bench.runners]
    database.close()
    assert all(stopped)


def ended(runner: JobRunner, record: JobRecord) -> JobRecord:
    wait_until(lambda: runner.get(record.id).status not in ("queued", "running"))
    return runner.get(record.id)


# --- the usual way ---------------------------------------------------------------------------------


def test_a_job_runs_and_its_record_tells_all_of_it(bench: Bench) -> None:
    runner = bench.runner()
    before = now()
    queued = runner.submit("add", {"a": 1, "b": 2}, deployment="shop", actor=ALICE)
    assert (queued.status, queued.payload, queued.actor) == ("queued", {"a": 1, "b": 2}, ALICE)
    assert queued.id.isdigit()
    done = ended(runner, queued)
    assert (done.kind, done.status, done.result, done.progress, done.error) == (
        "add",
        "completed",
        {"sum": 3},
        100,
        "",
    )
    assert (done.deployment, done.actor) == ("shop", ALICE)
    assert done.started_at is not None
    assert done.finished_at is not None
    assert before <= done.created_at <= done.started_at <= done.finished_at <= now()
    assert bench.failed == []


def test_a_failure_keeps_its_sentence_and_tells_whoever_listens(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def known(job: JobContext) -> None:
        job.progress(40, "pulling")
        raise Failed("The image could not be pulled", code="COMPOSE_FAILED")

    bench.kind("known", known)
    bench.kind("unknown", lambda job: {"x": job.payload["missing"]})
    runner = bench.runner()
    one = ended(runner, runner.submit("known", {}, actor=ALICE))
    two = ended(runner, runner.submit("unknown", {}, actor=ALICE))
    wait_until(lambda: len(bench.failed) == 2)
    assert (one.status, one.error, one.progress, one.message) == (
        "failed",
        "The image could not be pulled",
        40,
        "pulling",
    )
    assert (two.status, two.error) == ("failed", "'missing'")
    assert bench.failed == [one, two]
    assert [bool(record.exc_info) for record in caplog.records if "failed" in record.message] == [False, True]


@pytest.mark.parametrize("result", [{"x": object()}, {"x": float("nan")}, ["no", "mapping"], {"x": {1, 2}}])
def test_a_result_that_is_no_json_object_is_a_failure(bench: Bench, result: Any) -> None:
    bench.kind("odd", lambda job: result)
    runner = bench.runner()
    done = ended(runner, runner.submit("odd", {}, actor=ALICE))
    assert (done.status, done.result) == ("failed", {})
    assert done.error


def test_a_payload_that_is_no_json_is_refused_at_once(bench: Bench) -> None:
    runner = bench.runner()
    with pytest.raises((TypeError, ValueError)):
        runner.submit("add", {"x": object()}, actor=ALICE)
    with pytest.raises(LookupError, match="no active plugin registers jobs of the kind 'nothing'"):
        runner.submit("nothing", {}, actor=ALICE)
    assert runner.list() == []


def test_texts_that_a_database_might_refuse_are_kept_as_far_as_they_can_be(bench: Bench) -> None:
    def shout(job: JobContext) -> None:
        job.progress(250, "half \ud800 nul \0 end")
        raise Failed("\0\udfff" + "x" * 100_000)

    bench.kind("shout", shout)
    runner = bench.runner()
    done = ended(runner, runner.submit("shout", {"nul": "\0", "half": "\ud800"}, actor=ALICE))
    assert (done.progress, done.message) == (100, "half ? nul \ufffd end")
    assert done.error.startswith("\ufffd?xxx")
    assert len(done.error) == 4000
    assert done.payload == {"nul": "\0", "half": "\ud800"}


def test_progress_shows_while_the_job_works_and_is_not_written_each_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    move = JobRow.move

    def counted(row: JobRow, expected: str, **values: Any) -> bool:
        writes.append(values.get("progress", -1))
        return move(row, expected, **values)

    def busy(job: JobContext) -> None:
        for step in range(1000):
            job.progress(step // 20, f"step {step}")
        bench.wait_for_go(job)

    monkeypatch.setattr(JobRow, "move", counted)
    bench.kind("busy", busy)
    runner = bench.runner()
    job = runner.submit("busy", {}, actor=ALICE)
    wait_until(lambda: runner.get(job.id).message.startswith("step"))
    bench.go.set()
    done = ended(runner, job)
    assert (done.progress, done.message) == (100, "step 999")
    assert len(writes) < 20


def test_lists_are_newest_first_and_narrow(bench: Bench) -> None:
    runner = bench.runner(start=False)
    for number in range(4):
        runner.submit("add", {"n": number}, deployment="shop" if number % 2 else "blog", actor=ALICE)
    runner.submit("wait", {}, actor=ALICE)
    assert [job.payload.get("n") for job in runner.list()] == [None, 3, 2, 1, 0]
    assert [job.payload["n"] for job in runner.list(deployment="shop")] == [3, 1]
    assert [job.payload["n"] for job in runner.list(kinds=["add"], limit=2)] == [3, 2]
    assert runner.list(kinds=["nothing"]) == []


@pytest.mark.parametrize("job_id", ["", "1", "-1", "abc", "9" * 30, "1' OR 1=1", "\u0661", "1\n", "x" * 1000])
def test_an_unknown_job_is_not_found(bench: Bench, job_id: str) -> None:
    runner = bench.runner(start=False)
    for call in (runner.get, runner.cancel):
        with pytest.raises(NotFound) as caught:
            call(job_id)
        assert caught.value.code == "JOB_NOT_FOUND"
        assert len(caught.value.message) < 100


def test_jobs_are_done_in_their_order_by_as_many_as_there_are_workers(bench: Bench) -> None:
    runner = bench.runner(workers=2)
    jobs = [runner.submit("wait", {}, actor=ALICE) for _ in range(5)]
    wait_until(lambda: len(bench.inside) == 2)
    time.sleep(0.1)
    assert sorted(bench.inside) == [job.id for job in jobs[:2]]
    bench.go.set()
    assert {ended(runner, job).status for job in jobs} == {"completed"}
    assert set(bench.inside) == {job.id for job in jobs}


def test_a_job_submitted_in_a_transaction_exists_when_that_commits(bench: Bench) -> None:
    runner = bench.runner()
    with pytest.raises(ZeroDivisionError), bench.database.atomic():  # noqa: PT012 - the transaction is what is tested
        lost = runner.submit("add", {"a": 1, "b": 1}, actor=ALICE)
        raise ZeroDivisionError
    with pytest.raises(NotFound):
        runner.get(lost.id)
    with bench.database.atomic():
        kept = runner.submit("add", {"a": 1, "b": 1}, actor=ALICE)
    assert ended(runner, kept).result == {"sum": 2}


def test_a_job_has_a_session_of_its_own(bench: Bench) -> None:
    bench.kind("count", lambda job: {"jobs": JobRow.select().count()})
    runner = bench.runner()
    assert ended(runner, runner.submit("count", {}, actor=ALICE)).result == {"jobs": 1}


# --- exclusive, locks ------------------------------------------------------------------------------


def test_an_exclusive_job_keeps_others_out_until_it_ends_however_it_ends(bench: Bench) -> None:
    runner = bench.runner(workers=1)
    first = runner.submit("wait", {}, exclusive="backup:shop", actor=ALICE)
    wait_until(lambda: bench.inside)
    with pytest.raises(Conflict) as caught:
        runner.submit("add", {}, exclusive="backup:shop", actor=ALICE)
    assert caught.value.body()["code"] == "JOB_RUNNING"
    assert caught.value.body()["job_id"] == first.id
    other = runner.submit("wait", {}, exclusive="backup:blog", actor=ALICE)
    with pytest.raises(Conflict):
        runner.submit("wait", {}, exclusive="backup:blog", actor=ALICE)
    runner.cancel(other.id)
    runner.cancel(first.id)
    ended(runner, first)
    bench.kind("fail", lambda job: {"x": 1 / 0})
    for _ in range(2):
        ended(runner, runner.submit("fail", {}, exclusive="backup:shop", actor=ALICE))
        ended(runner, runner.submit("add", {"a": 1, "b": 1}, exclusive="backup:blog", actor=ALICE))


def test_two_processes_cannot_both_submit_an_exclusive_job(bench: Bench) -> None:
    code = """
import sys
from flatrun_core.db import open_database
from flatrun_core.errors import Conflict
from flatrun_core.jobs import JobRow, JobRunner
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.scheduling import JobKind
from flatrun_core.storage import SqliteStorage
database = open_database(sys.argv[1], [SqliteStorage()])
database.bind([JobRow])
runner = JobRunner(database, {"k": JobKind("k", lambda job: None)}, LockTable(), print)
won = 0
for number in range(40):
    try:
        runner.submit("k", {}, exclusive=str(number), actor=Actor("system"))
        won += 1
    except Conflict:
        pass
print(won)
"""
    processes = [python(code, bench.url) for _ in range(3)]
    assert sum(int(process.communicate(timeout=60)[0]) for process in processes) == 40
    assert len(bench.runner(start=False).list()) == 40


def test_a_job_waits_for_its_deployment_and_then_holds_it(bench: Bench) -> None:
    runner = bench.runner()
    with bench.locks.hold("deployment", "shop"):
        job = runner.submit("wait", {}, deployment="shop", actor=ALICE)
        free = runner.submit("add", {"a": 1, "b": 1}, deployment="blog", actor=ALICE)
        ended(runner, free)
        assert bench.inside == []
    wait_until(lambda: bench.inside)
    with pytest.raises(Conflict), bench.locks.hold("deployment", "shop"):
        pass
    bench.go.set()
    ended(runner, job)
    with bench.locks.hold("deployment", "shop", wait=5):
        pass


def test_a_job_may_take_its_deployments_lock_itself_too(bench: Bench) -> None:
    def nested(job: JobContext) -> None:
        with bench.locks.hold("deployment", "shop"), bench.locks.hold("proxy"):
            pass

    bench.kind("nested", nested)
    runner = bench.runner()
    assert ended(runner, runner.submit("nested", {}, deployment="shop", actor=ALICE)).status == "completed"


# --- cancelling and stopping -----------------------------------------------------------------------


def test_cancelling_takes_a_queued_job_out(bench: Bench) -> None:
    runner = bench.runner(start=False)
    job = runner.submit("add", {"a": 1, "b": 1}, exclusive="x", actor=ALICE)
    assert runner.cancel(job.id).status == "cancelled"
    assert runner.cancel(job.id).status == "cancelled"
    runner.start()
    ended(runner, runner.submit("add", {"a": 1, "b": 1}, exclusive="x", actor=ALICE))
    assert runner.get(job.id).started_at is None


def test_a_running_job_is_asked_to_stop_and_counts_as_cancelled_when_it_did(bench: Bench) -> None:
    runner = bench.runner()
    job = runner.submit("wait", {}, actor=ALICE)
    wait_until(lambda: bench.inside)
    assert runner.cancel(job.id).status == "running"
    done = ended(runner, job)
    assert (done.status, done.result, done.error) == ("cancelled", {"stopped": True}, "")
    assert bench.failed == []


def test_a_job_that_does_not_look_ends_as_it_ends(bench: Bench) -> None:
    def deaf(job: JobContext) -> Mapping[str, Any]:
        bench.inside.append(job.id)
        bench.go.wait(10)
        return {"whole": True}

    bench.kind("deaf", deaf)
    runner = bench.runner()
    job = runner.submit("deaf", {}, actor=ALICE)
    wait_until(lambda: bench.inside)
    runner.cancel(job.id)
    bench.go.set()
    done = ended(runner, job)
    assert (done.status, done.result) == ("completed", {"whole": True})
    assert runner.cancel(job.id) == done


def test_a_cancel_in_another_process_is_seen_within_a_second_or_so(bench: Bench) -> None:
    runner, elsewhere = bench.runner(), bench.runner(start=False)
    job = runner.submit("wait", {}, actor=ALICE)
    wait_until(lambda: bench.inside)
    elsewhere.cancel(job.id)
    assert ended(runner, job).status == "cancelled"


def test_a_job_that_waits_for_its_deployment_can_be_cancelled(bench: Bench) -> None:
    runner = bench.runner()
    with bench.locks.hold("deployment", "shop"):
        job = runner.submit("wait", {}, deployment="shop", actor=ALICE)
        wait_until(lambda: runner.get(job.id).status == "running")
        runner.cancel(job.id)
        assert ended(runner, job).status == "cancelled"
    assert bench.inside == []


def test_a_job_queued_where_nobody_works_is_found_by_the_process_that_does(bench: Bench) -> None:
    runner, command = bench.runner(), bench.runner(start=False)
    assert ended(command, command.submit("add", {"a": 1, "b": 1}, actor=ALICE)).result == {"sum": 2}
    assert runner.stop(5)


def test_stopping_tells_running_jobs_and_leaves_queued_ones(bench: Bench) -> None:
    runner = bench.runner(workers=2)
    job = runner.submit("wait", {}, actor=ALICE)
    wait_until(lambda: bench.inside)
    with bench.locks.hold("deployment", "shop"):
        waiting = runner.submit("add", {"a": 1, "b": 1}, deployment="shop", actor=ALICE)
        wait_until(lambda: runner.get(waiting.id).status == "running")
        queued = runner.submit("add", {"a": 2, "b": 2}, actor=ALICE)
        assert runner.stop(10)
    assert (runner.get(job.id).status, runner.get(job.id).error) == ("failed", INTERRUPTED)
    assert (runner.get(waiting.id).status, runner.get(waiting.id).started_at) == ("queued", None)
    assert runner.get(queued.id).status == "queued"
    again = bench.runner(start=False)
    assert again.recover() == []
    again.start()
    assert [ended(again, one).result for one in (waiting, queued)] == [{"sum": 2}, {"sum": 4}]


def test_a_stop_does_not_wait_for_a_job_that_goes_on(bench: Bench) -> None:
    bench.kind("deaf", lambda job: {"waited": bench.go.wait(10)})
    runner = bench.runner(workers=1)
    job = runner.submit("deaf", {}, actor=ALICE)
    wait_until(lambda: runner.get(job.id).status == "running")
    assert not runner.stop(0.1)
    assert runner.get(job.id).status == "running"


# --- crashes and bad days --------------------------------------------------------------------------


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE)


def test_a_job_that_a_kill_cut_off_is_put_back_and_marked_failed_and_queued_ones_go_on(
    bench: Bench, tmp_path: Path
) -> None:
    code = """
import sys, time
from pathlib import Path
from flatrun_core.db import open_database
from flatrun_core.jobs import JobRow, JobRunner
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.scheduling import JobKind
from flatrun_core.storage import SqliteStorage
def work(job):
    job.progress(30, "half written")
    Path(job.payload["file"]).write_text("half")
    print("inside", flush=True)
    time.sleep(60)
database = open_database(sys.argv[1], [SqliteStorage()])
database.bind([JobRow])
runner = JobRunner(database, {"cut": JobKind("cut", work)}, LockTable(), print, workers=1)
for _ in range(2):
    runner.submit("cut", {"file": sys.argv[2]}, deployment="shop", exclusive=str(_), actor=Actor("user", "7"))
runner.start()
time.sleep(60)
"""
    half = tmp_path / "half"
    process = python(code, bench.url, half)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    seen: list[JobRecord] = []

    def recover(job: JobRecord) -> None:
        seen.append(job)
        Path(job.payload["file"]).unlink()

    bench.kind("cut", lambda job: {"again": half.exists()}, recover)
    runner = bench.runner(start=False)
    [cut] = runner.recover()
    assert [(job.id, job.status, job.message, job.progress) for job in seen] == [
        (cut.id, "running", "half written", 30)
    ]
    assert (cut.status, cut.error, cut.deployment) == ("failed", INTERRUPTED, "shop")
    assert cut.finished_at is not None
    assert bench.failed == [cut]
    assert not half.exists()
    runner.start()
    [queued] = [job for job in runner.list() if job.id != cut.id]
    assert ended(runner, queued).result == {"again": False}
    runner.submit("cut", {}, exclusive="0", actor=ALICE)


def test_a_recovery_that_fails_is_said_and_does_not_stop_the_others(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def recover(job: JobRecord) -> None:
        if job.payload["n"] == 0:
            raise OSError("the staging folder is gone")

    bench.kind("cut", lambda job: None, recover)
    runner = bench.runner(start=False)
    jobs = [runner.submit("cut", {"n": number}, actor=ALICE) for number in range(2)]
    with bench.database.session():
        JobRow.update(status="running").execute()
    assert [job.error for job in runner.recover()] == [
        f"{INTERRUPTED}; putting things back failed: the staging folder is gone",
        INTERRUPTED,
    ]
    assert {runner.get(job.id).status for job in jobs} == {"failed"}
    assert runner.recover() == []
    assert f"job {jobs[0].id} (cut) could not be recovered" in caplog.messages


def test_jobs_of_a_plugin_that_is_not_here_wait_until_it_is(bench: Bench) -> None:
    bench.kind("away", lambda job: {"here": True})
    runner = bench.runner(start=False)
    running, queued = (runner.submit("away", {}, actor=ALICE) for _ in range(2))
    with bench.database.session():
        JobRow.update(status="running").where(JobRow.id == int(running.id)).execute()
    kind = bench.kinds.pop("away")
    other = bench.runner(start=False)
    assert other.recover() == []
    other.start()
    ended(other, other.submit("add", {"a": 1, "b": 1}, actor=ALICE))
    assert [other.get(job.id).status for job in (running, queued)] == ["running", "queued"]
    assert other.stop(5)
    bench.kinds["away"] = kind
    again = bench.runner(start=False)
    assert [job.id for job in again.recover()] == [running.id]
    again.start()
    assert ended(again, queued).result == {"here": True}


def test_finished_jobs_are_kept_for_thirty_days_and_no_number_comes_twice(bench: Bench) -> None:
    runner = bench.runner(start=False)
    jobs = [runner.submit("add", {}, actor=ALICE) for _ in range(4)]
    with bench.database.session():
        for job, days in zip(jobs, (31, 29, 31, 31), strict=True):
            JobRow.update(status="completed", finished_at=now() - timedelta(days=days)).where(
                JobRow.id == int(job.id)
            ).execute()
        JobRow.update(status="queued", finished_at=None).where(JobRow.id == int(jobs[0].id)).execute()
    runner.recover()
    assert [job.id for job in runner.list()] == [jobs[3].id, jobs[1].id, jobs[0].id]
    assert int(runner.submit("add", {}, actor=ALICE).id) > int(jobs[3].id)


def test_the_end_of_a_job_is_written_when_the_database_is_there_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = bench.runner()
    job = runner.submit("wait", {}, actor=ALICE)
    wait_until(lambda: bench.inside)
    away, tries = True, 0
    move = JobRow.move

    def moved(row: JobRow, expected: str, **values: Any) -> bool:
        nonlocal tries
        if away and values.get("status") == "completed":
            tries += 1
            raise Unavailable("The database is not available: the disk is full", code="DATABASE_UNAVAILABLE")
        return move(row, expected, **values)

    monkeypatch.setattr(JobRow, "move", moved)
    bench.go.set()
    wait_until(lambda: tries >= 2)
    assert runner.get(job.id).status == "running"
    away = False
    assert ended(runner, job).status == "completed"


def test_workers_survive_a_database_that_is_away_and_say_so_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away, tries = True, 0
    of_status = JobRow.of_status

    def sometimes(status: str, kinds: Mapping[str, JobKind]) -> Any:
        nonlocal tries
        if away:
            tries += 1
            raise Unavailable("The database is not available: it is read-only", code="DATABASE_UNAVAILABLE")
        return of_status(status, kinds)

    monkeypatch.setattr(JobRow, "of_status", sometimes)
    runner = bench.runner(workers=1)
    wait_until(lambda: tries >= 3)
    away = False
    assert ended(runner, runner.submit("add", {"a": 1, "b": 1}, actor=ALICE)).status == "completed"
    assert caplog.messages.count("looking for jobs failed") == 1
