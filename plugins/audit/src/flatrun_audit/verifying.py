"""Whether a chain is whole, link by link, wherever its events come from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from flatrun_audit.canonical import ZERO, moment_text
from flatrun_audit.cleanup import ACTION, PURPOSE, Mark
from flatrun_audit.repairs import Skip, fault_of, skip_of
from flatrun_audit.second_half import Run

ReadSignature = Callable[[str, str], Any]
"""``Signing.read``: the value of a signed text, None for one of another key."""

SIGNED: Final = "signed by this panel"
UNCHECKED: Final = "signature not checked"
FORGED: Final = "not signed by this panel"


class Link(NamedTuple):
    """What verification needs of one event; ``computed`` is None when its hash cannot be computed."""

    id: int
    event_id: object
    timestamp: object
    prev_hash: object
    hash: object
    computed: str | None


@dataclass(frozen=True, slots=True)
class Broken:
    """The first broken link: the event at which it shows, and what is wrong."""

    id: int
    event_id: str
    reason: str


@dataclass(slots=True)
class Report:
    """What a verification found. ``unchecked`` counts links to events that are not there to compare.

    ``anchor`` is what is known of the end's signature; None in an export, which has none. ``foreign``
    counts rows that are not the panel's and none of the ``events``. ``told`` is the first of them, or
    what an event tells of the head; ``fault`` is the first thing wrong with the events themselves.
    """

    events: int = 0
    first: Link | None = None
    last: Link | None = None
    unchecked: int = 0
    foreign: int = 0
    checkpoints: list[tuple[Mark, str]] = field(default_factory=list)
    told: Broken | None = None
    fault: Broken | None = None
    anchor: str | None = None

    @property
    def broken(self) -> Broken | None:
        """The first broken link: what the panel noticed itself, or a fault among its own events."""
        found = [one for one in (self.told, self.fault) if one is not None]
        return min(found, key=lambda one: one.id) if found else None

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.broken is None

    @property
    def verdict(self) -> str:
        """One word or two: whole, broken, unsigned (no key to check the end's signature), no events."""
        if self.broken is not None:
            return "broken"
        if self.anchor == UNCHECKED:
            return "unsigned"
        return "whole" if self.events or self.anchor is not None else "no events"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "whole": self.verdict == "whole",
            "verdict": self.verdict,
            "end": self.anchor or "an export has no signed end",
            "events": self.events,
            "foreign_rows": self.foreign,
            "first": _named(self.first),
            "last": _named(self.last),
            "unchecked_links": self.unchecked,
            "checkpoints": [{**mark.facts(), "state": state} for mark, state in self.checkpoints],
            "broken": None if self.broken is None else asdict(self.broken),
            "own_events_broken": None if self.fault is None else asdict(self.fault),
        }


def _named(link: Link | None) -> dict[str, Any] | None:
    if link is None:
        return None
    return {"id": link.id, "event_id": str(link.event_id), "timestamp": shown_time(link)}


def shown_time(link: Link) -> str:
    """The event's time as the API writes it, or whatever stands in its place."""
    try:
        return moment_text(link.timestamp) if isinstance(link.timestamp, int) else str(link.timestamp)
    except (ValueError, OverflowError):
        return str(link.timestamp)


