"""Whether the audit's tables are there and its end is sound: quickly, and without looking at each event."""

from typing import Final

from flatrun_audit.models import MAX_ROW, MIN_ROW, Checkpoint, Event, Head, OpenRequest
from flatrun_core import Check, Finding, PluginContext
from flatrun_core.ports.storage import DATABASE, PanelStore

VERIFY: Final = (
    "run `flatrun audit verify`, which names the first broken link; docs/audit.md says what it means"
)


def check_of(ctx: PluginContext) -> Check:
    """For ``flatrun doctor``."""
    return Check("chain", "Audit", lambda: finding(ctx.services.get(DATABASE)))


def say(ctx: PluginContext) -> None:
    """At the start of the panel: what is wrong goes into the log."""
    found = finding(ctx.services.get(DATABASE))
    if found.status != "ok":
        ctx.log.error("the audit: %s; %s", found.message, found.remedy)


def finding(database: PanelStore) -> Finding:
    """What the rows at the chain's ends tell; the whole chain is verified by ``flatrun audit verify``."""
    try:
        with database.session():
            reason, events = _looked_at()
    except Exception as exc:  # noqa: BLE001 - a table that is not there, a database that is not
        return Finding("error", f"its tables cannot be read: {exc}", "go back to a copy of the database")
    if reason:
        return Finding("error", reason, VERIFY)
    return Finding("ok", f"{events} events, and the end of the chain is where it should be")


def _looked_at() -> tuple[str, int]:
    OpenRequest.oldest(1)
    begin, _, begin_hash = Checkpoint.newest()
    head = Head.read()
    if head is None:
        return "the head row, which tells where the chain ends, is missing", 0
    if not head.sound:
        return "the head row holds what the panel never writes", 0
    end = begin_hash if head.last_id == begin else Event.hash_at(head.last_id)
    if end != head.last_hash:
        return f"event {head.last_id}, the last one by the head row, is missing or another one", 0
    strangers = Event.range_of(MIN_ROW, begin)[0] + Event.range_of(head.last_id, MAX_ROW)[0]
    if strangers:
        return f"{strangers} rows before or after the chain were not written by the panel", 0
    return "", head.events
