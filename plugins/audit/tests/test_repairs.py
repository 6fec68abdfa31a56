"""Somebody writes into the audit's tables: the panel goes on and says so; what is foreign is named."""

import io
import json
from typing import Any

import pytest

from flatrun_audit import soundness
from flatrun_audit.canonical import ZERO, sealed
from flatrun_audit.reading import verify_export
from flatrun_audit.verifying import ChainCheck, Report
from flatrun_core.ports.auth import RECORD, RecordedEvent


def fill(bench: Any, number: int = 5) -> None:
    for index in range(number):
        assert bench.change(f"t{index}").status_code == 200


def repairs(bench: Any) -> list[dict[str, Any]]:
    return [event for event in bench.events() if event["action"] == "audit.repair"]


def exported(bench: Any, *, oldest_first: bool = False) -> Report:
    events = bench.export().get_json()
    return verify_export(io.StringIO(json.dumps(events[::-1] if oldest_first else events)), ChainCheck())


@pytest.mark.parametrize("numbers", [[6], [6, 7], [7], [9, 60], [2**62], [2**63 - 1], [-5], [0], [6, -1]])
def test_rows_beside_the_chain_are_named_and_everything_goes_on(
    bench: Any, numbers: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    fill(bench)
    for number in numbers:
        bench.insert(number)
    report = bench.verify()
    assert (report.broken.id, report.foreign, report.fault) == (min(numbers), len(numbers), None)
    assert report.broken.reason.startswith("it is not the panel's")
    assert bench.change("after").status_code == 200
    bench.services.get(RECORD).write(RecordedEvent("users.reset_password", "user"))
    assert bench.change("again").status_code == 200
    near = [number for number in numbers if 5 < number < 100]
    assert len(repairs(bench)) == bool(near)
    if near:
        (event,) = repairs(bench)
        assert event["id"] == max(near) + 1
        assert event["metadata"]["repair"] == {
            "after": 5, "last": max(near), "rows": len(near), "head": "",
        }  # fmt: skip
        assert "were not written by the panel" in event["error_message"]
        assert "somebody wrote into the tables of the audit" in caplog.text
    report = bench.verify()
    assert (report.broken.id, report.foreign, report.fault) == (min(numbers), len(numbers), None)


def test_a_foreign_row_that_is_like_another_in_everything_is_no_matter(bench: Any) -> None:
    fill(bench)
    for (name,) in bench.sql("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE UNIQUE INDEX%event_id%'"):
        bench.sql(f"DROP INDEX {name}")
    bench.insert(6, event_id=bench.row(5).event_id)
    assert bench.change().status_code == 200
    report = bench.verify()
    assert (report.broken.id, report.foreign, report.fault) == (6, 1, None)


def test_behind_a_foreign_row_the_rest_is_verified_too(bench: Any) -> None:
    fill(bench)
    bench.insert(6)
    fill(bench, 3)
    bench.sql("UPDATE audit_event SET actor_name = 'eve' WHERE id = 9")
    report = bench.verify()
    assert (report.broken.id, report.fault.id) == (6, 9)
    bench.sql("UPDATE audit_event SET actor_name = 'eve' WHERE id = 2")
    assert bench.verify().broken.id == 2


def test_when_foreign_rows_are_taken_away_the_chain_is_whole_again(bench: Any) -> None:
    fill(bench)
    bench.insert(6)
    bench.insert(7)
    fill(bench, 2)
    bench.sql("DELETE FROM audit_event WHERE id IN (6, 7)")
    report = bench.verify()
    assert (report.whole, report.events) == (True, 8)
    assert exported(bench).whole


def test_the_event_of_a_repair_excuses_no_event_of_the_panel(bench: Any) -> None:
    fill(bench)
    bench.insert(6)
    fill(bench, 1)
    bench.sql("DELETE FROM audit_event WHERE id IN (5, 6)")
    assert bench.verify().fault.reason == "event 5 is missing before it"
    made = bench.row(7)
    facts = {"repair": {"after": 4, "head": "", "last": 6, "rows": 1}}
    changed = sealed(made._replace(metadata=json.dumps(facts, sort_keys=True, separators=(",", ":"))))
    bench.sql("UPDATE audit_event SET metadata = ?, hash = ? WHERE id = 7", changed.metadata, changed.hash)
    assert bench.verify().fault.id in (7, 8)


@pytest.mark.parametrize("oldest_first", [False, True])
def test_an_export_with_foreign_rows_names_them_and_verifies_the_rest(bench: Any, oldest_first: bool) -> None:
    fill(bench)
    bench.insert(6)
    fill(bench, 3)
    report = exported(bench, oldest_first=oldest_first)
    assert (report.broken.id, report.foreign, report.fault) == (6, 1, None)


def test_a_cleanup_takes_foreign_rows_along_and_counts_the_others_alone(bench: Any) -> None:
    fill(bench)
    bench.insert(6)
    fill(bench, 3)
    bench.insert(-7)
    assert bench.cleaner.clean(0).deleted == 9
    report = bench.verify()
    assert (report.whole, report.events) == (True, 0)
    fill(bench, 1)
    assert bench.verify().whole
    bench.insert(3)
    report = bench.verify()
    assert (report.broken.id, report.broken.reason) == (
        3,
        "it is not the panel's: it stands before the beginning of the chain",
    )
    fill(bench, 1)
    assert bench.cleaner.clean(0).deleted == 2
    assert bench.verify().whole


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7])
def test_no_batch_of_a_cleanup_ends_among_foreign_rows(
    bench: Any, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(bench, 2)
    bench.insert(3)
    bench.insert(4)
    fill(bench, 2)
    from flatrun_audit import cleanup

    for name in ("BATCH", "SMALLEST", "LARGEST"):
        monkeypatch.setattr(cleanup, name, size)
    monkeypatch.setattr(bench.cleaner, "_pause", lambda seconds: None)
    monkeypatch.setattr(cleanup, "_last_old", lambda head, seconds: 6)
    assert bench.cleaner.clean(0).deleted == 4
    report = bench.verify()
    assert (report.whole, report.events) == (True, 1)


def test_a_cleanup_up_to_foreign_rows_leaves_them_for_the_next_one(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flatrun_audit import cleanup

    fill(bench, 2)
    bench.insert(3)
    fill(bench, 1)
    monkeypatch.setattr(cleanup, "_last_old", lambda head, seconds: 3)
    assert bench.cleaner.clean(0).deleted == 2
    report = bench.verify()
    assert (report.broken.id, report.foreign, report.fault) == (3, 1, None)


SPOILT = [
    "DELETE FROM audit_head",
    "UPDATE audit_head SET last_id = 'x'",
    "UPDATE audit_head SET last_id = -1",
    "UPDATE audit_head SET last_id = 9223372036854775807",
    "UPDATE audit_head SET last_hash = ''",
    "UPDATE audit_head SET last_hash = x'00'",
    "UPDATE audit_head SET events = 'x'",
    "UPDATE audit_head SET signature = 1.5, events = 'x'",
    "UPDATE audit_head SET signature = CAST(x'ff' AS TEXT)",
]


@pytest.mark.parametrize("statement", SPOILT)
def test_a_head_that_is_missing_or_spoilt_is_made_anew_and_the_chain_says_so(
    bench: Any, statement: str
) -> None:
    fill(bench)
    bench.sql(statement)
    assert bench.verify().broken is not None
    assert soundness.finding(bench.database).status == "error"
    fill(bench, 2)
    (event,) = repairs(bench)
    assert (event["id"], event["metadata"]["repair"]["head"], event["success"]) == (6, "missing", False)
    report = bench.verify()
    assert (report.broken.id, report.events, report.fault) == (6, 8, None)
    assert report.broken.reason.startswith("it says that the head row")
    assert not exported(bench).whole
    assert soundness.finding(bench.database).status == "ok"
    bench.cleaner.clean(0)
    assert bench.verify().whole


def test_a_head_is_made_anew_from_a_checkpoint_or_from_nothing(bench: Any) -> None:
    bench.sql("DELETE FROM audit_head")
    fill(bench, 1)
    assert {event["id"] for event in bench.events()} == {2, 1}
    bench.cleaner.clean(0)
    bench.sql("DELETE FROM audit_head")
    fill(bench, 1)
    assert {event["id"] for event in bench.events()} == {4, 3}
    report = bench.verify()
    assert (report.broken.id, report.events, report.fault) == (3, 2, None)


def test_foreign_rows_and_a_missing_head_at_once_lock_nobody_out(bench: Any) -> None:
    fill(bench, 3)
    bench.insert(4, hash="")
    bench.sql("UPDATE audit_event SET hash = CAST(x'ff' AS TEXT) WHERE id = 4")
    bench.sql("DELETE FROM audit_head")
    bench.services.get(RECORD).write(RecordedEvent("users.reset_password", "user"))
    assert bench.verify().broken is not None


def test_going_on_from_a_chain_that_somebody_computed_anew_does_not_sign_it(bench: Any) -> None:
    fill(bench, 3)
    previous = ZERO
    for number in (1, 2, 3):
        entry = sealed(bench.row(number)._replace(actor_name="eve", prev_hash=previous))
        previous = entry.hash
        bench.sql(
            "UPDATE audit_event SET actor_name = 'eve', prev_hash = ?, hash = ? WHERE id = ?",
            entry.prev_hash, entry.hash, number,
        )  # fmt: skip
    bench.sql("UPDATE audit_head SET last_hash = ?", previous)
    assert bench.verify().broken.reason == "the head row is not signed by this panel"
    fill(bench, 2)
    broken = bench.verify().broken
    assert (broken.id, broken.reason) == (
        4,
        "it says that the head row was not signed by this panel when the panel went on from it",
    )


def test_a_head_that_was_put_back_names_the_events_after_it(bench: Any) -> None:
    fill(bench, 2)
    old = bench.sql("SELECT last_id, last_hash, events, signature FROM audit_head")[0]
    fill(bench, 2)
    bench.sql("UPDATE audit_head SET last_id = ?, last_hash = ?, events = ?, signature = ?", *old)
    assert bench.verify().broken.id == 3
    fill(bench, 1)
    assert bench.verify().broken.id == 3


def test_the_doctor_looks_at_both_ends_of_the_chain(bench: Any) -> None:
    assert soundness.finding(bench.database).status == "ok"
    fill(bench, 3)
    found = soundness.finding(bench.database)
    assert (found.status, found.message) == ("ok", "3 events, and the end of the chain is where it should be")
    bench.cleaner.clean(0)
    assert soundness.finding(bench.database).status == "ok"
    fill(bench, 2)
    bench.insert(6)
    assert soundness.finding(bench.database).message == (
        "1 rows before or after the chain were not written by the panel"
    )
    bench.sql("DELETE FROM audit_event WHERE id >= 5")
    assert "event 5, the last one by the head row, is missing" in soundness.finding(bench.database).message


@pytest.mark.parametrize("table", ["audit_event", "audit_head", "audit_checkpoint", "audit_open_request"])
def test_the_doctor_and_the_log_say_when_a_table_is_gone(
    bench: Any, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.sql(f"DROP TABLE {table}")
    found = soundness.finding(bench.database)
    assert found.status == "error"
    assert table in found.message
    bench.app.extensions["flatrun"].hooks.notify("flatrun_on_serve")
    bench.watch.stop()
    assert f"the audit: its tables cannot be read: no such table: {table}" in caplog.text


MARK = "INSERT INTO audit_checkpoint (last_id, last_hash, deleted, total, time, signature) VALUES "
FAR = [
    *(f"UPDATE audit_head SET last_id = {number}" for number in range(2**53 - 3, 2**53 + 2)),
    *(f"UPDATE audit_head SET last_id = {2**53 - 10**9 + more}" for more in (-1, 0, 1)),
    "UPDATE audit_head SET events = 9223372036854775807",
    "UPDATE audit_head SET events = -9223372036854775808",
    *(
        f"DELETE FROM audit_head; {MARK} ({number}, '{'a' * 64}', 1, 1, '', '')"
        for number in ("'abc'", "1.5", "x'ff'", 2**52, 2**53, 2**63 - 1, -5)
    ),
    f"DELETE FROM audit_head; {MARK} (3, '{'a' * 64}', 1, 'abc', '', '')",
    f"DELETE FROM audit_head; {MARK} (3, CAST(x'ff' AS TEXT), 1, 1, '', '')",
]


@pytest.mark.parametrize("statement", FAR)
def test_no_number_in_the_head_or_in_a_checkpoint_locks_anybody_out(bench: Any, statement: str) -> None:
    fill(bench)
    for one in statement.split("; "):
        bench.sql(one)
    fill(bench, 5)
    assert repairs(bench)


@pytest.mark.parametrize("number", [2**52, 2**53 - 10**9, 2**53 - 1, 2**53, 2**63 - 1])
def test_a_row_far_beyond_and_a_missing_head_lock_nobody_out(bench: Any, number: int) -> None:
    fill(bench)
    bench.insert(number)
    bench.sql("DELETE FROM audit_head")
    fill(bench, 3)
    (event,) = repairs(bench)
    assert event["id"] == 6
    report = bench.verify()
    assert (report.foreign, report.fault) == (1, None)


def test_without_events_a_checkpoint_that_is_far_beyond_locks_nobody_out(bench: Any) -> None:
    for number in (2**52, 2**53, 2**63 - 1):
        bench.sql(f"{MARK} (?, ?, 1, 1, '', '')", number, "a" * 64)
    bench.sql("DELETE FROM audit_head")
    fill(bench, 4)


def test_rows_at_the_border_of_those_that_are_stepped_over_are_stepped_over(bench: Any) -> None:
    fill(bench, 2)
    bench.insert(2 + 10**9)
    bench.insert(3 + 10**9)
    fill(bench, 3)
    (event,) = repairs(bench)
    assert event["id"] == 4 + 10**9
    assert (bench.verify().foreign, bench.verify().fault) == (2, None)
