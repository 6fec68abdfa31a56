"""What comes in and what goes out, as the API document shows it."""

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import Schema
from marshmallow.validate import OneOf, Range

from flatrun_audit.canonical import microseconds
from flatrun_audit.exporting import CSV, JSON
from flatrun_audit.filters import LEADS, Filters
from flatrun_core import InputSchema, fields

MAX_PAGE: Final = 1000
MAX_EXPORT: Final = 100_000
_HASH: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class FilterSchema(InputSchema):
    """Which events; all that are given must match exactly."""

    actor_id = fields.String(load_default="", metadata={"example": "1"})
    actor_type = fields.String(
        load_default="", metadata={"description": "user, api_key, system or anonymous", "example": "user"}
    )
    action = fields.String(load_default="", metadata={"example": "deployments.create"})
    resource_type = fields.String(load_default="", metadata={"example": "deployment"})
    resource_id = fields.String(load_default="", metadata={"example": "my-app"})
    client_ip = fields.String(load_default="", metadata={"example": "203.0.113.7"})
    start_time = fields.Time(load_default=None, metadata={"description": "From this moment on, inclusive"})
    end_time = fields.Time(load_default=None, metadata={"description": "Up to this moment, inclusive"})


class EventsQuery(FilterSchema):
    """A page of events."""

    success = fields.QueryBoolean(load_default=None)
    limit = fields.QueryInteger(load_default=50, min=1, max=MAX_PAGE, clamp_max=True)
    offset = fields.QueryInteger(load_default=0)


class ExportSchema(FilterSchema):
    """Body of an export; the newest events that match."""

    format = fields.String(load_default=JSON, validate=OneOf([JSON, CSV]))
    success = fields.Boolean(load_default=None, allow_none=True)
    limit = fields.Integer(
        load_default=10_000,
        validate=Range(min=1),
        metadata={"description": "At most 100,000; a larger number counts as that", "maximum": 2**31 - 1},
    )


class CleanupSchema(InputSchema):
    """How old events must be to go."""

    older_than = fields.Integer(
        load_default=None,
        allow_none=True,
        validate=Range(min=0),
        metadata={"description": "Seconds; default `audit.retention_days`", "example": 2_592_000},
    )


class CleanupQuery(InputSchema):
    """As the body, for clients that send none with DELETE."""

    older_than = fields.QueryInteger(load_default=None, max=10**15, metadata={"description": "Seconds"})


class EventSchema(Schema):
    """One event; every field is always there. docs/audit.md tells how the hashes are made."""

    id = fields.Integer(required=True, metadata={"example": 42})
    event_id = fields.String(
        required=True, metadata={"format": "uuid", "example": "7f9c24e8-3b12-4f6a-9d1e-5c8b7a6f0e21"}
    )
    timestamp = fields.Time(required=True, metadata={"description": "When the request began"})
    actor_type = fields.String(required=True, metadata={"example": "user"})
    actor_id = fields.String(required=True, metadata={"example": "1"})
    actor_name = fields.String(required=True, metadata={"example": "admin"})
    api_key_prefix = fields.String(required=True, metadata={"example": "flatrun_1a2b"})
    action = fields.String(required=True, metadata={"example": "deployments.create"})
    method = fields.String(required=True, metadata={"example": "POST"})
    path = fields.String(required=True, metadata={"example": "/api/deployments"})
    resource_type = fields.String(required=True, metadata={"example": "deployment"})
    resource_id = fields.String(required=True, metadata={"example": "my-app"})
    client_ip = fields.String(required=True, metadata={"example": "203.0.113.7"})
    user_agent = fields.String(required=True, metadata={"example": "curl/8.5.0"})
    request_id = fields.String(required=True, metadata={"example": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"})
    request_body = fields.String(
        required=True, metadata={"description": "JSON without secrets, cut to 10,000 characters"}
    )
    response_status = fields.Integer(
        required=True, metadata={"description": "0 where there was no answer", "example": 201}
    )
    response_time_ms = fields.Integer(required=True, metadata={"example": 12})
    success = fields.Boolean(required=True)
    error_message = fields.String(required=True)
    metadata = fields.Dict(keys=fields.String(), required=True, metadata={"description": "Further facts"})
    prev_hash = fields.String(required=True, metadata={"example": _HASH})
    hash = fields.String(required=True, metadata={"example": _HASH})


class EventsAnswer(Schema):
    """A page of events, newest first."""

    events = fields.List(fields.Nested(EventSchema), required=True)
    total = fields.Integer(required=True, metadata={"description": "Events that match", "example": 123})
    limit = fields.Integer(required=True, metadata={"example": 50})
    offset = fields.Integer(required=True, metadata={"example": 0})


class ActorSchema(Schema):
    """An actor with what they did."""

    actor_id = fields.String(required=True)
    actor_type = fields.String(required=True)
    actor_name = fields.String(required=True)
    event_count = fields.Integer(required=True)
    last_seen = fields.Time(required=True)


class DaySchema(Schema):
    """The events of one day, UTC."""

    date = fields.String(required=True, metadata={"format": "date", "example": "2024-01-01"})
    count = fields.Integer(required=True)


class StatsAnswer(Schema):
    """Numbers of events."""

    total_events = fields.Integer(required=True)
    last_24_hours = fields.Integer(required=True)
    last_7_days = fields.Integer(required=True)
    failure_count = fields.Integer(required=True)
    by_action = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    by_actor_type = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    by_resource_type = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    top_actors = fields.List(fields.Nested(ActorSchema), required=True)
    events_trend = fields.List(fields.Nested(DaySchema), required=True)


class CleanupAnswer(Schema):
    """What a cleanup did."""

    message = fields.String(required=True, metadata={"example": "Cleanup completed"})
    deleted = fields.Integer(required=True, metadata={"example": 12})


def filters_of(given: Mapping[str, Any]) -> Filters:
    """A validated query or body as what is looked for."""
    start, end = given["start_time"], given["end_time"]
    return Filters(
        **{name: given[name] for name in LEADS},
        success=given["success"],
        start=None if start is None else microseconds(start),
        end=None if end is None else microseconds(end),
    )


def named_filters(given: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that were given, for the record."""
    names = (*LEADS, "success", "start_time", "end_time")
    return {name: given[name] for name in names if given[name] not in (None, "")}
