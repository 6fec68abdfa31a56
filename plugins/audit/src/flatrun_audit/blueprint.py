"""The routes below ``/api/audit``."""

from typing import Any

from flask import Response
from flask.views import MethodView

from flatrun_audit.canonical import text_of
from flatrun_audit.cleanup import ACTION, CLEANER
from flatrun_audit.events import AUDIT_LOG
from flatrun_audit.exporting import EXPORTER, Export
from flatrun_audit.schemas import (
    MAX_EXPORT,
    CleanupAnswer,
    CleanupQuery,
    CleanupSchema,
    EventsAnswer,
    EventSchema,
    EventsQuery,
    ExportSchema,
    StatsAnswer,
    filters_of,
    named_filters,
)
from flatrun_core import Blueprint, access, record_facts, service

blp = Blueprint("audit", __name__, url_prefix="/api/audit", description="What was done, by whom")

_EXPORTED = {
    "200": {
        "description": "An attachment: a JSON array of events, one a line, newest first, or CSV",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}


@blp.before_request
def _need_enabled() -> None:
    """503 comes before anything is said of the request's values."""
    service(AUDIT_LOG).need_enabled()


@blp.route("/events")
class Events(MethodView):
    """The events."""

    @access("audit:read", resource="audit")
    @blp.arguments(EventsQuery, location="query")
    @blp.raises(503)
    @blp.response(200, EventsAnswer)
    def get(self, query: dict[str, Any]) -> Response:
        """List events, newest first."""
        limit, offset = query["limit"], query["offset"]
        found = service(AUDIT_LOG).search(filters_of(query), limit, offset)
        events = ",".join(map(text_of, found.events))
        return _json(f'{{"events":[{events}],"total":{found.total},"limit":{limit},"offset":{offset}}}')


@blp.route("/events/<event>")
class OneEvent(MethodView):
    """An event."""

    @access("audit:read", resource="audit")
    @blp.raises(404, 503)
    @blp.response(200, EventSchema)
    def get(self, event: str) -> Response:
        """Show an event, by its number or its event_id."""
        return _json(text_of(service(AUDIT_LOG).get(event)))


@blp.route("/stats")
class Stats(MethodView):
    """Statistics."""

    @access("audit:read", resource="audit")
    @blp.raises(503)
    @blp.response(200, StatsAnswer)
    def get(self) -> dict[str, Any]:
        """Count events: in all, of late, by what was done and by whom."""
        return service(AUDIT_LOG).stats()


@blp.route("/export")
class Exports(MethodView):
    """Exports."""

    @access("audit:read", action="audit.export", resource="audit")
    @blp.arguments(ExportSchema)
    @blp.raises(503)
    @blp.response(200)
    @blp.doc(responses=_EXPORTED)
    def post(self, body: dict[str, Any]) -> Response:
        """Export the newest events that match, to keep or to verify with `flatrun audit verify`.

        CSV leaves out fields that the hashes are taken over, so only JSON can be verified.
        """
        limit = min(body["limit"], MAX_EXPORT)
        export = service(EXPORTER).export(filters_of(body), body["format"], limit)
        record_facts(format=export.format, events=export.count, first_id=export.first_id,
                     last_id=export.last_id, filters=named_filters(body))  # fmt: skip
        return _attachment(export)


@blp.route("/cleanup")
class Cleanup(MethodView):
    """Old events."""

    @access("settings:write", action=ACTION, resource="audit")
    @blp.arguments(CleanupQuery, location="query")
    @blp.arguments(CleanupSchema)
    @blp.raises(503)
    @blp.response(200, CleanupAnswer)
    def delete(self, query: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        """Delete events that are older than so many seconds, from the beginning of the chain on.

        A signed checkpoint takes their place, so that the rest can still be verified.
        """
        older_than = body["older_than"] if query["older_than"] is None else query["older_than"]
        cleaned = service(CLEANER).clean(older_than)
        record_facts(**cleaned.facts())
        return {"message": "Cleanup completed", "deleted": cleaned.deleted}


def _json(text: str) -> Response:
    return Response(text, mimetype="application/json")


def _attachment(export: Export) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{export.name}"'}
    return Response(export.pieces, content_type=export.media_type, headers=headers)
