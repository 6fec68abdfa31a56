"""Whether a chain is whole, link by link, wherever its events come from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from flatrun_audit.canonical import ZERO, moment_text
from flatrun_audit.cleanup import ACTION, PURPOSE, Mark

ReadSignature = Callable[[str, str], Any]
"""``Signing.read``: the value of a signed text, None for one of another key."""

SIGNED: Final = "signed by this panel"
UNCHECKED: Final = "signature not checked"
FORGED: Final = "not signed by this panel"


class Link(NamedTuple):
    """What verification needs of one event; ``computed`` is None when its hash cannot be computed."""

    id: int
    event_id: str
    timestamp: object
    prev_hash: str
    hash: str
    computed: str | None


@dataclass(frozen=True, slots=True)
class Broken:
    """The first broken link: the event at which it shows, and what is wrong."""

    id: int
    event_id: str
    reason: str


@dataclass(slots=True)
class Report:
    """What a verification found. ``unchecked`` counts links to events that are not there to compare."""

    events: int = 0
    first: Link | None = None
    last: Link | None = None
    unchecked: int = 0
    checkpoints: list[tuple[Mark, str]] = field(default_factory=list)
    broken: Broken | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.broken is None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "whole": self.whole,
            "events": self.events,
            "first": _named(self.first),
            "last": _named(self.last),
            "unchecked_links": self.unchecked,
            "checkpoints": [{**mark.facts(), "state": state} for mark, state in self.checkpoints],
            "broken": None
            if self.broken is None
            else {"id": self.broken.id, "event_id": self.broken.event_id, "reason": self.broken.reason},
        }


def _named(link: Link | None) -> dict[str, Any] | None:
    if link is None:
        return None
    return {"id": link.id, "event_id": link.event_id, "timestamp": shown_time(link)}


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

    def __init__(self, *, gaps: bool = False, read_signature: ReadSignature | None = None) -> None:
        self.report = Report()
        self._gaps = gaps
        self._read = read_signature
        self._previous: Link | None = None
        self._rising: bool | None = None

    @property
    def settled(self) -> bool:
        """Whether the first broken link is found, so that reading on tells nothing."""
        return self.report.broken is not None and self._rising is True

    def take(self, link: Link) -> None:
        """The next event."""
        self.report.events += 1
        previous, self._previous = self._previous, link
        if link.computed != link.hash:
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

    def _note(self, link: Link) -> None:
        if self._rising:
            self.report.last = link
        else:
            self.report.first = link

    def _pair(self, lower: Link, upper: Link) -> None:
        if upper.id == lower.id + 1:
            if upper.prev_hash != lower.hash:
                self._wrong(upper, f"its prev_hash is not the hash of event {lower.id}")
        elif self._gaps:
            self.report.unchecked += 1
        else:
            self._wrong(upper, f"{missing_events(lower.id + 1, upper.id - 1)} before it")

    def checkpoint(self, mark: Mark) -> None:
        """A checkpoint found beside or among the events."""
        state = UNCHECKED
        if self._read is not None:
            state = SIGNED if self._read(PURPOSE, mark.signature) == mark.signed_value else FORGED
        self.report.checkpoints.append((mark, state))

    def end(self, *, anchored: bool) -> Report:
        """After the last event. ``anchored``: the chain must begin at event 1 or at a checkpoint."""
        self.report.checkpoints.sort(key=lambda pair: pair[0].last_deleted_id)
        first = self.report.first
        if first is not None:
            self._start(first, anchored=anchored)
        return self.report

    def _start(self, first: Link, *, anchored: bool) -> None:
        before = ZERO if first.id == 1 else self._mark_before(first)
        if before is not None:
            if first.prev_hash != before:
                self._wrong(first, "its prev_hash is not what the chain begins with")
        elif anchored:
            self._wrong(first, f"{missing_events(1, first.id - 1)} before it and no checkpoint tells of it")
        else:
            self.report.unchecked += 1

    def _mark_before(self, first: Link) -> str | None:
        for mark, state in self.report.checkpoints:
            if mark.last_deleted_id == first.id - 1:
                if state == FORGED:
                    self._wrong(first, "the checkpoint before it is not signed by this panel")
                return mark.hash
        return None

    def _wrong(self, link: Link, reason: str) -> None:
        self.blame(Broken(link.id, link.event_id, reason))

    def blame(self, broken: Broken) -> None:
        """Something is wrong; of several things the one at the lowest id stays."""
        if self.report.broken is None or broken.id < self.report.broken.id:
            self.report.broken = broken


def mark_of(facts: Any) -> Mark | None:
    """The checkpoint in the metadata of a cleanup's event."""
    found = facts.get("checkpoint") if isinstance(facts, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    kinds = {name: type(found.get(name)) for name in _MARK}
    return Mark(**{name: found[name] for name in _MARK}) if kinds == _MARK else None


_MARK: Final = {"last_deleted_id": int, "hash": str, "deleted": int, "time": str, "signature": str}


def is_cleanup(action: Any) -> bool:
    """Whether an event may have a checkpoint in its metadata."""
    return bool(action == ACTION)


def missing_events(first: int, last: int) -> str:
    """Which events are not there."""
    return f"event {first} is missing" if first == last else f"events {first} to {last} are missing"
