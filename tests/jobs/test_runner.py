"""Jobs on SQLite: what runs, in which order, and what their records tell."""

import time
from typing import Any

import pytest

from flatrun_core.db import now
from flatrun_core.errors import Failed, NotFound
from flatrun_core.jobs import JobRow
from flatrun_core.ports.scheduling import JobContext


def test_a_job_runs_and_its_record_tells_all_of_it(bench: Any, alice: Any, ended: Any) -> None:
    runner = bench.runner()
    before = now()
    queued = runner.submit("add", {"a": 1, "b": 2}, deployment="shop", actor=alice)
    assert (queued.status, queued.payload, queued.actor) == ("queued", {"a": 1, "b": 2}, alice)
    assert queued.id.isdigit()
    done = ended(runner, queued)
    assert (done.kind, done.status, done.result, done.progress, done.error) == (
        "add",
        "completed",
        {"sum": 3},
        100,
        "",
    )
    assert (done.deployment, done.actor) == ("shop", alice)
    assert done.started_at is not None
    assert done.finished_at is not None
    assert before <= done.created_at <= done.started_at <= done.finished_at <= now()
    assert bench.failed == []


def test_a_failure_keeps_its_sentence_and_tells_whoever_listens(
    bench: Any, caplog: pytest.LogCaptureFixture, alice: Any, ended: Any, wait_until: Any
) -> None:
    def known(job: JobContext) -> None:
        job.progress(40, "pulling")
        raise Failed("The image could not be pulled", code="COMPOSE_FAILED")

    bench.kind("known", known)
    bench.kind("unknown", lambda job: {"x": job.payload["missing"]})
    runner = bench.runner()
    one = ended(runner, runner.submit("known", {}, actor=alice))
    wait_until(lambda: bench.failed)  # the record is written before the event is told
    two = ended(runner, runner.submit("unknown", {}, actor=alice))
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
def test_a_result_that_is_no_json_object_is_a_failure(
    bench: Any, result: Any, alice: Any, ended: Any
) -> None:
    bench.kind("odd", lambda job: result)
    runner = bench.runner()
    done = ended(runner, runner.submit("odd", {}, actor=alice))
    assert (done.status, done.result) == ("failed", {})
    assert done.error


def test_a_payload_that_is_no_json_is_refused_at_once(bench: Any, alice: Any) -> None:
    runner = bench.runner()
    with pytest.raises((TypeError, ValueError)):
        runner.submit("add", {"x": object()}, actor=alice)
    with pytest.raises(LookupError, match="no active plugin registers jobs of the kind 'nothing'"):
        runner.submit("nothing", {}, actor=alice)
    assert runner.list() == []


def test_texts_that_a_database_might_refuse_are_kept_as_far_as_they_can_be(
    bench: Any, alice: Any, ended: Any
) -> None:
    def shout(job: JobContext) -> None:
        job.progress(250, "half \ud800 nul \0 end")
        raise Failed("\0\udfff" + "x" * 100_000)

    bench.kind("shout", shout)
    runner = bench.runner()
    done = ended(runner, runner.submit("shout", {"nul": "\0", "half": "\ud800"}, actor=alice))
    assert (done.progress, done.message) == (100, "half ? nul \ufffd end")
    assert done.error.startswith("\ufffd?xxx")
    assert len(done.error) == 4000
    assert done.payload == {"nul": "\0", "half": "\ud800"}


def test_progress_shows_while_the_job_works_and_is_not_written_each_time(
    bench: Any, monkeypatch: pytest.MonkeyPatch, alice: Any, ended: Any, wait_until: Any
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
    job = runner.submit("busy", {}, actor=alice)
    wait_until(lambda: runner.get(job.id).message.startswith("step"))
    bench.go.set()
    done = ended(runner, job)
    assert (done.progress, done.message) == (100, "step 999")
    assert len(writes) < 20


def test_lists_are_newest_first_and_narrow(bench: Any, alice: Any) -> None:
    runner = bench.runner(start=False)
    for number in range(4):
        runner.submit("add", {"n": number}, deployment="shop" if number % 2 else "blog", actor=alice)
    runner.submit("wait", {}, actor=alice)
    assert [job.payload.get("n") for job in runner.list()] == [None, 3, 2, 1, 0]
    assert [job.payload["n"] for job in runner.list(deployment="shop")] == [3, 1]
    assert [job.payload["n"] for job in runner.list(kinds=["add"], limit=2)] == [3, 2]
    assert runner.list(kinds=["nothing"]) == []


@pytest.mark.parametrize("job_id", ["", "1", "-1", "abc", "9" * 30, "1' OR 1=1", "\u0661", "1\n", "x" * 1000])
def test_an_unknown_job_is_not_found(bench: Any, job_id: str) -> None:
    runner = bench.runner(start=False)
    for call in (runner.get, runner.cancel):
        with pytest.raises(NotFound) as caught:
            call(job_id)
        assert caught.value.code == "JOB_NOT_FOUND"
        assert len(caught.value.message) < 100


def test_jobs_are_done_in_their_order_by_as_many_as_there_are_workers(
    bench: Any, alice: Any, ended: Any, wait_until: Any
) -> None:
    runner = bench.runner(workers=2)
    jobs = [runner.submit("wait", {}, actor=alice) for _ in range(5)]
    wait_until(lambda: len(bench.inside) == 2)
    time.sleep(0.1)
    assert sorted(bench.inside) == [job.id for job in jobs[:2]]
    bench.go.set()
    assert {ended(runner, job).status for job in jobs} == {"completed"}
    assert set(bench.inside) == {job.id for job in jobs}


def test_a_job_submitted_in_a_transaction_exists_when_that_commits(
    bench: Any, alice: Any, ended: Any
) -> None:
    runner = bench.runner()
    with pytest.raises(ZeroDivisionError), bench.database.atomic():  # noqa: PT012 - the transaction is what is tested
        lost = runner.submit("add", {"a": 1, "b": 1}, actor=alice)
        raise ZeroDivisionError
    with pytest.raises(NotFound):
        runner.get(lost.id)
    with bench.database.atomic():
        kept = runner.submit("add", {"a": 1, "b": 1}, actor=alice)
    assert ended(runner, kept).result == {"sum": 2}


def test_a_job_has_a_session_of_its_own(bench: Any, alice: Any, ended: Any) -> None:
    bench.kind("count", lambda job: {"jobs": JobRow.select().count()})
    runner = bench.runner()
    assert ended(runner, runner.submit("count", {}, actor=alice)).result == {"jobs": 1}
