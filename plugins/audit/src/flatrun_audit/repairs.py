"""What the panel does when somebody wrote into its tables: it goes on, and says so in the chain.

A row that the panel did not write stays where it is and is stepped over. The event that steps over it
says so in ``metadata.repair`` and is linked to the last event of the panel's own.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from flatrun_audit.canonical import ZERO, hash_of, is_hash
from flatrun_audit.ends import REBUILT, ROOM, End
from flatrun_audit.models import Checkpoint, Event, Head

ACTION: Final = "audit.repair"
MISSING: Final = "missing"
UNSIGNED: Final = "unsigned"
FAULTS: Final = {
    MISSING: "the head row, which tells where the chain ends, was missing or spoilt, and was made anew",
    UNSIGNED: "the head row was not signed by this panel when the panel went on from it",
}


@dataclass(frozen=True, slots=True)
class Repair:
    """What was found: rows with ids above ``after`` and up to ``last``, and what was wrong with the head."""

    after: int
    last: int
    rows: int
    head: str

    def facts(self) -> dict[str, Any]:
        """For the metadata of the event."""
        return {"repair": asdict(self)}

    def sentence(self) -> str:
        """For people."""
        said = [FAULTS[self.head]] if self.head else []
        if self.rows:
            said.append(
                f"{self.rows} rows from id {self.after + 1} to {self.last} were not written by the panel"
            )
        return "; ".join(said)


class Skip(NamedTuple):
    """An event that hangs on event ``after`` instead of the one before it."""

    event: int
    after: int


def locked_end(signed: Callable[[End], bool]) -> tuple[End, Repair | None]:
    """Where the chain ends, locked until the transaction ends, and what must be told of it.

    A head that is missing or that no panel wrote is made anew from the last event.
    """
    head, fault = Head.read(lock=True), ""
    if head is None:
        Head.place()
        head = Head.read(lock=True)
    if head is None or not head.sound:
        head, fault = _rebuilt(), MISSING
    elif not signed(head):
        fault = UNSIGNED
    if not fault and head.beyond is None:
        return head, None
    last = Event.run_from(head.last_id)
    return head, Repair(head.last_id, last, Event.range_of(head.last_id, last)[0], fault)


def _rebuilt() -> End:
    """The end by the events: rows far beyond them, and a checkpoint that is, tell nothing of it."""
    begin, _, begin_hash = Checkpoint.newest()
    events, first = Event.range_of(0, REBUILT)
    last = Event.run_from(first) if events else begin
    if last < begin <= last + ROOM:
        last = Event.run_from(begin)
    last_hash = begin_hash if last == begin else Event.hash_at(last) or ""
    begin = begin if begin <= last else 0
    count = Event.range_of(begin, last)[0] - strangers(skips(last), begin, last)
    return End(last, last_hash if is_hash(last_hash) else ZERO, max(count, 0), "")


def skips(up_to: int) -> list[Skip]:
    """Every step over rows that the panel's events up to an id tell of, by id.

    An event counts that is sound and linked to the one that it hangs on. From the end on, so that one
    that is stepped over itself, which is none of the panel's, tells nothing.
    """
    found: list[Skip] = []
    for number, metadata in reversed(Event.repairs(ACTION)):
        if number > up_to or any(skip.after < number < skip.event for skip in found):
            continue
        try:
            skip = skip_of(number, json.loads(metadata))
        except (ValueError, RecursionError):
            continue
        if skip is not None and _linked(skip):
            found.append(skip)
    return found[::-1]


def _linked(skip: Skip) -> bool:
    try:
        entry = Event.of_ids([skip.event])[skip.event]
        sound = hash_of(entry) == entry.hash
    except Exception as exc:
        if not isinstance(exc, TypeError | ValueError | OverflowError) and "decode" not in str(exc):
            raise
        return False  # it holds what the panel never writes
    return sound and entry.prev_hash == _hash_of_end(skip.after)


def _hash_of_end(number: int) -> str | None:
    if number == 0:
        return ZERO
    begin, _, begin_hash = Checkpoint.newest()
    return begin_hash if number == begin else Event.hash_at(number)


def skip_of(number: int, metadata: Any) -> Skip | None:
    """The step that an event of this id and these facts makes, if it makes one."""
    facts = _facts(metadata)
    after, last = facts.get("after"), facts.get("last")
    if type(after) is not int or last != number - 1 or not 0 <= after < last:
        return None
    return Skip(number, after)


def fault_of(metadata: Any) -> str:
    """What an event says was wrong with the head; empty for nothing."""
    head = _facts(metadata).get("head")
    return FAULTS.get(head, "") if isinstance(head, str) else ""


def _facts(metadata: Any) -> Mapping[str, Any]:
    found = metadata.get("repair") if isinstance(metadata, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def strangers(known: Sequence[Skip], above: int, up_to: int) -> int:
    """How many rows, with ids above one number and up to another, events step over."""
    return sum(
        Event.range_of(max(above, skip.after), min(up_to, skip.event - 1))[0]
        for skip in known
        if skip.after < up_to and skip.event - 1 > above
    )
