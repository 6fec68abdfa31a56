"""The audit with its chain on PostgreSQL, written by two panels at once."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from flatrun_e2e.panel import PanelProcess
from flatrun_e2e.postgres import Cluster

from flatrun_audit.canonical import Entry

SIGNED_BY = "the key that both panels sign with"

Pair = tuple[PanelProcess, PanelProcess]
Rows = Callable[[str], list[Any]]


@pytest.fixture
def url(server: Cluster) -> str:
    return server.create()


@pytest.fixture
def panels(url: str, start_panel: Callable[..., PanelProcess]) -> Pair:
    """Two panels on one database."""
    settings = {"auth": {"secret_key": SIGNED_BY}, "database": url}
    return start_panel(settings=settings), start_panel(settings=settings)


@pytest.fixture
def rows(url: str) -> Iterator[Rows]:
    """Ask the database, or change it."""
    with psycopg.connect(url, autocommit=True) as connection:

        def ask(statement: str) -> list[Any]:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        yield ask


def refused(panel: PanelProcess, name: object) -> str:
    """A change that is recorded and changes nothing; its request id."""
    answer = panel.delete(f"/api/deployments/{name}")
    assert answer.status_code == 404, answer.text
    return str(answer.headers["X-Request-ID"])


def verify(panel: PanelProcess) -> tuple[int, dict[str, Any]]:
    program = Path(sys.executable).with_name("flatrun")
    command = [str(program), "audit", "verify", "--json", "--config", str(panel.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_two_panels_that_write_at_once_make_one_chain_and_lose_nothing(panels: Pair, rows: Rows) -> None:
    with ThreadPoolExecutor(12) as pool:
        sent = list(pool.map(lambda n: refused(panels[n % 2], f"nothing-{n}"), range(150)))
    recorded = [
        row[0] for row in rows("SELECT request_id FROM audit_event WHERE action = 'deployments.delete'")
    ]
    assert sorted(recorded) == sorted(sent)
    ids = [row[0] for row in rows("SELECT id FROM audit_event ORDER BY id")]
    assert ids == list(range(1, len(ids) + 1))
    code, report = verify(panels[0])
    assert (code, report["whole"], report["events"]) == (0, True, len(ids))
    assert rows("SELECT COUNT(*) FROM audit_open_request") == [(0,)]


def test_lists_filters_statistics_exports_and_cleanups_work_alike(panels: Pair) -> None:
    one, other = panels
    for number in range(5):
        refused(one, f"nothing-{number}")
    query = "resource_id=nothing-3&success=false&start_time=2020-01-01T00:00:00Z&action=deployments.delete"
    found = other.get(f"/api/audit/events?{query}").json()
    assert (found["total"], found["events"][0]["resource_id"]) == (1, "nothing-3")
    assert other.get(f"/api/audit/events/{found['events'][0]['event_id']}").json() == found["events"][0]
    stats = other.get("/api/audit/stats").json()
    assert stats["by_action"]["deployments.delete"] == 5
    assert stats["events_trend"][-1]["count"] == stats["total_events"] == stats["last_24_hours"]
    assert stats["failure_count"] == 5
    exported = other.post("/api/audit/export", {"action": "deployments.delete"}).json()
    assert [event["resource_id"] for event in exported] == [
        f"nothing-{number}" for number in range(4, -1, -1)
    ]
    assert other.delete("/api/audit/cleanup?older_than=0").json()["deleted"] >= 6
    refused(one, "afterwards")
    code, report = verify(one)
    assert code == 0, report
    assert [mark["state"] for mark in report["checkpoints"]] == ["signed by this panel"]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE audit_event SET actor_name = 'eve' WHERE id = 2", "it was changed"),
        ("DELETE FROM audit_event WHERE id = 1", "event 1 is missing"),
        ("UPDATE audit_event SET success = NOT success WHERE id = 2", "it was changed"),
    ],
)
def test_a_changed_row_is_found_and_named(panels: Pair, rows: Rows, statement: str, reason: str) -> None:
    for number in range(3):
        refused(panels[0], number)
    rows(statement)
    code, report = verify(panels[1])
    assert (code, report["broken"]["id"]) == (1, 2)
    assert report["broken"]["reason"].startswith(reason)


def test_a_panel_that_is_killed_leaves_a_whole_chain_and_its_next_start_tells_of_the_rest(
    panels: Pair, rows: Rows
) -> None:
    one, other = panels

    def work(number: int) -> str:
        try:
            return refused(panels[number % 2], f"nothing-{number}")
        except requests.ConnectionError:
            return ""

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(work, number) for number in range(120)]
        for answer in answers[:30]:
            answer.result()
        one.kill9()
        sent = {answer.result() for answer in answers} - {""}
    assert verify(other)[0] == 0
    one.start()
    recorded = {row[0] for row in rows("SELECT request_id FROM audit_event")}
    assert sent <= recorded
    assert rows("SELECT COUNT(*) FROM audit_open_request") == [(0,)]
    assert verify(one)[0] == 0


COLUMNS = ", ".join(Entry._fields)
FOREIGN = COLUMNS.replace("event_id", "'foreign'").replace(" id,", " id + 1,")


def test_rows_written_by_hand_and_a_lost_head_lock_nobody_out_and_are_named(panels: Pair, rows: Rows) -> None:
    for number in range(3):
        refused(panels[0], number)
    last = rows("SELECT MAX(id) FROM audit_event")[0][0]
    rows(f"INSERT INTO audit_event ({COLUMNS}) SELECT {FOREIGN} FROM audit_event WHERE id = {last}")
    code, report = verify(panels[0])
    assert (code, report["broken"]["id"], report["own_events_broken"]) == (1, last + 1, None)
    refused(panels[0], "after")
    refused(panels[1], "after-too")
    found = panels[0].get("/api/audit/events?action=audit.repair").json()
    assert found["total"] == 1
    assert found["events"][0]["metadata"]["repair"] == {
        "after": last, "head": "", "last": last + 1, "rows": 1,
    }  # fmt: skip
    code, report = verify(panels[1])
    assert (code, report["broken"]["id"], report["own_events_broken"]) == (1, last + 1, None)
    rows(f"DELETE FROM audit_event WHERE id = {last + 1}")
    assert verify(panels[0])[0] == 0
    rows("DELETE FROM audit_head")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: refused(panels[n % 2], f"at-once-{n}"), range(16)))
    found = panels[0].get("/api/audit/events?action=audit.repair").json()
    assert found["events"][0]["metadata"]["repair"]["head"] == "missing"
    assert found["total"] == 2
    code, report = verify(panels[1])
    assert (code, report["broken"]["id"], report["own_events_broken"]) == (1, found["events"][0]["id"], None)
