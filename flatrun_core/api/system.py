"""The core's own routes: health, settings, plugins and the API document."""

import time
from typing import TYPE_CHECKING, Any, Final

from flask import Response, current_app, request
from flask.views import MethodView
from marshmallow import Schema

from flatrun_core import fields
from flatrun_core.access import access, authenticated, public
from flatrun_core.api.access_table import published_accesses
from flatrun_core.api.blueprint import Blueprint, read_json
from flatrun_core.api.docs_page import render_page
from flatrun_core.api.errors import json_response
from flatrun_core.context import PLUGIN_TYPES, identify, identity, record_facts, service
from flatrun_core.errors import Invalid, NotFound
from flatrun_core.plugins import PluginRecord
from flatrun_core.ports.deployments import RECIPES
from flatrun_core.ports.settings import SETTINGS
from flatrun_core.settings import ApiSettings

if TYPE_CHECKING:
    from flatrun_core.panel import Panel

STARTED = time.monotonic()

blp = Blueprint(
    "system", __name__, url_prefix="/api", description="Health, settings, plugins and this document"
)


class HealthSchema(Schema):
    """Answer of GET /api/health."""

    status = fields.String(required=True, metadata={"example": "ok"})
    version = fields.String(required=True, metadata={"example": "0.1.0"})
    uptime = fields.String(required=True, metadata={"example": "24h30m"})


_SETTINGS: Final = {
    "description": "Keys of the core at the top, then a group for each plugin that publishes some",
    "example": {"deployments_path": "/var/flatrun/deployments", "api_port": 8090, "enable_cors": False},
}


class SettingsAnswer(Schema):
    """Answer of GET /api/settings."""

    settings = fields.Dict(required=True, metadata=_SETTINGS)


class SettingsChanged(Schema):
    """Answer of PUT /api/settings."""

    message = fields.String(required=True, metadata={"example": "Settings updated"})
    settings = fields.Dict(required=True, metadata=_SETTINGS)


class PluginSchema(Schema):
    """One installed plugin, active or not."""

    name = fields.String(required=True, metadata={"example": "deployments"})
    display_name = fields.String(required=True, metadata={"example": "Deployments"})
    version = fields.String(required=True, metadata={"example": "0.1.0"})
    description = fields.String(
        required=True, metadata={"example": "Folders with a compose file as deployments"}
    )
    author = fields.String(required=True, metadata={"example": "The Flatrun authors"})
    type = fields.String(required=True, metadata={"enum": PLUGIN_TYPES, "example": "deployment"})
    category = fields.String(required=True, metadata={"example": "deployments"})
    enabled = fields.Boolean(
        required=True, metadata={"description": "Whether the settings let it take part", "example": True}
    )
    status = fields.String(required=True, metadata={"enum": ["active", "disabled", "unavailable", "failed"]})
    reason = fields.String(
        required=True, metadata={"description": "Why it is not active, or empty", "example": ""}
    )
    distribution = fields.String(required=True, metadata={"example": "flatrun-deployments"})
    homepage = fields.String(required=True, metadata={"example": ""})
    capabilities = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Services it offers and hooks it implements", "example": ["deployments"]},
    )
    requires = fields.List(
        fields.String(), required=True, metadata={"description": "Plugins it needs", "example": []}
    )
    permissions = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Permissions its routes ask for", "example": ["deployments:read"]},
    )
    settings_schema = fields.Dict(
        required=True, metadata={"description": "JSON Schema of its settings", "example": {}}
    )
    config_schema = fields.Dict(
        metadata={"description": "JSON Schema of its recipe's values, when it has a recipe", "example": {}}
    )


class PermissionSchema(Schema):
    """A permission."""

    name = fields.String(required=True, metadata={"example": "deployments:read"})
    description = fields.String(required=True, metadata={"example": "See deployments"})
    roles = fields.List(fields.String(), required=True, metadata={"example": ["admin", "operator", "viewer"]})
    plugin = fields.String(required=True, metadata={"example": "deployments"})


class RouteAccessSchema(Schema):
    """What one route requires."""

    method = fields.String(required=True, metadata={"example": "POST"})
    path = fields.String(required=True, metadata={"example": "/api/deployments/{name}/restart"})
    access = fields.String(
        required=True,
        metadata={
            "enum": ["permission", "authenticated", "public"],
            "description": "Permissions, any identity, or nothing",
        },
    )
    permissions = fields.List(fields.String(), required=True, metadata={"example": ["deployments:write"]})
    any_of = fields.Boolean(
        required=True, metadata={"description": "Whether one of the permissions is enough", "example": False}
    )
    level = fields.String(
        required=True,
        allow_none=True,
        metadata={"enum": ["read", "write", "admin", None], "description": "Access to the deployment"},
    )
    plugin = fields.String(required=True, metadata={"example": "deployments"})


class PermissionsAnswer(Schema):
    """Answer of GET /api/permissions."""

    permissions = fields.List(fields.Nested(PermissionSchema), required=True)
    routes = fields.List(fields.Nested(RouteAccessSchema), required=True)


class OpenApiDocument(Schema):
    """The API document itself; see the OpenAPI 3 specification for the rest."""

    openapi = fields.String(required=True, metadata={"example": "3.0.3"})
    info = fields.Dict(required=True)
    servers = fields.List(fields.Dict(), required=True)
    tags = fields.List(fields.Dict(), required=True)
    paths = fields.Dict(required=True)
    components = fields.Dict(required=True)


