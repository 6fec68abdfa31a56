"""What the audit costs a change, and how long a million events take to be asked and verified."""

import hashlib
import http.client
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from lib.audit_events import fill
from lib.report import Row
from lib.stage import Stage, request
from lib.timing import interleaved, ran, seconds

# The cheapest change there is: one row of the own account.
CHANGE = "/api/users/me"
# Two filters each: a common pair, one without anything found, a rare one, and a range of time.
FILTERS = (
    {"resource_type": "deployment", "success": "true"},
    {"action": "deployments.start", "success": "false"},
    {"actor_id": "3", "resource_type": "deployment"},
    {"actor_type": "user", "start_time": "{week}"},
)


def run(stage: Stage) -> list[Row]:
    """A change with and without the audit, in turns; then a panel with a million events."""
    return [_write(stage), *_large(stage)]


def _write(stage: Stage) -> Row:
    folder = stage.config.parent / "silent"
    folder.mkdir()
    with Stage(folder, quick=stage.quick) as silent:
        silent.configure("audit: {enabled: false}")
        sides = []
        for panel in (silent, stage):
            panel.serve()
            sides.append(_changer(panel))
        without, recorded = interleaved(200 if stage.quick else 2000, *sides)
    stage.stop()
    added = (recorded - without) * 1000
    against = f"without audit: {without * 1000:.2f} ms"
    return Row("audit write, added to a change", added, "ms", 2, "low", against)


def _changer(stage: Stage) -> Callable[[], None]:
    account = {"username": "bench", "password": "correct horse battery", "role": "viewer"}
    _must(201, *stage.call("POST", "/api/users", account))
    token = _must(200, *stage.call("POST", "/api/auth/login", account))["token"]
    connection = stage.connection()
    return lambda: _must(200, *request(connection, token, "PUT", CHANGE, {"email": "bench@example.com"}))


def _large(stage: Stage) -> list[Row]:
    count = 50_000 if stage.quick else 1_000_000
    database = stage.root / ".flatrun" / "flatrun.db"
    fill(database, count)
    stage.serve()
    connection = stage.connection()
    repeat = 5 if stage.quick else 15
    rows = []
    for filters in FILTERS:
        week = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 7 * 86400))
        chosen = {name: value.format(week=week) for name, value in filters.items()}
        panel, by_hand = interleaved(
            repeat, _asked(connection, stage.key, chosen), _queried(database, chosen)
        )
        against = f"the same query without an index: {by_hand * 1000:.0f} ms"
        rows.append(Row(f"events by {' and '.join(chosen)}", panel * 1000, "ms", 50, "low", against))
    stage.stop()
    return [*rows, *_verified(stage, database, count)]


def _asked(connection: http.client.HTTPConnection, key: str, filters: dict[str, str]) -> Callable[[], object]:
    path = f"/api/audit/events?{urlencode(filters)}"
    return lambda: _must(200, *request(connection, key, "GET", path))


def _queried(database: Path, filters: dict[str, str]) -> Callable[[], object]:
    """The page and the count as somebody would write them on a table of events, without its indexes."""
    terms, values = [], []
    for name, value in filters.items():
        if name == "start_time":
            terms.append("+timestamp >= ?")
            values.append(str(int((time.time() - 7 * 86400) * 1_000_000)))
        elif name == "success":
            terms.append(f"+success = {int(value == 'true')}")
        else:
            terms.append(f"+{name} = ?")
            values.append(value)
    where = " AND ".join(terms)

    def query() -> None:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"SELECT COUNT(*) FROM audit_event WHERE {where}", values).fetchone()
            page = f"SELECT * FROM audit_event WHERE {where} ORDER BY id DESC LIMIT 50"
            connection.execute(page, values).fetchall()

    return query


def _verified(stage: Stage, database: Path, count: int) -> list[Row]:
    program = str(Path(sys.executable).parent / "flatrun")
    taken = seconds(lambda: ran(program, "audit", "verify", "--config", str(stage.config)))
    hashed = seconds(lambda: _hashed(database))
    against = f"reading and hashing the same rows alone: {hashed:.1f} s"
    return [Row(f"verify {count:,} events", taken, "s", 15, "low", against)]


def _hashed(database: Path) -> None:
    """What cannot be spared: every row read, and as many bytes hashed."""
    with closing(sqlite3.connect(database)) as connection:
        for row in connection.execute("SELECT * FROM audit_event ORDER BY id"):
            hashlib.sha256(repr(row).encode()).hexdigest()


def _must(status: int, found: int, answer: dict[str, str]) -> dict[str, str]:
    """An answer that has to be of that status."""
    if found != status:
        raise RuntimeError(f"answered {found}: {answer}")
    return answer
