"""Requests and answers of the deployments routes, as the API document shows them."""

from typing import Any

from marshmallow import Schema

from flatrun_core import InputSchema, fields

STATUSES = ("running", "stopped", "error", "unknown")
SERVICE_STATES = (
    "running",
    "created",
    "restarting",
    "paused",
    "exited",
    "dead",
    "removing",
    "stopped",
    "unknown",
)
HEALTH = ("healthy", "unhealthy", "starting", "none")

COMPOSE_EXAMPLE = "services:\n  web:\n    image: nginx:alpine\n    expose: ['80']\n"


class EnvironmentVariable(InputSchema):
    """One variable for ``.env.flatrun``."""

    key = fields.String(required=True, metadata={"description": "Empty keys are dropped", "example": "TZ"})
    value = fields.String(load_default="", metadata={"example": "Europe/Berlin"})


class CreateSchema(InputSchema):
    """A deployment to be created from compose text or from a template."""

    name = fields.String(
        required=True,
        metadata={
            "description": "Lower-case letters, digits and inner hyphens, 63 at most; also the folder's name",
            "example": "my-app",
        },
    )
    compose = fields.String(
        allow_none=True,
        load_default=None,
        metadata={"description": "Compose text, kept byte for byte", "example": COMPOSE_EXAMPLE},
    )
    compose_content = fields.String(
        allow_none=True, load_default=None, metadata={"description": "Another spelling of `compose`"}
    )
    template_id = fields.String(
        allow_none=True,
        load_default=None,
        metadata={
            "description": "Template to use, `static` for example; beside `compose` it only adds its files",
        },
    )
    port = fields.Port(
        allow_none=True,
        load_default=None,
        metadata={"description": "Host port to publish the primary service on", "example": 8080},
    )
    auto_start = fields.Boolean(
        load_default=False, metadata={"description": "Start it at once", "example": True}
    )
    metadata = fields.Dict(
        keys=fields.String(), load_default=dict, metadata={"description": "Fields of `service.yml`"}
    )
    env_vars = fields.List(
        fields.Nested(EnvironmentVariable),
        load_default=list,
        metadata={"description": "Kept in `.env.flatrun`"},
    )
    use_shared_database = fields.Boolean(
        load_default=False,
        metadata={"description": "Make a database on the shared server; needs plugin databases"},
    )
    existing_database_container = fields.String(
        allow_none=True,
        load_default=None,
        metadata={"description": "Join this container's network; needs plugin databases"},
    )
    databases = fields.List(
        fields.Dict(keys=fields.String()),
        load_default=list,
        metadata={"description": "Databases to make or use; needs plugin databases"},
    )
    registry_credential = fields.Dict(
        keys=fields.String(),
        allow_none=True,
        load_default=None,
        metadata={"description": "Login for pulling the images; needs plugin registries"},
    )

    @fields.validates_schema
    def _one_spelling(self, data: dict[str, Any], **_: Any) -> None:
        compose, content = data.get("compose"), data.get("compose_content")
        if compose and content and compose != content:
            raise fields.ValidationError("differs from compose", "compose_content")


class RecipeSchema(InputSchema):
    """A deployment to be created by a plugin's recipe."""

    name = fields.String(required=True, metadata={"description": "Name of the deployment", "example": "blog"})
    config = fields.Dict(
        keys=fields.String(),
        load_default=dict,
        metadata={"description": "Values for the plugin's `config_schema`"},
    )
    auto_start = fields.Boolean(load_default=False, metadata={"description": "Start it at once"})


class RemoveQuery(InputSchema):
    """What a removal takes along."""

    remove_files = fields.QueryBoolean(
        load_default=False,
        metadata={"description": "Delete the folder too; else it stays, marked as removed"},
    )
    remove_volumes = fields.QueryBoolean(
        load_default=False, metadata={"description": "Delete the named volumes too"}
    )
    delete_ssl = fields.QueryBoolean(
        load_default=True, metadata={"description": "Delete certificates that nothing else uses"}
    )
    delete_vhost = fields.QueryBoolean(
        load_default=True, metadata={"description": "Delete the proxy configuration"}
    )
    delete_database = fields.QueryBoolean(
        load_default=False, metadata={"description": "Drop databases that were made for it"}
    )


class ServiceState(Schema):
    """A compose service and how it does."""

    name = fields.String(required=True, metadata={"example": "web"})
    status = fields.String(required=True, metadata={"enum": SERVICE_STATES, "example": "running"})
    health = fields.String(required=True, metadata={"enum": HEALTH, "example": "healthy"})


