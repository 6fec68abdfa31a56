"""Fills a panel's SQLite database with as many chained events as a benchmark wants.

    python benchmarks/lib/audit_events.py <deployments_path>/.flatrun/flatrun.db 1000000

The database must have been made by a panel that is not running; a million events take about a minute.
"""

import random
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from flatrun_audit.canonical import Entry, sealed
from flatrun_audit.chain import HEAD_PURPOSE, head_value
from flatrun_core.signing import PanelSigning

DAYS = 30
KINDS = (
    "deployment",
    "container",
    "template",
    "user",
    "api_key",
    "auth",
    "settings",
    "backup",
    "domain",
    "database",
)
ACTIONS = [(kind, f"{kind}s.{verb}") for kind in KINDS for verb in ("create", "update", "delete", "start")]
WEIGHTS = [10 if number < 6 else 1 for number in range(len(ACTIONS))]
COLUMNS = ", ".join(Entry._fields)
ACTORS = (
    [("user", str(number), f"user-{number}", 35) for number in range(1, 21)]
    + [("api_key", f"key_{number:012x}", f"user-{number}", 7) for number in range(1, 31)]
    + [("anonymous", "", "", 80), ("system", "flatrun", "flatrun", 20)]
)
BODY = '{"name":"shop","password":"[REDACTED]","compose":{"length":412,"sha256":"%064x"}}'


@dataclass(frozen=True)
class Filled:
    """What was written, and filters that find something in it."""

    events: int
    first: int
    last: int
    common: dict[str, str]


def fill(database: Path, count: int, *, secret_key: str = "", seed: int = 1) -> Filled:
    """Append ``count`` events of the last thirty days to the chain; the panel must not be running.

    ``secret_key`` is the panel's ``auth.secret_key``; without one its signing key is beside the database.
    """
    signing = PanelSigning(lambda: secret_key, database.parent)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = off")
        connection.execute("PRAGMA cache_size = -400000")
        indexes = _without_indexes(connection)
        connection.execute("BEGIN IMMEDIATE")
        last, last_hash = connection.execute("SELECT last_id, last_hash FROM audit_head").fetchone()
        marks = ", ".join("?" * len(Entry._fields))
        ends = [(last, last_hash)]
        connection.executemany(
            f"INSERT INTO audit_event ({COLUMNS}) VALUES ({marks})",
            _chained(last, last_hash, count, seed, ends),
        )
        connection.execute(
            "UPDATE audit_head SET last_id = ?, last_hash = ?, events = events + ?, signature = ?",
            [*ends[-1], count, signing.sign(HEAD_PURPOSE, head_value(*ends[-1]))],
        )
        for statement in indexes:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    common = {
        "actor_id": "3",
        "action": "deployments.create",
        "resource_type": "deployment",
        "actor_type": "user",
    }
    return Filled(count, last + 1, last + count, common)


def _without_indexes(connection: sqlite3.Connection) -> list[str]:
    """Drop them, because filling them at the end is faster; the statements that make them again."""
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'audit_event' "
        "AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in found:
        connection.execute(f'DROP INDEX "{name}"')
    return [sql for _, sql in found]


def _chained(
    last: int, last_hash: str, count: int, seed: int, ends: list[tuple[int, str]]
) -> Iterator[Entry]:
    chance = random.Random(seed)
    now = int(time.time() * 1_000_000)
    step = DAYS * 86_400 * 1_000_000 // max(count, 1)
    actions = chance.choices(ACTIONS, WEIGHTS, k=count)
    actors = chance.choices(ACTORS, [actor[3] for actor in ACTORS], k=count)
    for index in range(count):
        last += 1
        (kind, action), (actor_type, actor_id, actor_name, _) = actions[index], actors[index]
        success = chance.random() < 0.92
        entry = sealed(
            Entry(
                action=action,
                actor_id=actor_id,
                actor_name=actor_name,
                actor_type=actor_type,
                api_key_prefix=f"flatrun_{actor_id[4:8]}" if actor_type == "api_key" else "",
                client_ip=f"10.0.{chance.randrange(2)}.{chance.randrange(250)}",
                error_message="" if success else "It is in use",
                event_id=str(uuid.UUID(int=chance.getrandbits(128))),
                hash="",
                id=last,
                metadata="{}",
                method="POST",
                path=f"/api/{kind}s/x{index % 200}",
                prev_hash=last_hash,
                request_body=BODY % index,
                request_id=f"{chance.getrandbits(128):032x}",
                resource_id=f"x{index % 200}",
                resource_type=kind,
                response_status=200 if success else 409,
                response_time_ms=chance.randrange(1, 100),
                success=success,
                timestamp=now - (count - index) * step,
                user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
            )
        )
        last_hash = entry.hash
        ends[:] = [(last, last_hash)]
        yield entry


if __name__ == "__main__":
    print(fill(Path(sys.argv[1]), int(sys.argv[2])))
