"""The audit on days when things go wrong: the disk is full, the panel is killed."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flatrun_e2e.panel import PanelProcess

from flatrun_audit import plugin
from flatrun_audit.canonical import Entry
from flatrun_audit.verifying import Report
from flatrun_audit.verifying_database import verify_database
from flatrun_core.ports.secrets import SIGNING
from flatrun_core.ports.storage import DATABASE
from flatrun_core.storage import sqlite_url
from flatrun_core.testing.client import ADMIN_KEY, ApiClient


@pytest.fixture
def app(small_disk: Path, flatrun_app: Callable[..., Flask]) -> Iterator[Flask]:
    """Return a panel whose database is on a disk of 512 KiB."""
    settings = {"database": sqlite_url(small_disk / "panel.db")}
    app = flatrun_app(plugins=[plugin], settings=settings)
    yield app
    app.extensions["flatrun"].database.close()


def fill(folder: Path) -> Path:
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            return path


def verified(app: Flask) -> Report:
    services = app.extensions["flatrun"].services
    return verify_database(services.get(DATABASE), services.get(SIGNING).read)


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def exported(client: ApiClient) -> tuple[int, str]:
    """A change that needs nothing but its record."""
    answer = client.post("/api/audit/export", json={"limit": 1, "action": "x" * 2000})
    return answer.status_code, answer.get_json()["code"] if answer.status_code != 200 else ""


def test_on_a_full_disk_changes_are_refused_until_there_is_space_and_the_chain_stays_whole(
    small_disk: Path, app: Flask
) -> None:
    client = ApiClient(app, ADMIN_KEY)
    assert exported(client) == (200, "")
    filler = fill(small_disk)
    answers = [exported(client) for _ in range(40)]
    assert answers[-1] == (503, "AUDIT_UNAVAILABLE")
    assert set(answers) <= {(200, ""), (500, "AUDIT_FAILED"), (503, "AUDIT_UNAVAILABLE")}
    done = answers.count((200, ""))
    assert client.get("/api/audit/events?limit=5").status_code == 200
    filler.unlink()
    wait_until(lambda: exported(client) == (200, ""))
    actions = [event["action"] for event in client.get("/api/audit/events?limit=1000").get_json()["events"]]
    assert actions.count("audit.resume") >= 1
    assert actions.count("audit.export") >= done + 2
    report = verified(app)
    assert report.whole, report.broken


def test_a_panel_that_is_killed_again_and_again_loses_no_event_that_it_answered(
    start_panel: Callable[..., PanelProcess],
) -> None:
    panel = start_panel()
    answered: set[str] = set()

    def work(number: int) -> str:
        try:
            answer = panel.delete(f"/api/deployments/nothing-{number}", timeout=30)
        except requests.RequestException:
            return ""
        return str(answer.headers["X-Request-ID"])

    for round_ in range(4):
        with ThreadPoolExecutor(6) as pool:
            answers = [pool.submit(work, number) for number in range(100)]
            for answer in answers[: 15 + 10 * round_]:
                answer.result()
            panel.kill9()
            answered |= {answer.result() for answer in answers}
        panel.start()
    answered.discard("")
    listed = panel.get("/api/audit/events?action=deployments.delete&limit=1000").json()["events"]
    ids = [event["request_id"] for event in listed]
    assert len(ids) == len(set(ids))
    assert answered <= set(ids)
    cut_off = [event for event in listed if event["request_id"] not in answered]
    assert {event["success"] for event in cut_off} <= {False}
    assert verify(panel)["whole"]


def verify(panel: PanelProcess) -> dict[str, Any]:
    program = Path(sys.executable).with_name("flatrun")
    command = [str(program), "audit", "verify", "--json", "--config", str(panel.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def execute(panel: PanelProcess, statement: str) -> None:
    """What somebody with the file could do."""
    with closing(sqlite3.connect(panel.root / ".flatrun" / "flatrun.db", timeout=10)) as connection:
        connection.execute(statement)
        connection.commit()


NEXT = ", ".join({"id": "id + 1", "event_id": "'foreign'"}.get(name, name) for name in Entry._fields)
LAST = "id = (SELECT MAX(id) FROM audit_event)"
SPOILT = {
    "a row at the end": f"INSERT INTO audit_event ({', '.join(Entry._fields)}) "
    f"SELECT {NEXT} FROM audit_event WHERE {LAST}",
    "no head": "DELETE FROM audit_head",
}


@pytest.mark.parametrize("what", SPOILT)
def test_whatever_was_written_into_the_tables_logins_changes_and_the_host_go_on(
    start_panel: Callable[..., PanelProcess], what: str
) -> None:
    panel = start_panel(env={"FLATRUN_ADMIN_PASSWORD": "the one of before"})
    execute(panel, SPOILT[what])
    program = str(Path(sys.executable).with_name("flatrun"))
    command = [program, "users", "reset-password", "admin", "--generate", "--config", str(panel.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    account = {"username": "admin", "password": done.stdout.split()[-1]}
    assert requests.post(f"{panel.url}/api/auth/login", json=account, timeout=30).status_code == 200
    assert panel.delete("/api/deployments/nothing").status_code == 404
    assert panel.get("/api/audit/events?action=audit.repair").json()["total"] == 1
    found = verify(panel)
    assert found["broken"] is not None
    assert found["own_events_broken"] is None
