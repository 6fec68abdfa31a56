"""Verifying the chain in the panel's database, while the panel runs or not."""

from collections.abc import Iterator

from flatrun_audit.canonical import ZERO, Entry, hash_of
from flatrun_audit.chain import HEAD_PURPOSE, head_value
from flatrun_audit.cleanup import Mark
from flatrun_audit.models import Checkpoint, End, Event, Head
from flatrun_audit.verifying import Broken, ChainCheck, Link, ReadSignature, Report, missing_events
from flatrun_core.ports.storage import PanelStore

BATCH = 2000


def verify_database(database: PanelStore, read_signature: ReadSignature | None) -> Report:
    """Check every event up to the end of the chain as it is now, its beginning, and its end.

    Holds no transaction. A cleanup that runs meanwhile takes events away at the beginning and leaves
    a checkpoint; what it disturbed is checked once more.
    """
    while True:
        with database.session():
            marks = Checkpoint.all_rows()
            report = _verify(read_signature)
            if report.whole or marks == Checkpoint.all_rows():
                return report


def _verify(read_signature: ReadSignature | None) -> Report:
    check = ChainCheck(read_signature=read_signature)
    head = Head.read()
    last = head.last_id if head else 2**62
    for entry in _entries(last):
        if not isinstance(entry, Entry):
            check.blame(Broken(entry, "", "it was changed: it cannot be read"))
            break
        check.take(_link(entry))
        if check.settled:
            break
    for row in Checkpoint.all_rows():
        check.checkpoint(Mark(*row))
    report = check.end(anchored=True)
    if report.whole:
        _check_head(check, head, read_signature)
    return report


def _entries(last: int) -> Iterator[Entry | int]:
    """Every event; the number alone of the first one that the database cannot hand out."""
    at = 0
    while True:
        try:
            batch = Event.from_id(at, last, BATCH)
        except Exception:
            unreadable = _unreadable(at, last)
            if unreadable is None:
                raise
            batch = Event.from_id(at, unreadable - 1, BATCH)
            if not batch:
                yield unreadable
                return
        if not batch:
            return
        yield from batch
        at = batch[-1].id + 1


def _unreadable(first: int, last: int) -> int | None:
    """The first event of a batch with a text that is none; None when the database fails altogether."""
    for number in Event.numbers(first, last, BATCH):
        try:
            Event.from_id(number, number, 1)
        except Exception:  # noqa: BLE001 - that it fails is the answer
            return number
    return None


def _link(entry: Entry) -> Link:
    try:
        computed = hash_of(entry)
    except (TypeError, ValueError, OverflowError):  # a column holds what the panel never writes
        computed = None
    return Link(entry.id, entry.event_id, entry.timestamp, entry.prev_hash, entry.hash, computed)


def _check_head(check: ChainCheck, head: End | None, read_signature: ReadSignature | None) -> None:
    if head is None:
        check.blame(Broken(0, "", "the head row, which tells where the chain ends, is missing"))
        return
    number, own = _end(check.report)
    name = check.report.last.event_id if check.report.last else ""
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
        return report.last.id, report.last.hash
    if report.checkpoints:
        mark = report.checkpoints[-1][0]
        return mark.last_deleted_id, mark.hash
    return 0, ZERO
