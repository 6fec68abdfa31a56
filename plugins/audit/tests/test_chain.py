"""The chain in the database: whatever writes, it has one end; whoever changes it is found."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flatrun_audit.canonical import Entry
from flatrun_core.ports.auth import RECORD, RecordedEvent

WRITER = """
import sys
from pathlib import Path
from flatrun_audit import models
from flatrun_audit.chain import Chain, Draft
from flatrun_core.db import open_database
from flatrun_core.ports.auth import Actor
from flatrun_core.signing import PanelSigning
from flatrun_core.storage import SqliteStorage, sqlite_url

path, number = Path(sys.argv[1]), int(sys.argv[2])
database = open_database(sqlite_url(path), [SqliteStorage()])
database.bind(models.ALL)
chain = Chain(PanelSigning(lambda: "", path.parent))
for count in range(number):
    with database.atomic():
        chain.append([Draft(count, Actor("system"), "x.y", "x", resource_id=str(count))])
    print(count, flush=True)
"""


@pytest.fixture
def writer(bench: Any) -> Callable[[int], subprocess.Popen[str]]:
    """Return a function that starts a process that writes so many events, and prints each."""
    bench.change()

    def start(number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, str(bench.path), str(number)], stdout=subprocess.PIPE, text=True
        )

    return start


def filled(bench: Any, number: int = 5) -> list[dict[str, Any]]:
    for index in range(number):
        bench.change(f"t{index}")
    events: list[dict[str, Any]] = bench.events()
    return events[::-1]


def test_each_event_carries_the_hash_of_the_one_before(bench: Any) -> None:
    events = filled(bench)
    assert [event["id"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["prev_hash"] for event in events] == ["0" * 64, *(event["hash"] for event in events[:-1])]
    report = bench.verify()
    assert (report.whole, report.events, report.first.id, report.last.id) == (True, 5, 1, 5)


def test_an_empty_chain_is_whole(bench: Any) -> None:
    assert bench.verify().whole


CHANGES = [
    ("UPDATE audit_event SET action = 'nothing.happened' WHERE id = 3", 3, "it was changed"),
    ("UPDATE audit_event SET success = 0 WHERE id = 1", 1, "it was changed"),
    ("UPDATE audit_event SET request_body = 'x' WHERE id = 5", 5, "it was changed"),
    ("UPDATE audit_event SET timestamp = timestamp + 1 WHERE id = 2", 2, "it was changed"),
    ("UPDATE audit_event SET metadata = '{ }' WHERE id = 2", 2, "it was changed"),
    ("UPDATE audit_event SET timestamp = 9000000000000000000 WHERE id = 2", 2, "it was changed"),
    ("UPDATE audit_event SET response_status = 'two hundred' WHERE id = 2", 2, "it was changed"),
    ("UPDATE audit_event SET action = x'ff00' WHERE id = 2", 2, "it was changed"),
    (
        "UPDATE audit_event SET action = CAST(x'ff' AS TEXT) WHERE id = 3",
        3,
        "it was changed: it cannot be read",
    ),
    ("DELETE FROM audit_event WHERE id = 3", 4, "event 3 is missing before it"),
    ("DELETE FROM audit_event WHERE id IN (2, 3)", 4, "events 2 to 3 are missing before it"),
    ("DELETE FROM audit_event WHERE id = 1", 2, "event 1 is missing before it and no checkpoint"),
    ("DELETE FROM audit_event WHERE id = 5", 5, "event 5 is missing at the end"),
    ("DELETE FROM audit_event WHERE id > 2", 5, "events 3 to 5 are missing at the end"),
    ("DELETE FROM audit_event", 5, "events 1 to 5 are missing at the end"),
    (
        "UPDATE audit_head SET last_hash = prev_hash FROM audit_event WHERE audit_event.id = 5",
        5,
        "the head row",
    ),
    ("UPDATE audit_head SET events = 4", 5, "the head row counts 4 events"),
    ("UPDATE audit_head SET signature = ''", 5, "the head row is not signed"),
    ("DELETE FROM audit_head", 0, "the head row, which tells where the chain ends, is missing"),
]


ODD = ["NULL", "''", "5", "1.5", "'text'", "x'00'", "x''", "-1", "'1'", "9223372036854775807"]


def without_constraints(bench: Any) -> None:
    """The table as somebody could make it who can write the file: no types, nothing refused."""
    bench.sql("ALTER TABLE audit_event RENAME TO kept")
    bench.sql(
        f"CREATE TABLE audit_event ({', '.join(Entry._fields).replace(' id,', ' id INTEGER PRIMARY KEY,')})"
    )
    names = ", ".join(Entry._fields)
    bench.sql(f"INSERT INTO audit_event ({names}) SELECT {names} FROM kept")
    bench.sql("DROP TABLE kept")


@pytest.mark.parametrize("column", [name for name in Entry._fields if name != "id"])
def test_whatever_odd_value_stands_in_a_column_it_is_found_and_the_list_goes_on(
    bench: Any, column: str
) -> None:
    filled(bench, 2)
    without_constraints(bench)
    assert bench.verify().whole
    (before,) = bench.sql(f"SELECT {column} FROM audit_event WHERE id = 1")[0]
    for value in [*ODD, f"CAST({column} AS BLOB)", "CAST(1 AS REAL)", "CAST(0 AS REAL)"]:
        bench.sql(f"UPDATE audit_event SET {column} = {value} WHERE id = 1")
        (now,) = bench.sql(f"SELECT {column} FROM audit_event WHERE id = 1")[0]
        broken = bench.verify().broken
        if (type(now), now) == (type(before), before):
            assert broken is None
        else:
            assert broken is not None, value
            assert broken.id == 1
        assert len(bench.events()) == 2
        bench.sql(f"UPDATE audit_event SET {column} = ? WHERE id = 1", before)
    assert bench.verify().whole


@pytest.mark.parametrize(("value", "outcome"), [("''", "no"), ("5", "done"), ("1.5", "done"), ("'x'", "no")])
def test_an_outcome_that_only_looks_alike_is_found(bench: Any, value: str, outcome: str) -> None:
    bench.change(outcome="conflict" if outcome == "no" else "done")
    bench.sql(f"UPDATE audit_event SET success = {value}")
    assert bench.verify().broken.id == 1


@pytest.mark.parametrize(("statement", "number", "reason"), CHANGES, ids=[change[0] for change in CHANGES])
def test_a_change_behind_the_panels_back_is_found_and_named(
    bench: Any, statement: str, number: int, reason: str
) -> None:
    events = filled(bench)
    bench.sql(statement)
    broken = bench.verify().broken
    assert broken is not None
    assert broken.id == number
    assert broken.reason.startswith(reason) or reason in broken.reason
    assert broken.event_id in ("", *(event["event_id"] for event in events if event["id"] == number))


def test_two_events_that_changed_places_are_found(bench: Any) -> None:
    filled(bench)
    bench.sql("UPDATE audit_event SET id = 100 WHERE id = 2")
    bench.sql("UPDATE audit_event SET id = 2 WHERE id = 3")
    bench.sql("UPDATE audit_event SET id = 3 WHERE id = 100")
    assert bench.verify().broken.id == 2


def resealed(bench: Any, statement: str) -> None:
    """Change events and compute every hash anew, as somebody would who has the database and this program."""
    from flatrun_audit.canonical import ZERO, Entry, sealed

    bench.sql(statement)
    previous = ZERO
    for row in bench.sql(f"SELECT {', '.join(Entry._fields)} FROM audit_event ORDER BY id"):
        entry = sealed(Entry._make(row)._replace(prev_hash=previous))
        previous = entry.hash
        bench.sql(
            "UPDATE audit_event SET prev_hash = ?, hash = ? WHERE id = ?",
            entry.prev_hash,
            entry.hash,
            entry.id,
        )
    bench.sql("UPDATE audit_head SET last_hash = ?", previous)


def test_a_chain_that_was_computed_anew_lacks_the_panels_signature(bench: Any) -> None:
    filled(bench)
    resealed(bench, "UPDATE audit_event SET actor_name = 'somebody else'")
    assert bench.verify(keyed=False).whole
    assert bench.verify().broken.reason == "the head row is not signed by this panel"


def test_threads_that_write_at_once_lose_nothing_and_make_one_chain(bench: Any) -> None:
    def work(number: int) -> int:
        return bench.change(f"t{number}").status_code  # type: ignore[no-any-return]

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(work, range(200))) == {200}
    report = bench.verify()
    assert (report.whole, report.events) == (True, 200)
    assert sorted(row[0] for row in bench.sql("SELECT resource_id FROM audit_event")) == sorted(
        f"t{number}" for number in range(200)
    )


def test_processes_that_write_at_once_lose_nothing_and_make_one_chain(bench: Any, writer: Any) -> None:
    processes = [writer(60) for _ in range(4)]
    for number in range(40):
        bench.services.get(RECORD).write(RecordedEvent("x.y", "x", str(number)))
    assert [len(process.communicate()[0].split()) for process in processes] == [60] * 4
    report = bench.verify()
    assert (report.whole, report.events) == (True, 1 + 40 + 240)


def test_a_writer_that_is_killed_at_any_moment_leaves_a_whole_chain(bench: Any, writer: Any) -> None:
    said = 1
    for lines in range(1, 12):
        process = writer(100_000)
        assert process.stdout is not None
        for _ in range(lines * 3):
            process.stdout.readline()
        process.kill()
        said += lines * 3
        process.stdout.close()
        process.wait()
        report = bench.verify()
        assert report.whole, report.broken
        assert report.events >= said
    bench.change()
    assert bench.verify().whole
