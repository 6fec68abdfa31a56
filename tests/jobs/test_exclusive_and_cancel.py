"""Jobs that keep others out, hold a deployment, are cancelled, or stopped with the panel."""

from collections.abc import Mapping
from typing import Any

import pytest

from flatrun_core.errors import Conflict
from flatrun_core.jobs import INTERRUPTED
from flatrun_core.ports.scheduling import JobContext

# --- exclusive, locks ------------------------------------------------------------------------------


def test_an_exclusive_job_keeps_others_out_until_it_ends_however_it_ends(
    bench: Any, alice: Any, ended: Any, wait_until: Any
) -> None:
    runner = bench.runner(workers=1)
    first = runner.submit("wait", {}, exclusive="backup:shop", actor=alice)
    wait_until(lambda: bench.inside)
    with pytest.raises(Conflict) as caught:
        runner.submit("add", {}, exclusive="backup:shop", actor=alice)
    assert caught.value.body()["code"] == "JOB_RUNNING"
    assert caught.value.body()["job_id"] == first.id
    other = runner.submit("wait", {}, exclusive="backup:blog", actor=alice)
    with pytest.raises(Conflict):
        runner.submit("wait", {}, exclusive="backup:blog", actor=alice)
    runner.cancel(other.id)
    runner.cancel(first.id)
    ended(runner, first)
    bench.kind("fail", lambda job: {"x": 1 / 0})
    for _ in range(2):
        ended(runner, runner.submit("fail", {}, exclusive="backup:shop", actor=alice))
        ended(runner, runner.submit("add", {"a": 1, "b": 1}, exclusive="backup:blog", actor=alice))


def test_two_processes_cannot_both_submit_an_exclusive_job(bench: Any, python: Any) -> None:
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


def test_a_job_waits_for_its_deployment_and_then_holds_it(
    bench: Any, alice: Any, ended: Any, wait_until: Any
) -> None:
    runner = bench.runner()
    with bench.locks.hold("deployment", "shop"):
        job = runner.submit("wait", {}, deployment="shop", actor=alice)
        free = runner.submit("add", {"a": 1, "b": 1}, deployment="blog", actor=alice)
        ended(runner, free)
        assert bench.inside == []
    wait_until(lambda: bench.inside)
    with pytest.raises(Conflict), bench.locks.hold("deployment", "shop"):
        pass
    bench.go.set()
    ended(runner, job)
    with bench.locks.hold("deployment", "shop", wait=5):
        pass


def test_a_job_may_take_its_deployments_lock_itself_too(bench: Any, alice: Any, ended: Any) -> None:
    def nested(job: JobContext) -> None:
        with bench.locks.hold("deployment", "shop"), bench.locks.hold("proxy"):
            pass

    bench.kind("nested", nested)
    runner = bench.runner()
    assert ended(runner, runner.submit("nested", {}, deployment="shop", actor=alice)).status == "completed"


# --- cancelling and stopping -----------------------------------------------------------------------


def test_cancelling_takes_a_queued_job_out(bench: Any, alice: Any, ended: Any) -> None:
    runner = bench.runner(start=False)
    job = runner.submit("add", {"a": 1, "b": 1}, exclusive="x", actor=alice)
    assert runner.cancel(job.id).status == "cancelled"
    assert runner.cancel(job.id).status == "cancelled"
    runner.start()
    ended(runner, runner.submit("add", {"a": 1, "b": 1}, exclusive="x", actor=alice))
    assert runner.get(job.id).started_at is None


def test_a_running_job_is_asked_to_stop_and_counts_as_cancelled_when_it_did(
    bench: Any, alice: Any, ended: Any, wait_until: Any
) -> None:
    runner = bench.runner()
    job = runner.submit("wait", {}, actor=alice)
    wait_until(lambda: bench.inside)
    assert runner.cancel(job.id).status == "running"
    done = ended(runner, job)
    assert (done.status, done.result, done.error) == ("cancelled", {"stopped": True}, "")
    assert bench.failed == []


def test_a_job_that_does_not_look_ends_as_it_ends(
    bench: Any, alice: Any, ended: Any, wait_until: Any
) -> None:
    def deaf(job: JobContext) -> Mapping[str, Any]:
        bench.inside.append(job.id)
        bench.go.wait(10)
        return {"whole": True}

    bench.kind("deaf", deaf)
    runner = bench.runner()
    job = runner.submit("deaf", {}, actor=alice)
    wait_until(lambda: bench.inside)
    runner.cancel(job.id)
    bench.go.set()
    done = ended(runner, job)
    assert (done.status, done.result) == ("completed", {"whole": True})
    assert runner.cancel(job.id) == done


def test_a_cancel_in_another_process_is_seen_within_a_second_or_so(
    bench: Any, alice: Any, ended: Any, wait_until: Any
) -> None:
    runner, elsewhere = bench.runner(), bench.runner(start=False)
    job = runner.submit("wait", {}, actor=alice)
    wait_until(lambda: bench.inside)
    elsewhere.cancel(job.id)
    assert ended(runner, job).status == "cancelled"


def test_a_job_that_waits_for_its_deployment_can_be_cancelled(
    bench: Any, alice: Any, ended: Any, wait_until: Any
) -> None:
    runner = bench.runner()
    with bench.locks.hold("deployment", "shop"):
        job = runner.submit("wait", {}, deployment="shop", actor=alice)
        wait_until(lambda: runner.get(job.id).status == "running")
        runner.cancel(job.id)
        assert ended(runner, job).status == "cancelled"
    assert bench.inside == []


def test_a_job_queued_where_nobody_works_is_found_by_the_process_that_does(
    bench: Any, alice: Any, ended: Any
) -> None:
    runner, command = bench.runner(), bench.runner(start=False)
    assert ended(command, command.submit("add", {"a": 1, "b": 1}, actor=alice)).result == {"sum": 2}
    assert runner.stop(5)


def test_stopping_tells_running_jobs_and_leaves_queued_ones(
    bench: Any, alice: Any, ended: Any, wait_until: Any
) -> None:
    runner = bench.runner(workers=2)
    job = runner.submit("wait", {}, actor=alice)
    wait_until(lambda: bench.inside)
    with bench.locks.hold("deployment", "shop"):
        waiting = runner.submit("add", {"a": 1, "b": 1}, deployment="shop", actor=alice)
        wait_until(lambda: runner.get(waiting.id).status == "running")
        queued = runner.submit("add", {"a": 2, "b": 2}, actor=alice)
        assert runner.stop(10)
    assert (runner.get(job.id).status, runner.get(job.id).error) == ("failed", INTERRUPTED)
    assert (runner.get(waiting.id).status, runner.get(waiting.id).started_at) == ("queued", None)
    assert runner.get(queued.id).status == "queued"
    again = bench.runner(start=False)
    assert again.recover() == []
    again.start()
    assert [ended(again, one).result for one in (waiting, queued)] == [{"sum": 2}, {"sum": 4}]


def test_a_stop_does_not_wait_for_a_job_that_goes_on(bench: Any, alice: Any, wait_until: Any) -> None:
    bench.kind("deaf", lambda job: {"waited": bench.go.wait(10)})
    runner = bench.runner(workers=1)
    job = runner.submit("deaf", {}, actor=alice)
    wait_until(lambda: runner.get(job.id).status == "running")
    assert not runner.stop(0.1)
    assert runner.get(job.id).status == "running"
