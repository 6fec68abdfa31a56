"""Deleting old events from the beginning of the chain, so that the rest can still be verified."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from flatrun_audit.canonical import microseconds, moment_text
from flatrun_audit.events import AuditLog
from flatrun_audit.models import MIN_ROW, Checkpoint, Event, Head, on_sqlite, run
from flatrun_audit.repairs import Skip, skips, strangers
from flatrun_audit.settings import AuditSettings
from flatrun_core import ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.auth import RecordedEvent
from flatrun_core.ports.secrets import Signing
from flatrun_core.ports.storage import PanelStore

log = logging.getLogger(__name__)

PURPOSE: Final = "audit.checkpoint"
BATCH: Final = 2000
"""Events of the first transaction; later ones have as many as fit into ``LASTS``."""
SMALLEST, LARGEST = 200, 50_000
LASTS: Final = 0.25
"""Seconds that a transaction is meant to take: others wait for it."""
PAUSE: Final = 0.11
"""Seconds between two batches at least: SQLite lets a waiting writer look again after a tenth of one."""
ACTION: Final = "audit.cleanup"


@dataclass(frozen=True, slots=True)
class Mark:
    """The last event that a cleanup deleted; ``signature`` is the panel's over the other fields.

    ``total`` counts what this cleanup and all before it deleted, so that none of them can be taken away.
    """

    last_deleted_id: int
    hash: str
    deleted: int
    total: int
    time: str
    signature: str = ""

    @property
    def signed_value(self) -> dict[str, Any]:
        """What the signature is over."""
        return {name: value for name, value in asdict(self).items() if name != "signature"}

    def facts(self) -> dict[str, Any]:
        """For the metadata of the event."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What a cleanup did."""

    deleted: int
    older_than: int
    mark: Mark | None

    def facts(self) -> Mapping[str, Any]:
        """For the metadata of the event."""
        facts: dict[str, Any] = {"deleted": self.deleted, "older_than": self.older_than}
        if self.mark is not None:
            facts["checkpoint"] = self.mark.facts()
        return facts


class Cleaner:
    """Deletes events and leaves a signed checkpoint. Any number of cleanups may run at once."""

    def __init__(
        self,
        database: PanelStore,
        signing: Signing,
        audit: AuditLog,
        settings: Callable[[], AuditSettings],
        record: Callable[[RecordedEvent], None],
    ) -> None:
        self._database = database
        self._signing = signing
        self._audit = audit
        self._settings = settings
        self._record = record
        self._pause = time.sleep
        self._clock = time.monotonic

    def clean(self, older_than: int | None = None) -> Cleaned:
        """Delete the beginning of the chain that is older than so many seconds.

        Default ``audit.retention_days``; 0 means everything there is. Only a beginning can go: it ends
        at the last old event before the first one that is not old enough. Times that are still to
        come tell nothing of an event's age, so such an event goes with its neighbours. Each batch is
        one transaction with its checkpoint, and others may write between two.
        """
        self._audit.need_enabled()
        seconds = self._settings().retention_days * 86_400 if older_than is None else older_than
        with self._database.session():
            head, base = Head.read(), Checkpoint.newest()
            own = head.last_id if head is not None and head.sound else 0
            last, known = _last_old(own, seconds), skips(own)
            with _roomy():
                deleted, mark = self._delete(base, last, known)
        return Cleaned(deleted, seconds, mark)

    def _delete(
        self, base: tuple[int, int, str], last: int, known: Sequence[Skip]
    ) -> tuple[int, Mark | None]:
        deleted, size, mark, moment = 0, BATCH, None, moment_text(microseconds(now()))
        while True:
            began = self._clock()
            with self._database.atomic():
                Head.read(lock=True)
                found = self._batch(base, last, known, size, moment)
            if found is None:
                return deleted, mark
            gone, mark = found
            deleted += gone
            took = self._clock() - began
            size = max(SMALLEST, min(LARGEST, 4 * size, int(size * LASTS / max(took, 0.001))))
            if mark.last_deleted_id < last:
                self._pause(max(PAUSE, took / 2))

    def _batch(
        self, base: tuple[int, int, str], last: int, known: Sequence[Skip], size: int, moment: str
    ) -> tuple[int, Mark] | None:
        """Delete some events in the caller's transaction; None when nothing is left to delete.

        ``base`` is the checkpoint before this cleanup; others may have cleaned meanwhile.
        """
        begin, total, _ = Checkpoint.newest()
        end = _own_end(Event.end_of(begin, last, size), begin, last, known)
        if end is None:
            return None
        end_hash = Event.hash_at(end) or ""
        foreign = strangers(known, begin, end) + Event.range_of(MIN_ROW, begin)[0]
        gone = Event.delete_to(end) - foreign
        if foreign:
            log.warning("%d rows went with old events that the panel had not written", foreign)
        Head.removed(gone)
        total += gone
        mark = self._signed(Mark(end, end_hash, total - base[1], total, moment))
        Checkpoint.replace_from(base[0] + 1, (end, mark.hash, mark.deleted, total, moment, mark.signature))
        return gone, mark

    def _signed(self, mark: Mark) -> Mark:
        return Mark(**mark.signed_value, signature=self._signing.sign(PURPOSE, mark.signed_value))

    def clean_by_age(self) -> None:
        """What the timer does each day: the retention, recorded when anything went."""
        if not self._settings().enabled:
            return
        cleaned = self.clean()
        if cleaned.deleted:
            self._record(RecordedEvent(ACTION, "audit", metadata=cleaned.facts()))


@contextmanager
def _roomy() -> Iterator[None]:
    """Within the caller's session, let SQLite keep 64 MiB of pages: ten indexes are read all over."""
    if not on_sqlite(Event):
        yield
        return
    (usual,) = run(Event, "PRAGMA cache_size").fetchone()
    run(Event, "PRAGMA cache_size = -65536")
    try:
        yield
    finally:
        run(Event, f"PRAGMA cache_size = {int(usual)}")


def _last_old(head: int, seconds: int) -> int:
    """The last event of the beginning that is older than so many seconds; 0 for none."""
    if seconds == 0:
        return head
    moment = microseconds(now())
    limit = moment - min(seconds, 10**11) * 1_000_000
    kept = Event.first_between(limit, moment)
    return Event.last_before(limit, head if kept is None else min(head, kept - 1)) or 0


def _own_end(end: int | None, begin: int, last: int, known: Sequence[Skip]) -> int | None:
    """The end of a batch that would end among rows not the panel's own: the event that steps over them."""
    for skip in known:
        if end is not None and skip.after < end < skip.event:
            end = skip.event if skip.event <= last else max(skip.after, begin)
    return None if end is None or end <= begin else end


RETENTION: Final = timedelta(days=1)
FIRST_AFTER: Final = timedelta(minutes=5)
CLEANER: ServiceKey[Cleaner] = ServiceKey("audit_cleaner", "audit")
