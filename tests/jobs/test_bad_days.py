"""Jobs that a kill cut off, plugins that are away, and databases that fail."""

import signal
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.db import now
from flatrun_core.errors import Unavailable
from flatrun_core.jobs import INTERRUPTED, JobRow
from flatrun_core.ports.scheduling import JobKind, JobRecord


def test_a_job_that_a_kill_cut_off_is_put_back_and_marked_failed_and_queued_ones_go_on(
    bench: Any, tmp_path: Path, alice: Any, ended: Any, python: Any
) -> None:
    code = """
import sys
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
    sys.stdin.read()
database = open_database(sys.argv[1], [SqliteStorage()])
database.bind([JobRow])
runner = JobRunner(database, {"cut": JobKind("cut", work)}, LockTable(), print, workers=1)
for _ in range(2):
    runner.submit("cut", {"file": sys.argv[2]}, deployment="shop", exclusive=str(_), actor=Actor("user", "7"))
runner.start()
sys.stdin.read()
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
    runner.submit("cut", {}, exclusive="0", actor=alice)


def test_a_recovery_that_fails_is_said_and_does_not_stop_the_others(
    bench: Any, caplog: pytest.LogCaptureFixture, alice: Any
) -> None:
    def recover(job: JobRecord) -> None:
        if job.payload["n"] == 0:
            raise OSError("the staging folder is gone")

    bench.kind("cut", lambda job: None, recover)
    runner = bench.runner(start=False)
    jobs = [runner.submit("cut", {"n": number}, actor=alice) for number in range(2)]
    with bench.database.session():
        JobRow.update(status="running").execute()
    assert [job.error for job in runner.recover()] == [
        f"{INTERRUPTED}; putting things back failed: the staging folder is gone",
        INTERRUPTED,
    ]
    assert {runner.get(job.id).status for job in jobs} == {"failed"}
    assert runner.recover() == []
    assert f"job {jobs[0].id} (cut) could not be recovered" in caplog.messages


def test_jobs_of_a_plugin_that_is_not_here_wait_until_it_is(bench: Any, alice: Any, ended: Any) -> None:
    bench.kind("away", lambda job: {"here": True})
    runner = bench.runner(start=False)
    running, queued = (runner.submit("away", {}, actor=alice) for _ in range(2))
    with bench.database.session():
        JobRow.update(status="running").where(JobRow.id == int(running.id)).execute()
    kind = bench.kinds.pop("away")
    other = bench.runner(start=False)
    assert other.recover() == []
    other.start()
    ended(other, other.submit("add", {"a": 1, "b": 1}, actor=alice))
    assert [other.get(job.id).status for job in (running, queued)] == ["running", "queued"]
    assert other.stop(5)
    bench.kinds["away"] = kind
    again = bench.runner(start=False)
    assert [job.id for job in again.recover()] == [running.id]
    again.start()
    assert ended(again, queued).result == {"here": True}


def test_finished_jobs_are_kept_for_thirty_days_and_no_number_comes_twice(bench: Any, alice: Any) -> None:
    runner = bench.runner(start=False)
    jobs = [runner.submit("add", {}, actor=alice) for _ in range(4)]
    with bench.database.session():
        for job, days in zip(jobs, (31, 29, 31, 31), strict=True):
            JobRow.update(status="completed", finished_at=now() - timedelta(days=days)).where(
                JobRow.id == int(job.id)
            ).execute()
        JobRow.update(status="queued", finished_at=None).where(JobRow.id == int(jobs[0].id)).execute()
    runner.recover()
    assert [job.id for job in runner.list()] == [jobs[3].id, jobs[1].id, jobs[0].id]
    assert int(runner.submit("add", {}, actor=alice).id) > int(jobs[3].id)


def test_the_end_of_a_job_is_written_when_the_database_is_there_again(
    bench: Any, monkeypatch: pytest.MonkeyPatch, alice: Any, ended: Any, wait_until: Any
) -> None:
    runner = bench.runner()
    job = runner.submit("wait", {}, actor=alice)
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
    bench: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    alice: Any,
    ended: Any,
    wait_until: Any,
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
    assert ended(runner, runner.submit("add", {"a": 1, "b": 1}, actor=alice)).status == "completed"
    assert caplog.messages.count("looking for jobs failed") == 1
