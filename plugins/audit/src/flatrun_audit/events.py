"""Reading the record: lists, single events and statistics."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from flatrun_audit.canonical import Entry, microseconds, moment_of, moment_text
from flatrun_audit.filters import Filters
from flatrun_audit.models import Event, Head
from flatrun_audit.settings import AuditSettings
from flatrun_core import NotFound, ServiceKey, Unavailable
from flatrun_core.db import now
from flatrun_core.ports.storage import PanelStore

TREND_DAYS: Final = 7
TOP: Final = 10
_MAX_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Found:
    """One page of events, newest first, and how many there are in all."""

    events: list[Entry]
    total: int


class AuditLog:
    """Answers questions about events. Safe to call from any thread: all state is in the database."""

    def __init__(self, database: PanelStore, settings: Callable[[], AuditSettings]) -> None:
        self._database = database
        self._settings = settings

    def need_enabled(self) -> None:
        """503 ``AUDIT_DISABLED`` when the audit is switched off."""
        if not self._settings().enabled:
            raise Unavailable("The audit is switched off (audit.enabled)", code="AUDIT_DISABLED")

    def search(self, filters: Filters, limit: int, offset: int) -> Found:
        """Events that match, newest first by the time of their request."""
        self.need_enabled()
        with self._database.session():
            total = _total(filters)
            ids = Event.ids_of(filters, limit, offset) if offset < total else []
            found = Event.of_ids(ids)
        return Found([found[number] for number in ids if number in found], total)

    def get(self, name: str) -> Entry:
        """One event by its number or its UUID; 404 ``EVENT_NOT_FOUND``."""
        self.need_enabled()
        with self._database.session():
            entry = self._of_number(name) or Event.of_event_id(name.lower())
        if entry is None:
            raise NotFound("There is no such event", code="EVENT_NOT_FOUND")
        return entry

    def _of_number(self, name: str) -> Entry | None:
        if not (name.isascii() and name.isdigit() and len(name) < 20):  # noqa: PLR2004 - digits of an id
            return None
        number = int(name)
        return Event.of_ids([number]).get(number) if number <= _MAX_ID else None

    def stats(self, moment: datetime | None = None) -> dict[str, Any]:
        """Counts over everything, of the last day and week, and by day for seven days up to ``moment``."""
        self.need_enabled()
        moment = moment or now()
        with self._database.session():
            head = Head.read()
            return {
                "total_events": head.events if head else 0,
                "last_24_hours": _since(moment - timedelta(days=1)),
                "last_7_days": _since(moment - timedelta(days=7)),
                "failure_count": Event.count_of(Filters(success=False)),
                "by_action": Event.counts_by("action"),
                "by_actor_type": Event.counts_by("actor_type"),
                "by_resource_type": Event.counts_by("resource_type"),
                "top_actors": [_actor(*row) for row in Event.busiest(TOP)],
                "events_trend": _trend(moment),
            }


def _total(filters: Filters) -> int:
    """How many match; where that is nearly everything, what is counted is the rest."""
    if filters not in (Filters(), Filters(success=True)):
        return Event.count_of(filters)
    head = Head.read()
    failures = Event.count_of(Filters(success=False)) if filters.success else 0
    return (head.events if head else 0) - failures


def _since(moment: datetime) -> int:
    return Event.count_of(Filters(start=microseconds(moment)))


def _actor(actor_id: str, count: int, latest: int) -> dict[str, Any]:
    kind, name = Event.latest_name(actor_id)
    return {
        "actor_id": actor_id,
        "actor_type": kind,
        "actor_name": name,
        "event_count": count,
        "last_seen": moment_text(latest),
    }


def _trend(moment: datetime) -> list[dict[str, Any]]:
    today = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=back) for back in range(TREND_DAYS - 1, -1, -1)]
    counts = Event.days_since(microseconds(days[0]))
    numbers = [(day - moment_of(0)).days for day in days]
    return [
        {"date": day.date().isoformat(), "count": counts.get(number, 0)}
        for day, number in zip(days, numbers, strict=True)
    ]


AUDIT_LOG: ServiceKey[AuditLog] = ServiceKey("audit_log", "audit")