class PluginsAnswer(Schema):
    """Answer of GET /api/plugins."""

    plugins = fields.List(fields.Nested(PluginSchema), required=True)


class PluginAnswer(Schema):
    """Answer of GET /api/plugins/:name."""

    plugin = fields.Nested(PluginSchema, required=True)


def uptime(seconds: float) -> str:
    """``24h30m`` from one hour, ``30m`` from one minute, else ``12s``."""
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours:
        return f"{hours}h{minutes % 60}m"
    return f"{minutes}m" if minutes else f"{int(seconds)}s"


@blp.route("/health")
class Health(MethodView):
    """Whether the process serves."""

    @public()
    @blp.response(200, HealthSchema)
    def get(self) -> Response:
        """Tell that the panel serves; needs no credential."""
        version = current_app.config["API_VERSION"]
        return json_response(
            {"status": "ok", "version": version, "uptime": uptime(time.monotonic() - STARTED)}
        )


@blp.route("/settings")
class Settings(MethodView):
    """The panel's settings."""

    @access("settings:read", resource="settings")
    @blp.response(200, SettingsAnswer)
    def get(self) -> dict[str, Any]:
        """The settings of every active plugin; secrets are never answered."""
        return {"settings": service(SETTINGS).published()}

    @access("settings:write", action="settings.update", resource="settings")
    @blp.doc(
        requestBody={
            "required": True,
            "description": "Any subset of what GET answers; absent keys stay as they are.",
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "example": {"enable_cors": True, "allowed_origins": ["https://panel.example.com"]},
                }
            },
        }
    )
    @blp.raises(400, 409)
    @blp.response(200, SettingsChanged)
    def put(self) -> dict[str, Any]:
        """Change settings, all or nothing, and write them to the configuration file."""
        body = read_json(request)
        if body is None:
            raise Invalid("A JSON object is required as the request body", code="INVALID_BODY")
        result = service(SETTINGS).change(body, identity())
        record_facts(changed=list(result.changed))
        return {"message": "Settings updated", "settings": result.settings}


@blp.route("/plugins")
class Plugins(MethodView):
    """Every installed plugin."""

    @access("templates:read", resource="plugin")
    @blp.response(200, PluginsAnswer)
    def get(self) -> dict[str, Any]:
        """List plugins by name, with those that are not active and why."""
        return {"plugins": [describe_plugin(record) for record in _panel().plugins]}


@blp.route("/plugins/<name>")
class Plugin(MethodView):
    """One installed plugin."""

    @access("templates:read", resource="plugin")
    @blp.response(200, PluginAnswer)
    def get(self, name: str) -> dict[str, Any]:
        """Show one plugin."""
        for record in _panel().plugins:
            if record.slug == name:
                return {"plugin": describe_plugin(record)}
        raise NotFound("Plugin not found", code="PLUGIN_NOT_FOUND")


@blp.route("/permissions")
class Permissions(MethodView):
    """What there is to permit, and what each route asks for."""

    @authenticated(resource="permission")
    @blp.response(200, PermissionsAnswer)
    def get(self) -> dict[str, Any]:
        """List every permission with the roles that hold it, and what each route requires."""
        panel = _panel()
        return {
            "permissions": list(panel.permissions.known().values()),
            "routes": published_accesses(panel.accesses),
        }


@blp.route("/openapi.json")
class OpenApi(MethodView):
    """The API document."""

    @public()
    @blp.raises(401)
    @blp.response(200, OpenApiDocument)
    def get(self) -> Response:
        """The OpenAPI 3 document of every installed plugin."""
        _need_reader()
        return json_response(_panel().document)


@blp.route("/docs")
class Docs(MethodView):
    """The documentation page."""

    @public()
    @blp.raises(401)
    @blp.doc(
        responses={"200": {"description": "OK", "content": {"text/html": {"schema": {"type": "string"}}}}}
    )
    def get(self) -> Response:
        """The API document as a page that needs nothing from elsewhere."""
        _need_reader()
        return render_page(_panel().document)


def describe_plugin(record: PluginRecord) -> dict[str, Any]:
    """A plugin as the API answers it."""
    info = record.info
    described: dict[str, Any] = {
        "name": record.slug,
        "display_name": (info.display_name if info else "") or record.slug.replace("_", " ").title(),
        "version": record.version,
        "description": record.description,
        "author": record.author,
        "type": info.type if info else "service",
        "category": info.category if info else "",
        "enabled": record.status != "disabled",
        "status": str(record.status),
        "reason": record.reason,
        "distribution": record.distribution,
        "homepage": record.homepage,
        "capabilities": record.capabilities,
        "requires": list(info.requires) if info else [],
        "permissions": record.permissions,
        "settings_schema": record.settings_schema,
    }
    recipes = _panel().services.find(RECIPES)
    config_schema = recipes.config_schema(record.slug) if recipes is not None else None
    if config_schema is not None:
        described["config_schema"] = config_schema
    return described


def _panel() -> "Panel":
    panel: Panel = current_app.extensions["flatrun"]
    return panel


def _need_reader() -> None:
    if not _panel().settings.snapshot.of(ApiSettings).public_docs:
        identify()
