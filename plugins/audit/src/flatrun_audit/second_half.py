"""The second half of a large chain in SQLite, looked at by a process beside the one that verifies.

It only saves time: it answers for a run of events in which nothing is remarkable, and for anything else,
its own failure too, it answers nothing, and whoever asked looks himself.
"""

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from flatrun_audit.canonical import Entry, hash_of
from flatrun_audit.ends import MAX_ID
from flatrun_audit.models import Head, on_sqlite
from flatrun_audit.repairs import ACTION
from flatrun_core import FlatrunError
from flatrun_core.ports.programs import Completed, Programs

WORTH_IT: Final = 100_000
"""Events from which on a second process is worth its start."""
LONGEST: Final = 3600.0  # seconds
_COLUMNS: Final = ", ".join(Entry._fields)
_ACTION, _EVENT_ID, _HASH, _ID, _PREV_HASH, _TIMESTAMP = (
    Entry._fields.index(name) for name in ("action", "event_id", "hash", "id", "prev_hash", "timestamp")
)


@dataclass(frozen=True, slots=True)
class Run:
    """Events that follow one another, each with its own hash: id, UUID, time, and hashes of both ends."""

    first: tuple[int, str, int, str, str]
    last: tuple[int, str, int, str, str]
    count: int


@dataclass(frozen=True, slots=True)
class SecondHalf:
    """Who looks at the events above ``middle``, up to the last; nobody where there are none."""

    middle: int
    answer: "Future[Completed] | None" = None

    def result(self) -> Run | None:
        """What was found, when it is ready; None for nothing that could be relied upon."""
        if self.answer is None:
            return None
        try:
            found = json.loads(self.answer.result().stdout)
            return Run(tuple(found["first"]), tuple(found["last"]), found["count"])
        except (FlatrunError, ValueError, TypeError, LookupError):
            return None


@contextmanager
def begun(programs: Programs | None, above: int, last: int) -> Iterator[SecondHalf]:
    """Start it, where there are events and processors enough; it has ended when the block has."""
    path = Head._meta.database.database if on_sqlite(Head) else ""
    worth_it = WORTH_IT <= last - above <= MAX_ID and len(os.sched_getaffinity(0)) > 1
    if programs is None or not path or not worth_it:
        yield SecondHalf(last)
        return
    middle = (above + last) // 2
    # -I, because the folder that somebody stands in is no place to take a module from.
    command = [sys.executable, "-I", "-m", __name__, str(path), str(middle), str(last)]
    with ThreadPoolExecutor(1) as beside:
        yield SecondHalf(middle, beside.submit(programs.run, command, timeout=LONGEST))


def unremarkable(path: Path, above: int, last: int) -> Run | None:
    """The events above one id and up to another, if each is followed by the next and nothing is odd."""
    sql = f"SELECT {_COLUMNS} FROM audit_event WHERE id > ? AND id <= ? ORDER BY id"  # noqa: S608 - constants
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(sql, [above, last])
        first = row = rows.fetchone()
        before = (above, row[_PREV_HASH]) if row else None
        while row is not None:
            if row[_ACTION] == ACTION or hash_of(row) != row[_HASH]:
                return None
            if before != (row[_ID] - 1, row[_PREV_HASH]):
                return None
            before, end, row = (row[_ID], row[_HASH]), row, rows.fetchone()
    if first is None or end[_ID] != last:
        return None
    return Run(_ends(first), _ends(end), last - above)


def _ends(row: tuple[Any, ...]) -> tuple[int, str, int, str, str]:
    return row[_ID], row[_EVENT_ID], row[_TIMESTAMP], row[_PREV_HASH], row[_HASH]


if __name__ == "__main__":
    found = unremarkable(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(json.dumps(found and asdict(found)))
