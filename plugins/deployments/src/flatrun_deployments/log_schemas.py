"""Requests and answers of logs and statistics, as the API document shows them."""

from datetime import UTC, datetime
from typing import Any, Final

from marshmallow import Schema

from flatrun_core import InputSchema, fields
from flatrun_deployments.log_stream import LogQuery
from flatrun_deployments.log_text import MAX_TAIL, since_moment, timestamp

STREAM_DESCRIPTION = (
    "With `follow`: server-sent events. `log` for each line (`service`, `container`, `timestamp`, `stream`, "
    "`line`), first the last `tail` ones, then live, through restarts and recreation; `skipped` (`lines`, "
    "null when not known) when a client or the panel was too slow; `error` (`error`, `code`) before it "
    "closes on a failure; `end` (`reason`: `stopped`, `deleted`, `forbidden` or `shutdown`). A comment "
    "each 15 seconds keeps the connection alive."
)

# Beside the JSON of a request that does not follow.
STREAM_ANSWER: Final = {
    200: {
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": (
                    "event: log\n"
                    'data: {"service":"web","container":"my-app-web-1","timestamp":"2024-01-01T00:00:00Z",'
                    '"stream":"stdout","line":"GET / 200"}\n\n'
                    'event: end\ndata: {"reason":"stopped"}\n\n'
                ),
            }
        }
    }
}


class Since(fields.String):
    """An RFC 3339 time, or a Go duration back from now; empty is none. Loads as RFC 3339 text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not text:
            return None
        try:
            return timestamp(since_moment(text, datetime.now(UTC)))
        except ValueError as exc:
            raise fields.ValidationError('Must be an RFC 3339 time or a duration such as "10m".') from exc


class ContainerLogQuery(InputSchema):
    """Which lines of one container."""

    tail = fields.QueryInteger(
        min=1,
        max=MAX_TAIL,
        clamp_max=True,
        load_default=100,
        metadata={"description": f"The last lines, in all; more than {MAX_TAIL} is taken as {MAX_TAIL}"},
    )
    follow = fields.QueryBoolean(load_default=False, metadata={"description": "Go on, as a stream of events"})
    since = Since(
        load_default=None,
        metadata={
            "description": "Nothing older: an RFC 3339 time, or a duration back from now",
            "example": "10m",
        },
    )
    timestamps = fields.QueryBoolean(
        load_default=False, metadata={"description": "Begin each line of the text with its time"}
    )


class DeploymentLogQuery(ContainerLogQuery):
    """Which lines of a deployment."""

    timestamps = fields.QueryBoolean(
        load_default=True, metadata={"description": "Begin each line of the text with its time"}
    )
    service = fields.String(
        load_default=None, metadata={"description": "Only this compose service", "example": "web"}
    )


class DeploymentLogs(Schema):
    """Answer of GET /api/deployments/:name/logs."""

    name = fields.String(required=True, metadata={"example": "my-app"})
    logs = fields.String(
        required=True, metadata={"example": "web-1  | 2024-01-01T00:00:00.000000000Z GET / 200\n"}
    )


class ContainerLogs(Schema):
    """Answer of GET /api/containers/:id/logs."""

    id = fields.String(required=True, metadata={"description": "As asked for", "example": "3f1c9d0a77b2"})
    logs = fields.String(required=True, metadata={"example": "GET / 200\n"})


class UsageItem(Schema):
    """What one container uses; sizes in bytes."""

    container_id = fields.String(required=True, metadata={"example": "3f1c9d0a77b2"})
    name = fields.String(required=True, metadata={"example": "my-app-web-1"})
    service = fields.String(required=True, allow_none=True, metadata={"example": "web"})
    cpu_percent = fields.Float(required=True, metadata={"description": "Of one processor", "example": 1.5})
    memory_usage = fields.Integer(required=True, metadata={"example": 52428800})
    memory_limit = fields.Integer(
        required=True, metadata={"description": "The host's memory without a limit", "example": 2147483648}
    )
    memory_percent = fields.Float(required=True, metadata={"example": 2.44})
    network_rx = fields.Integer(required=True, metadata={"example": 1024})
    network_tx = fields.Integer(required=True, metadata={"example": 2048})
    block_read = fields.Integer(required=True, metadata={"example": 0})
    block_write = fields.Integer(required=True, metadata={"example": 0})
    pids = fields.Integer(required=True, metadata={"example": 5})


class UsageSum(Schema):
    """The sum over a deployment's containers."""

    cpu_percent = fields.Float(required=True, metadata={"example": 1.5})
    memory_percent = fields.Float(required=True, metadata={"example": 2.44})
    memory_usage = fields.Integer(required=True, metadata={"example": 52428800})
    memory_limit = fields.Integer(
        required=True,
        metadata={"description": "The host's memory counts once for all without one", "example": 2147483648},
    )


class DeploymentStats(Schema):
    """Answer of GET /api/deployments/:name/stats."""

    deployment = fields.String(required=True, metadata={"example": "my-app"})
    services = fields.List(fields.Nested(UsageItem), required=True)
    summary = fields.Nested(UsageSum, required=True)


def log_query(query: dict[str, Any]) -> LogQuery:
    """A validated query as what the service takes."""
    return LogQuery(query["tail"], query["since"], query.get("service") or None, query["timestamps"])
