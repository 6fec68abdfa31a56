"""Requests and answers of the container routes, as the API document shows them."""

from collections.abc import Sequence
from typing import Any

from marshmallow import Schema

from flatrun_core import InputSchema, fields
from flatrun_deployments.containers import ContainerItem

STATES = ("running", "created", "restarting", "paused", "exited", "dead", "removing")
HEALTH = ("healthy", "unhealthy", "starting", "none")


class ContainerQuery(InputSchema):
    """Which containers."""

    all = fields.QueryBoolean(load_default=True, metadata={"description": "Also those that do not run"})


class ContainerEntry(Schema):
    """A container."""

    id = fields.String(required=True, metadata={"example": "3f1c9d0a77b2"})
    name = fields.String(required=True, metadata={"example": "my-app-web-1"})
    image = fields.String(required=True, metadata={"example": "nginx:alpine"})
    state = fields.String(required=True, metadata={"enum": STATES, "example": "running"})
    status = fields.String(required=True, metadata={"example": "Up 2 hours"})
    health = fields.String(required=True, metadata={"enum": HEALTH, "example": "none"})
    ports = fields.List(fields.String(), required=True, metadata={"example": ["0.0.0.0:8080->80/tcp"]})
    created = fields.Time(required=True, metadata={"example": "2024-01-01T00:00:00Z"})
    deployment = fields.String(required=True, allow_none=True, metadata={"example": "my-app"})
    service = fields.String(required=True, allow_none=True, metadata={"example": "web"})


class ContainerList(Schema):
    """Answer of GET /api/containers."""

    containers = fields.List(fields.Nested(ContainerEntry), required=True)


class ContainerAnswer(Schema):
    """Answer of what was done to a container."""

    message = fields.String(required=True, metadata={"example": "Container started"})
    id = fields.String(required=True, metadata={"description": "As asked for", "example": "3f1c9d0a77b2"})


def listing(items: Sequence[ContainerItem]) -> dict[str, Any]:
    """The list, straight from the dataclasses; a test holds the schema to it."""
    return {
        "containers": [
            {
                "id": item.id,
                "name": item.name,
                "image": item.image,
                "state": item.state,
                "status": item.status,
                "health": item.health,
                "ports": list(item.ports),
                "created": fields.format_time(item.created),
                "deployment": item.deployment,
                "service": item.service,
            }
            for item in items
        ]
    }
