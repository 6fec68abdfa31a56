"""Verifying the chain in the panel's database, while the panel runs or not."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from flatrun_audit.canonical import ZERO, Entry, hash_of
from flatrun_audit.chain import HEAD_PURPOSE, head_value
from flatrun_audit.cleanup import Mark
from flatrun_audit.ends import REBUILT, End
from flatrun_audit.models import MAX_ROW, MIN_ROW, Checkpoint, Event, Head, on_sqlite, run
from flatrun_audit.repairs import ACTION as REPAIR
from flatrun_audit.repairs import skips
from flatrun_audit.second_half import begun
from flatrun_audit.verifying import (
    FORGED,
    SIGNED,
    UNCHECKED,
    Broken,
    ChainCheck,
    Link,
    ReadSignature,
    Report,
    missing_events,
)
from flatrun_core.ports.programs import Programs
from flatrun_core.ports.storage import PanelStore

BATCH = 2000
Row = tuple[Any, ...]
_ACTION, _EVENT_ID, _HASH, _ID, _METADATA, _PREV_HASH, _TIMESTAMP = (
    Entry._fields.index(name)
    for name in ("action", "event_id", "hash", "id", "metadata", "prev_hash", "timestamp")
)
_MARK_KINDS: Final = [int, str, int, int, str, str]


def verify_database(
    database: PanelStore, read_signature: ReadSignature | None, programs: Programs | None = None
) -> Report:
    """Check every event, the chain's beginning and its end, as they are at one moment.

    Everything is read in one snapshot, so panels that write or clean up meanwhile disturb nothing and
    are not held up. With ``programs`` a second process looks at one half of a large chain.
    """
    with _snapshot(database):
        return _verify(read_signature, programs)


@contextmanager
def _snapshot(database: PanelStore) -> Iterator[None]:
    """A transaction that reads; SQLite's own kind of it holds off nobody, unlike ``atomic``."""
    with database.session():
        run(Head, "BEGIN" if on_sqlite(Head) else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            run(Head, "ROLLBACK")


def _verify(read_signature: ReadSignature | None, programs: Programs | None) -> Report:
    head = Head.read()
    last = head.last_id if head is not None and head.sound else MAX_ROW
    check = ChainCheck(read_signature=read_signature, known=skips(last))
    begin = _checkpoints(check)
    _look_at_all(check, programs, begin, last)
    _strangers(check, MIN_ROW, begin, "it stands before the beginning of the chain")
    _strangers(check, last, MAX_ROW, f"it stands after the end of the chain, event {last}")
    report = check.end(anchored=True)
    report.anchor = UNCHECKED if read_signature is None and last else SIGNED
    if report.fault is None:
        _check_head(check, head, read_signature)
    return report


def _look_at_all(check: ChainCheck, programs: Programs | None, begin: int, last: int) -> None:
    with begun(programs, begin, last) as second:
        middle = second.middle
        if not _take_all(check, begin + 1, middle) or middle == last:
            return
        found = second.result()
        if found is None:
            _take_all(check, middle + 1, last)
        else:
            check.take_run(found)


def _take_all(check: ChainCheck, first: int, last: int) -> bool:
    """Look at events; False when reading on tells nothing."""
    for row in _rows(first, last):
        if isinstance(row, int):
            check.blame(Broken(row, "", "it was changed: it cannot be read"))
            return False
        _take(check, row)
        if check.settled:
            return False
    return True


def _checkpoints(check: ChainCheck) -> int:
    """Look at all of them; the last id that a cleanup deleted."""
    begin = total = 0
    for row in Checkpoint.all_rows():
        if [*map(type, row)] != _MARK_KINDS:
            check.blame(Broken(0, "", "a checkpoint was changed: it holds what the panel never writes"))
            continue
        mark = Mark(*row)
        if not (0 < mark.last_deleted_id <= REBUILT and 0 <= mark.total <= REBUILT):
            check.blame(Broken(0, "", "a checkpoint was changed: it holds numbers that no panel comes to"))
            continue
        state = check.checkpoint(mark)
        if state == FORGED and Event.range_of(begin, mark.last_deleted_id)[0]:
            check.blame(Broken(mark.last_deleted_id, "", "a checkpoint is not signed by this panel"))
            continue
        if mark.total != total + mark.deleted:
            check.blame(Broken(mark.last_deleted_id, "", "a checkpoint before this one is missing"))
        begin, total = mark.last_deleted_id, mark.total
    return begin


def _strangers(check: ChainCheck, above: int, up_to: int, why: str) -> None:
    count, first = Event.range_of(above, up_to)
    if count:
        check.stranger(first, "", why, count)


def _rows(first: int, last: int) -> Iterator[Row | int]:
    """Every event; the number alone of the first one that the database cannot hand out."""
    at = first
    while True:
        try:
            batch = Event.rows(at, last, BATCH)
        except Exception:
            unreadable = _unreadable(at, last)
            if unreadable is None:
                raise
            batch = Event.rows(at, unreadable - 1, BATCH)
            if not batch:
                yield unreadable
                return
        if not batch:
            return
        yield from batch
        at = batch[-1][_ID] + 1


def _unreadable(first: int, last: int) -> int | None:
    """The first event of a batch with a text that is none; None when the database fails altogether."""
    for number in Event.numbers(first, last, BATCH):
        try:
            Event.rows(number, number, 1)
        except Exception:  # noqa: BLE001 - that it fails is the answer
            return number
    return None


def _take(check: ChainCheck, row: Row) -> None:
    try:
        computed = hash_of(row)
    except (TypeError, ValueError, OverflowError):  # a column holds what the panel never writes
        computed = None
    link = Link(row[_ID], row[_EVENT_ID], row[_TIMESTAMP], row[_PREV_HASH], row[_HASH], computed)
    if row[_ACTION] == REPAIR and computed is not None:
        with suppress(ValueError, RecursionError):  # it was changed, and its hash tells
            check.repair(link, json.loads(row[_METADATA]))
    check.take(link)


def _check_head(check: ChainCheck, head: End | None, read_signature: ReadSignature | None) -> None:
    if head is None:
        check.blame(Broken(0, "", "the head row, which tells where the chain ends, is missing"))
        return
    if not head.sound:
        check.blame(Broken(0, "", "the head row was changed: it holds what the panel never writes"))
        return
    number, own = _end(check.report)
    name = str(check.report.last.event_id) if check.report.last else ""
    if number != head.last_id:
        missing = missing_events(number + 1, head.last_id)
        check.blame(Broken(head.last_id, "", f"{missing} at the end"))
    elif own != head.last_hash:
        check.blame(Broken(number, name, "its hash is not that of the head row"))
    elif head.events != check.report.events:
        text = f"the head row counts {head.events} events, but there are {check.report.events}"
        check.blame(Broken(number, name, text))
    elif (
        number and read_signature and read_signature(HEAD_PURPOSE, head.signature) != head_value(number, own)
    ):
        check.blame(Broken(number, name, "the head row is not signed by this panel"))


def _end(report: Report) -> tuple[int, str]:
    """Where the events, or the checkpoints where there are no events, end."""
    if report.last is not None:
        return report.last.id, str(report.last.hash)
    if report.checkpoints:
        mark = report.checkpoints[-1][0]
        return mark.last_deleted_id, mark.hash
    return 0, ZERO
