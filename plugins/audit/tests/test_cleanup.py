"""Old events go from the beginning, and what is left still verifies."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from flatrun_audit import models, verifying_database
from flatrun_audit.canonical import microseconds
from flatrun_audit.chain import CHAIN, Draft
from flatrun_audit.cleanup import BATCH
from flatrun_audit.reading import verify_export
from flatrun_audit.verifying import FORGED, SIGNED, UNCHECKED, ChainCheck
from flatrun_core.db import now
from flatrun_core.ports.auth import Actor
from flatrun_core.ports.secrets import SIGNING


def write(bench: Any, *days_old: int) -> None:
    moments = [microseconds(now() - timedelta(days=days)) for days in days_old]
    with bench.database.atomic():
        bench.services.get(CHAIN).append([Draft(at, Actor("user", "1"), "x.y", "x") for at in moments])


def kept(bench: Any) -> list[int]:
    return [row[0] for row in bench.sql("SELECT id FROM audit_event ORDER BY id")]


def test_the_default_is_the_retention_and_the_event_of_the_cleanup_stays(make_bench: Any) -> None:
    bench = make_bench(retention_days=7)
    write(bench, 9, 8, 6, 1)
    answer = bench.client.delete("/api/audit/cleanup")
    assert (answer.status_code, answer.get_json()) == (200, {"message": "Cleanup completed", "deleted": 2})
    assert kept(bench) == [3, 4, 5]
    event = bench.events()[0]
    assert event["action"] == "audit.cleanup"
    assert event["metadata"]["deleted"] == 2
    checkpoint = event["metadata"]["checkpoint"]
    assert (checkpoint["last_deleted_id"], checkpoint["deleted"]) == (2, 2)
    report = bench.verify()
    assert (report.whole, report.events) == (True, 3)
    assert [state for _, state in report.checkpoints] == [SIGNED]


@pytest.mark.parametrize("where", ["query", "body"])
def test_older_than_is_in_seconds_and_may_come_in_the_query_or_the_body(bench: Any, where: str) -> None:
    write(bench, 3, 1)
    age = 2 * 86_400
    if where == "query":
        answer = bench.client.delete(f"/api/audit/cleanup?older_than={age}")
    else:
        answer = bench.client.delete("/api/audit/cleanup", json={"older_than": age})
    assert answer.get_json()["deleted"] == 1
    assert kept(bench)[0] == 2


@pytest.mark.parametrize("query", ["?older_than=-1", "?older_than=x", "?older_than=1.5"])
def test_a_bad_age_is_400_and_deletes_nothing(bench: Any, query: str) -> None:
    write(bench, 3)
    assert bench.client.delete(f"/api/audit/cleanup{query}").status_code == 400
    assert bench.client.delete("/api/audit/cleanup", json={"older_than": "x"}).status_code == 400
    assert kept(bench)[0] == 1


def test_an_age_beyond_all_times_deletes_nothing(bench: Any) -> None:
    write(bench, 3)
    body = {"older_than": 10**30}
    assert bench.client.delete("/api/audit/cleanup", json=body).get_json()["deleted"] == 0
    answer = bench.client.delete("/api/audit/cleanup?older_than=900000000000")
    assert (answer.status_code, answer.get_json()["deleted"]) == (200, 0)


def test_zero_deletes_everything_before_and_the_chain_goes_on(bench: Any) -> None:
    write(bench, 3, 2, 1)
    assert bench.client.delete("/api/audit/cleanup?older_than=0").get_json()["deleted"] == 3
    assert kept(bench) == [4]
    bench.change()
    assert bench.verify().whole
    assert bench.client.delete("/api/audit/cleanup?older_than=0").get_json()["deleted"] == 2
    report = bench.verify()
    assert (report.whole, len(report.checkpoints)) == (True, 2)


def test_only_a_beginning_goes_whatever_is_old_behind_it(bench: Any) -> None:
    write(bench, 40, 1, 40, 40)
    assert bench.cleaner.clean().deleted == 1
    assert kept(bench) == [2, 3, 4]


def test_nothing_to_delete_leaves_no_checkpoint(bench: Any) -> None:
    assert bench.cleaner.clean(0).mark is None
    write(bench, 1)
    assert bench.cleaner.clean().deleted == 0
    assert bench.verify().checkpoints == []


def test_a_cleanup_in_batches_that_is_cut_off_leaves_a_chain_that_verifies(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(bench.cleaner, "_pause", pauses.append)
    write(bench, *[40] * (2 * BATCH + 10))
    signed = bench.cleaner._signed
    calls: list[Any] = []

    def once(mark: Any) -> Any:
        calls.append(mark)
        if len(calls) > 1:
            raise OSError("the power went")
        return signed(mark)

    monkeypatch.setattr(bench.cleaner, "_signed", once)
    with pytest.raises(OSError, match="power"):
        bench.cleaner.clean()
    monkeypatch.undo()
    monkeypatch.setattr(bench.cleaner, "_pause", pauses.append)
    assert kept(bench)[0] == BATCH + 1
    assert bench.verify().whole
    assert bench.cleaner.clean().deleted == BATCH + 10
    report = bench.verify()
    assert (report.whole, report.events) == (True, 0)
    assert len(pauses) == 2


def test_an_export_after_a_cleanup_hangs_on_the_checkpoint_in_it(bench: Any) -> None:
    write(bench, 40, 40, 1)
    bench.client.delete("/api/audit/cleanup")
    text = bench.export().get_data(as_text=True)
    signing = bench.services.get(SIGNING)
    states = []
    for read in (signing.read, None, lambda purpose, text: None):
        report = verify_export(io.StringIO(text), ChainCheck(read_signature=read))
        states.append((report.whole, report.unchecked, report.checkpoints[0][1]))
    assert states == [(True, 0, SIGNED), (True, 0, UNCHECKED), (False, 0, FORGED)]


def test_a_checkpoint_that_the_panel_did_not_sign_hides_no_deletion(bench: Any) -> None:
    write(bench, 3, 2, 1)
    (mark_hash,) = bench.sql("SELECT hash FROM audit_event WHERE id = 2")[0]
    bench.sql("DELETE FROM audit_event WHERE id <= 2")
    bench.sql("UPDATE audit_head SET events = 1")
    bench.sql(
        "INSERT INTO audit_checkpoint VALUES (1, 2, ?, 2, 2, '2024-01-01T00:00:00.000000Z', 'x')", mark_hash
    )
    broken = bench.verify().broken
    assert (broken.id, broken.reason) == (3, "the checkpoint before it is not signed by this panel")


def test_the_timer_cleans_as_the_system_and_says_nothing_when_nothing_went(
    bench: Any, run_timer: Any
) -> None:
    write(bench, 40, 1)
    run_timer(bench.app, "audit.cleanup")
    event = bench.events()[0]
    assert (event["action"], event["actor_type"], event["metadata"]["deleted"]) == (
        "audit.cleanup",
        "system",
        1,
    )
    assert event["metadata"]["older_than"] == 30 * 86_400
    run_timer(bench.app, "audit.cleanup")
    assert len(bench.events()) == 2
    assert bench.verify().whole


def test_the_timer_leaves_everything_while_the_audit_is_off(make_bench: Any, run_timer: Any) -> None:
    bench = make_bench(enabled=False)
    write(bench, 40)
    run_timer(bench.app, "audit.cleanup")
    assert kept(bench) == [1]


def test_a_verification_sees_one_moment_whatever_is_cleaned_up_or_written_meanwhile(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying_database, "BATCH", 2)
    write(bench, *[40] * 6, 1)
    read = models.Event.rows
    calls: list[int] = []

    def interrupted(first: int, last: int, limit: int) -> Any:
        calls.append(first)
        if len(calls) == 2:
            with ThreadPoolExecutor(1) as elsewhere:
                assert elsewhere.submit(bench.cleaner.clean).result().deleted == 6
                elsewhere.submit(bench.change).result()
        return read(first, last, limit)

    monkeypatch.setattr(models.Event, "rows", interrupted)
    report = bench.verify()
    assert (report.whole, report.events, report.checkpoints) == (True, 7, [])
    monkeypatch.undo()
    assert (bench.verify().whole, bench.verify().events) == (True, 2)


def test_a_time_to_come_holds_back_no_other_event(bench: Any) -> None:
    write(bench, 40, -400, 40, 35, 1, -400, 1)
    assert bench.cleaner.clean().deleted == 4
    assert kept(bench) == [5, 6, 7]
    assert bench.verify().whole


def test_of_a_time_to_come_alone_nothing_is_known_and_zero_takes_it(bench: Any) -> None:
    write(bench, 40, -400)
    assert bench.cleaner.clean().deleted == 1
    assert bench.cleaner.clean().deleted == 0
    assert bench.cleaner.clean(0).deleted == 1
    assert kept(bench) == []
    bench.change()
    assert bench.verify().whole


def test_batches_grow_or_shrink_to_the_time_that_they_take(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bench, *[40] * 12_000)
    times = iter([0.0, 0.0625, 0.1, 1.1, 1.2, 1.21, 1.3, 1.31])
    pauses: list[float] = []
    monkeypatch.setattr(bench.cleaner, "_clock", lambda: next(times))
    monkeypatch.setattr(bench.cleaner, "_pause", pauses.append)
    sizes: list[int] = []
    real = models.Event.end_of

    def watched(above: int, up_to: int, limit: int) -> Any:
        sizes.append(limit)
        return real(above, up_to, limit)

    monkeypatch.setattr(models.Event, "end_of", watched)
    assert bench.cleaner.clean().deleted == 12_000
    assert sizes[:3] == [BATCH, 4 * BATCH, BATCH]
    assert pauses == [pytest.approx(0.11), pytest.approx(0.5)]


def test_cleanups_count_what_all_of_them_deleted_and_a_checkpoint_that_went_is_missed(bench: Any) -> None:
    for _ in range(3):
        write(bench, 40, 40)
        bench.cleaner.clean(0)
    report = bench.verify()
    assert [(mark.deleted, mark.total) for mark, _ in report.checkpoints] == [(2, 2), (2, 4), (2, 6)]
    bench.sql("DELETE FROM audit_checkpoint WHERE last_id = 4")
    broken = bench.verify().broken
    assert (broken.id, broken.reason) == (6, "a checkpoint before this one is missing")


def test_cleanups_at_once_count_each_event_once(bench: Any) -> None:
    write(bench, *[40] * 9000)
    with ThreadPoolExecutor(3) as pool:
        cleaned = list(pool.map(lambda _: bench.cleaner.clean(), range(3)))
    assert sum(one.deleted for one in cleaned) == 9000
    report = bench.verify()
    assert report.whole, report.broken
    assert report.checkpoints[-1][0].total == 9000


@pytest.mark.parametrize("column", ["last_id", "last_hash", "deleted", "total", "time", "signature"])
def test_a_checkpoint_that_holds_something_else_is_named(bench: Any, column: str) -> None:
    write(bench, 40)
    bench.cleaner.clean(0)
    bench.sql(f"UPDATE audit_checkpoint SET {column} = x'00'")
    assert bench.verify().broken.reason.startswith("a checkpoint was changed")
