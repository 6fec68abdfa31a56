"""Exports: events as a JSON array or as CSV, in pieces, with no connection held between them."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from flatrun_audit.canonical import Entry, moment_text, text_of
from flatrun_audit.events import AuditLog
from flatrun_audit.filters import Filters
from flatrun_audit.models import Event, Head
from flatrun_core import ServiceKey
from flatrun_core.db import now
from flatrun_core.ports.storage import PanelStore

BATCH: Final = 500
JSON: Final = "json"
CSV: Final = "csv"
COLUMNS: Final = (
    "id", "event_id", "timestamp", "actor_type", "actor_id", "action", "method", "path", "resource_type",
    "resource_id", "client_ip", "response_status", "response_time_ms", "success", "error_message",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Export:
    """An export that has not been read yet: what is in it, and its pieces."""

    format: str
    name: str
    count: int
    first_id: int
    last_id: int
    pieces: Iterator[bytes]

    @property
    def media_type(self) -> str:
        """For the answer's header."""
        return "application/json" if self.format == JSON else "text/csv; charset=utf-8"


class Exporter:
    """Makes exports. What is in one is decided when it is made: later events are not."""

    def __init__(self, database: PanelStore, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def export(self, filters: Filters, kind: str, limit: int) -> Export:
        """The newest ``limit`` events that match, newest first by id."""
        self._audit.need_enabled()
        with self._database.session():
            head = Head.read()
            ids = Event.ids_of(replace(filters, last_id=head.last_id if head else 0), limit)
        ids.sort(reverse=True)
        batches = self._batches(ids)
        return Export(
            format=kind,
            name=f"audit_export_{now():%Y%m%d_%H%M%S}.{kind}",
            count=len(ids),
            first_id=ids[-1] if ids else 0,
            last_id=ids[0] if ids else 0,
            pieces=_json(batches) if kind == JSON else _csv(batches),
        )

    def _batches(self, ids: Sequence[int]) -> Iterator[list[Entry]]:
        """Events in the order of ``ids``, but those that a cleanup has deleted meanwhile."""
        for start in range(0, len(ids), BATCH):
            chosen = ids[start : start + BATCH]
            with self._database.session():
                found = Event.of_ids(chosen)
            yield [found[number] for number in chosen if number in found]


def _json(batches: Iterator[list[Entry]]) -> Iterator[bytes]:
    """One event a line, each in the very text that its hash was taken over."""
    before = "[\n"
    for batch in batches:
        if batch:
            yield (before + ",\n".join(map(text_of, batch))).encode("ascii")
            before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"


def _csv(batches: Iterator[list[Entry]]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for batch in batches:
        writer.writerows(_row(entry) for entry in batch)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    if text.tell():
        yield text.getvalue().encode()


def _row(entry: Entry) -> list[str]:
    shown: dict[str, Any] = entry._asdict()
    shown["timestamp"] = moment_text(entry.timestamp)
    shown["success"] = "true" if entry.success else "false"
    return [_cell(str(shown[column])) for column in COLUMNS]


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


EXPORTER: ServiceKey[Exporter] = ServiceKey("audit_exporter", "audit")