class ChainCheck:
    """Takes events in the order of their ids, either way, and keeps what is wrong first.

    With ``gaps`` events may be missing, as in an export with filters; the links around them are then
    counted as unchecked. Of newest first the whole must be read before the first broken link is known.
    """

    def __init__(
        self,
        *,
        gaps: bool = False,
        read_signature: ReadSignature | None = None,
        known: Iterable[Skip] = (),
    ) -> None:
        self.report = Report()
        self._skips = {skip.event: skip for skip in known}
        self._gaps = gaps
        self._read = read_signature
        self._previous: Link | None = None
        self._rising: bool | None = None

    @property
    def settled(self) -> bool:
        """Whether the first fault is found, so that reading on tells nothing."""
        fault, at = self.report.fault, self._previous
        return fault is not None and at is not None and self._rising is True and fault.id <= at.id

    def take(self, link: Link) -> None:
        """The next event."""
        if self._skips and self._stepped_over(link):
            return
        self.report.events += 1
        previous, self._previous = self._previous, link
        if link.computed is None or link.computed != link.hash:
            self._wrong(link, "it was changed: its hash is not that of its content")
        if previous is None:
            self.report.first = self.report.last = link
            return
        if self._rising is None:
            self._rising = link.id > previous.id
        if (link.id > previous.id) is not self._rising or link.id == previous.id:
            self._wrong(link, f"it is out of order: it follows event {previous.id}")
            return
        self._note(link)
        self._pair(*((previous, link) if self._rising else (link, previous)))

    def take_run(self, run: Run) -> None:
        """Events that follow one another and were looked at elsewhere, of oldest first."""
        first, last = (Link(*end, computed=end[-1]) for end in (run.first, run.last))
        self.take(first)
        self.report.events += run.count - 1
        if last.id != first.id:
            self.report.last = self._previous = last
            self._rising = True

    def _note(self, link: Link) -> None:
        if self._rising:
            self.report.last = link
        else:
            self.report.first = link

    def _stepped_over(self, link: Link) -> bool:
        """Whether an event says that this row is not the panel's; it is blamed and not looked at."""
        skip = self._step_over(link.id)
        if skip is not None:
            self.stranger(link.id, str(link.event_id), f"event {skip.event} steps over it")
        return skip is not None

    def _step_over(self, number: int) -> Skip | None:
        return next((skip for skip in self._skips.values() if skip.after < number < skip.event), None)

    def stranger(self, number: int, name: str, why: str, count: int = 1) -> None:
        """Rows that the panel did not write, the first of them named."""
        self.report.foreign += count
        self._say(Broken(number, name, f"it is not the panel's: {why}"))

    def _say(self, broken: Broken) -> None:
        if self.report.told is None or broken.id < self.report.told.id:
            self.report.told = broken

    def repair(self, link: Link, metadata: Any) -> None:
        """An event that tells of a repair, before it is taken; a row that is stepped over tells nothing."""
        if link.computed != link.hash or self._step_over(link.id) is not None:
            return
        fault = fault_of(metadata)
        if fault:
            self._say(Broken(link.id, str(link.event_id), f"it says that {fault}"))
        skip = skip_of(link.id, metadata)
        if skip is not None:
            self._skips[link.id] = skip

    def _pair(self, lower: Link, upper: Link) -> None:
        skip = self._skips.get(upper.id)
        before = upper.id - 1 if skip is None else skip.after
        if lower.id == before:
            if upper.prev_hash != lower.hash:
                self._wrong(upper, f"its prev_hash is not the hash of event {lower.id}")
        elif lower.id > before:  # of oldest first, the event that tells of them comes after them
            self.stranger(before + 1, "", f"event {upper.id} steps over it", lower.id - before)
            self.report.unchecked += 1
        elif self._gaps:
            self.report.unchecked += 1
        else:
            self._wrong(upper, f"{missing_events(lower.id + 1, before)} before it")

    def checkpoint(self, mark: Mark) -> str:
        """A checkpoint found beside or among the events; what is known of its signature."""
        state = UNCHECKED
        if self._read is not None:
            state = SIGNED if self._read(PURPOSE, mark.signature) == mark.signed_value else FORGED
        self.report.checkpoints.append((mark, state))
        return state

    def end(self, *, anchored: bool) -> Report:
        """After the last event. ``anchored``: the chain must begin at event 1 or at a checkpoint."""
        self.report.checkpoints.sort(key=lambda pair: pair[0].last_deleted_id)
        first = self.report.first
        if first is not None:
            self._start(first, anchored=anchored)
        return self.report

    def _start(self, first: Link, *, anchored: bool) -> None:
        skip = self._skips.get(first.id)
        last = first.id - 1 if skip is None else skip.after
        before = ZERO if last == 0 else self._mark_at(last, first)
        if before is not None:
            if first.prev_hash != before:
                self._wrong(first, "its prev_hash is not what the chain begins with")
        elif anchored:
            self._wrong(first, f"{missing_events(1, last)} before it and no checkpoint tells of it")
        else:
            self.report.unchecked += 1

    def _mark_at(self, last: int, first: Link) -> str | None:
        for mark, state in self.report.checkpoints:
            if mark.last_deleted_id == last:
                if state == FORGED:
                    self._wrong(first, "the checkpoint before it is not signed by this panel")
                return mark.hash
        return None

    def _wrong(self, link: Link, reason: str) -> None:
        self.blame(Broken(link.id, str(link.event_id), reason))

    def blame(self, broken: Broken) -> None:
        """Something is wrong; of several things the one at the lowest id stays."""
        if self.report.fault is None or broken.id < self.report.fault.id:
            self.report.fault = broken


def mark_of(facts: Any) -> Mark | None:
    """The checkpoint in the metadata of a cleanup's event."""
    found = facts.get("checkpoint") if isinstance(facts, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    kinds = {name: type(found.get(name)) for name in _MARK}
    return Mark(**{name: found[name] for name in _MARK}) if kinds == _MARK else None


_MARK: Final = {
    "last_deleted_id": int,
    "hash": str,
    "deleted": int,
    "total": int,
    "time": str,
    "signature": str,
}


def is_cleanup(action: Any) -> bool:
    """Whether an event may have a checkpoint in its metadata."""
    return bool(action == ACTION)


def missing_events(first: int, last: int) -> str:
    """Which events are not there."""
    return f"event {first} is missing" if first == last else f"events {first} to {last} are missing"
