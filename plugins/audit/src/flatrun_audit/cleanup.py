"""Deleting old events from the beginning of the chain, so that the rest can still be verified."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from flatrun_audit.canonical import microseconds, moment_text
from flatrun_audit.events import AuditLog
from flatrun_audit.models import Checkpoint, Event, Head
from flatrun_audit.settings import AuditSettings
from flatrun_core import ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.auth import RecordedEvent
from flatrun_core.ports.secrets import Signing
from flatrun_core.ports.storage import PanelStore

PURPOSE: Final = "audit.checkpoint"
BATCH: Final = 2000
PAUSE: Final = 0.11
"""Seconds between two batches: SQLite lets a waiting writer look again after at most a tenth of one."""
ACTION: Final = "audit.cleanup"


@dataclass(frozen=True, slots=True)
class Mark:
    """The last event that a cleanup deleted; ``signature`` is the panel's over the other fields."""

    last_deleted_id: int
    hash: str
    deleted: int
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
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._signing = signing
        self._audit = audit
        self._settings = settings
        self._record = record
        self._pause = pause

    def clean(self, older_than: int | None = None) -> Cleaned:
        """Delete the beginning of the chain that is older than so many seconds.

        Default ``audit.retention_days``. Only a beginning can go: events are deleted up to the first
        one that is not old enough. Each batch is one transaction with its checkpoint, and others may
        write between two.
        """
        self._audit.need_enabled()
        seconds = self._settings().retention_days * 86_400 if older_than is None else older_than
        moment = microseconds(now()) - min(seconds, 10**11) * 1_000_000
        with self._database.session():
            head, kept = Head.read(), Event.first_since(moment)
            first = Event.first_id()
        last = (head.last_id if head else 0) if kept is None else kept - 1
        deleted, mark = 0, None
        if first is not None:
            deleted, mark = self._delete(first, last)
        return Cleaned(deleted, seconds, mark)

    def _delete(self, first: int, last: int) -> tuple[int, Mark | None]:
        deleted, mark, moment = 0, None, moment_text(microseconds(now()))
        for start in range(first, last + 1, BATCH):
            if start > first:
                self._pause(PAUSE)
            end = min(start + BATCH - 1, last)
            with self._database.atomic():
                Head.read(lock=True)
                end_hash = Event.hash_at(end)
                if end_hash is None:  # another cleanup has been here
                    continue
                gone = Event.delete_to(end)
                Head.removed(gone)
                deleted += gone
                mark = self._signed(Mark(end, end_hash, deleted, moment))
                Checkpoint.replace_from(first, (end, end_hash, deleted, moment, mark.signature))
        return deleted, mark

    def _signed(self, mark: Mark) -> Mark:
        return Mark(**mark.signed_value, signature=self._signing.sign(PURPOSE, mark.signed_value))

    def clean_by_age(self) -> None:
        """What the timer does each day: the retention, recorded when anything went."""
        if not self._settings().enabled:
            return
        cleaned = self.clean()
        if cleaned.deleted:
            self._record(RecordedEvent(ACTION, "audit", metadata=cleaned.facts()))


RETENTION: Final = timedelta(days=1)
FIRST_AFTER: Final = timedelta(minutes=5)
CLEANER: ServiceKey[Cleaner] = ServiceKey("audit_cleaner", "audit")
