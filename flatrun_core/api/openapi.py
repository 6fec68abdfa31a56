"""The API document: what flask-smorest knows of schemas, joined with what each view declares of access."""

import re
from collections.abc import Sequence
from typing import Any

import flask_smorest
from apispec import APISpec
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask

from flatrun_core.api.errors import ErrorSchema
from flatrun_core.ports.auth import Access
from flatrun_core.ports.settings import SettingsGroup

TITLE = "Flatrun"
OPENAPI_VERSION = "3.0.3"
_PARAMETER = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token from login, or an API key; `Authorization: ApiKey <key>` works too.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_STATUSES = {
    400: "A field, a query value or a name in the path is not valid",
    401: "No credential, or one that is not accepted",
    403: "A permission or the deployment is not this identity's",
    404: "There is no such object",
    413: "The request body is too large",
    500: "An unexpected failure",
    503: "Something this needs is not available",
}


class FlatrunApi(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest's Api with the error body of this project."""

    ERROR_SCHEMA = ErrorSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        """Errors are shaped by ``flatrun_core.api.errors``."""


def make_api(app: Flask, version: str) -> FlatrunApi:
    """The Api of one application; nothing is served by flask-smorest itself."""
    app.config.update(
        API_TITLE=TITLE, API_VERSION=version, OPENAPI_VERSION=OPENAPI_VERSION, OPENAPI_URL_PREFIX=None
    )
    api = FlatrunApi(app)
    content = {"application/json": {"schema": ErrorSchema}}
    api.spec.components.response("ERROR", {"description": "The request failed", "content": content})
    for name, scheme in _SCHEMES.items():
        api.spec.components.security_scheme(name, scheme)
    return api


def build_document(api: FlatrunApi, accesses: dict[tuple[str, str], tuple[str, Access]]) -> dict[str, Any]:
    """The whole document.

    ``accesses`` maps (rule, lower-case method) to the plugin and the declaration; internal routes
    are left out, every other operation gets its security, permissions and implied error answers.
    """
    document: dict[str, Any] = api.spec.to_dict()
    document["info"]["description"] = (
        "Folders with a compose file become hosted sites. Every failure has the body "
        '`{"error": sentence, "code": UPPER_SNAKE}`; unknown request fields are ignored.'
    )
    for (rule, method), (plugin, access) in accesses.items():
        path = _PARAMETER.sub(r"{\1}", rule)
        operation = document["paths"].get(path, {}).get(method)
        if operation is None:
            continue
        if access.kind == "internal":
            del document["paths"][path][method]
            continue
        operation.setdefault("operationId", _operation_id(method, path))
        operation["x-plugin"] = plugin
        _describe_access(operation, access)
        _describe_failures(operation, access, "{" in path, method)
    document["paths"] = {
        path: item for path, item in sorted(document["paths"].items()) if set(item) - {"parameters"}
    }
    return document


def settings_schema(groups: Sequence[SettingsGroup]) -> dict[str, Any]:
    """A JSON Schema of settings groups, each under its dotted name."""
    spec = APISpec(TITLE, "1", OPENAPI_VERSION)
    converter = OpenAPIConverter(OPENAPI_VERSION, schema_name_resolver=lambda _: None, spec=spec)
    describe: Any = converter.schema2jsonschema
    properties = {group.name: describe(group.schema()) for group in groups}
    return {"type": "object", "properties": properties} if properties else {}


def _describe_access(operation: dict[str, Any], access: Access) -> None:
    operation["security"] = [] if access.kind == "public" else _SECURITY
    if access.permissions:
        operation["x-permissions"] = list(access.permissions)
        operation["x-permissions-any"] = access.any_of
    if access.level is not None:
        operation["x-level"] = access.level.name.lower()


def _describe_failures(operation: dict[str, Any], access: Access, has_parameters: bool, method: str) -> None:
    statuses = [500, 503]
    if has_parameters or operation.get("parameters") or "requestBody" in operation:
        statuses.append(400)
    if has_parameters:
        statuses.append(404)
    if "requestBody" in operation:
        statuses.append(413)
    if access.kind != "public":
        statuses += [401, 403]
    responses = operation.setdefault("responses", {})
    for status in statuses:
        responses.setdefault(str(status), _error(_STATUSES[status]))
    for status, response in list(responses.items()):
        if response == {"$ref": "#/components/responses/ERROR"} and status.isdigit():
            responses[status] = _error(_STATUSES.get(int(status), "The request failed"))
    operation["responses"] = dict(sorted(responses.items()))


def _error(description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": description, "content": content}


def _operation_id(method: str, path: str) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", path.removeprefix("/api/")) if word]
    return "_".join([method, *words])