class DeploymentItem(Schema):
    """A deployment in the list."""

    name = fields.String(required=True, metadata={"example": "my-app"})
    path = fields.String(required=True, metadata={"example": "/var/flatrun/deployments/my-app"})
    status = fields.String(required=True, metadata={"enum": STATUSES, "example": "running"})
    created_at = fields.Time(required=True, metadata={"example": "2024-01-01T00:00:00Z"})
    services = fields.List(fields.Nested(ServiceState), required=True)


class ServiceDetail(ServiceState):
    """A compose service with its container."""

    container_id = fields.String(required=True, allow_none=True, metadata={"example": "3f1c9d0a77b2"})
    image = fields.String(required=True, metadata={"example": "nginx:alpine"})
    ports = fields.List(fields.String(), required=True, metadata={"example": ["8080:80"]})
    networks = fields.List(fields.String(), required=True, metadata={"example": ["proxy"]})
    created_at = fields.Time(required=True, allow_none=True, metadata={"example": "2024-01-01T00:00:05Z"})


class DeploymentDetail(DeploymentItem):
    """A deployment with its metadata."""

    updated_at = fields.Time(required=True, metadata={"example": "2024-01-02T00:00:00Z"})
    services = fields.List(fields.Nested(ServiceDetail), required=True)
    metadata = fields.Dict(
        required=True,
        allow_none=True,
        metadata={"description": "`service.yml` in its canonical spelling; null when a file cannot be read"},
    )


class DeploymentAnswer(Schema):
    """Answer of GET /api/deployments/:name."""

    deployment = fields.Nested(DeploymentDetail, required=True)
    compose_content = fields.String(required=True, metadata={"example": COMPOSE_EXAMPLE})
    compose_filename = fields.String(required=True, metadata={"example": "docker-compose.yml"})
    proxy_status = fields.Dict(
        required=True,
        allow_none=True,
        metadata={"description": "State of its routes; null without a proxy plugin"},
    )


class CreatedAnswer(Schema):
    """Answer of POST /api/deployments; texts tell what failed after the files stood."""

    message = fields.String(required=True, metadata={"example": "Deployment created"})
    name = fields.String(required=True, metadata={"example": "my-app"})
    auto_started = fields.Boolean(required=True, metadata={"description": "Whether a start was asked for"})
    start_output = fields.String(required=True, metadata={"example": ""})
    start_error = fields.String(required=True, metadata={"example": ""})
    registry_login_error = fields.String(required=True, metadata={"example": ""})
    proxy_result = fields.Dict(required=True, allow_none=True)
    warnings = fields.List(fields.String(), metadata={"description": "Only when there are any"})


class ActionAnswer(Schema):
    """Answer of start, stop and restart."""

    message = fields.String(required=True, metadata={"example": "Deployment started"})
    name = fields.String(required=True, metadata={"example": "my-app"})
    output = fields.String(required=True, metadata={"description": "What the program wrote"})


class RemovedAnswer(Schema):
    """Answer of DELETE /api/deployments/:name."""

    message = fields.String(required=True, metadata={"example": "Deployment deleted"})
    name = fields.String(required=True, metadata={"example": "my-app"})
    files_removed = fields.Boolean(required=True)
    deleted_items = fields.List(
        fields.String(),
        required=True,
        metadata={"example": ["virtual_host", "ssl_certificate:blog.example.com"]},
    )
    warnings = fields.List(
        fields.String(), metadata={"description": "Only when something could not be deleted"}
    )


class ComposeRefusal(Schema):
    """The body of an answer for which compose or the Engine is to blame."""

    error = fields.String(required=True, metadata={"example": "'docker compose up' failed: no such image"})
    code = fields.String(required=True, metadata={"example": "COMPOSE_FAILED"})
    output = fields.String(metadata={"description": "What the program wrote"})


class RecipeDeployment(Schema):
    """A deployment made by a recipe."""

    name = fields.String(required=True, metadata={"example": "blog"})
    path = fields.String(required=True, metadata={"example": "/var/flatrun/deployments/blog"})
    containers = fields.List(fields.String(), required=True, metadata={"example": []})
    urls = fields.List(fields.String(), required=True, metadata={"example": []})
    credentials = fields.Dict(
        keys=fields.String(), required=True, metadata={"description": "Shown only here", "example": {}}
    )


class RecipeAnswer(Schema):
    """Answer of POST /api/plugins/:name/deployments."""

    message = fields.String(required=True, metadata={"example": "Deployment created"})
    deployment = fields.Nested(RecipeDeployment, required=True)
