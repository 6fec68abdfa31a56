"""The API document: what flask-smorest knows of schemas, joined with what each view declares of access."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import flask_smorest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask

from flatrun_core.api.access_table import document_path
from flatrun_core.api.errors import ErrorSchema
from flatrun_core.api.examples import example_of
from flatrun_core.plugins import first_party
from flatrun_core.ports.auth import Access
from flatrun_core.ports.settings import SettingsGroup

TITLE = "Flatrun"
OPENAPI_VERSION = "3.0.3"
_OURS = ("flatrun_core", "flask_smorest")
_INFO = {
    "description": (
        "Folders with a compose file become hosted sites. Every failure has the body "
        '`{"error": sentence, "code": UPPER_SNAKE}`; unknown request fields are ignored, and a program '
        "must ignore answer fields that it does not know."
    ),
    "license": {"name": "MIT"},
}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token from login, or an API key; `Authorization: ApiKey <key>` works too.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
# Name of the shared answer, what it means, and a body as it comes.
_FAILURES = {
    400: ("BadRequest", "A field, a query value or a name in the path is not valid", "VALIDATION_ERROR"),
    401: ("Unauthenticated", "No credential, or one that is not accepted", "AUTH_REQUIRED"),
    403: ("Forbidden", "A permission or the deployment is not this identity's", "PERMISSION_DENIED"),
    404: ("NotFound", "There is no such object", "NOT_FOUND"),
    409: ("Conflict", "A duplicate, something in use, or a state in which this cannot be done", "CONFLICT"),
    413: ("TooLarge", "The request body is too large", "PAYLOAD_TOO_LARGE"),
    429: ("RateLimited", "Too many attempts, or too many streams of one actor", "RATE_LIMITED"),
    500: ("Failed", "An unexpected failure, or a program that refused", "INTERNAL_ERROR"),
    502: ("UpstreamFailed", "A remote service cannot be reached or refused", "UPSTREAM_FAILED"),
    503: ("Unavailable", "Something this needs is off, down or full; later may help", "UNAVAILABLE"),
    504: ("TimedOut", "A program or a remote service took longer than its limit", "TIMED_OUT"),
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
    plugin = MarshmallowPlugin(schema_name_resolver=_schema_names(first_party()))
    api = FlatrunApi(app, spec_kwargs={"marshmallow_plugin": plugin})
    content = {"application/json": {"schema": ErrorSchema}}
    api.spec.components.response("ERROR", {"description": "The request failed", "content": content})
    for name, scheme in _SCHEMES.items():
        api.spec.components.security_scheme(name, scheme)
    return api


def _schema_names(first_party: frozenset[str]) -> Callable[[Any], str]:
    """Names of schemas in the document; a stranger's carry the name of their plugin.

    So no two plugins clash, and a name never depends on what else is installed.
    """

    def name(schema: Any) -> str:
        found = resolve_schema_cls(schema)
        kind = found[0] if isinstance(found, list) else found
        plain = kind.__name__.removesuffix("Schema") or kind.__name__
        package = kind.__module__.partition(".")[0]
        slug = package.removeprefix("flatrun_")
        if package in _OURS or slug in first_party:
            return str(plain)
        prefix = "".join(word.capitalize() for word in re.split(r"[^A-Za-z0-9]+", slug))
        return str(plain) if plain.startswith(prefix) else f"{prefix}{plain}"

    return name


def build_document(api: FlatrunApi, accesses: dict[tuple[str, str], tuple[str, Access]]) -> dict[str, Any]:
    """The whole document.

    ``accesses`` maps (rule, lower-case method) to the plugin and the declaration; internal routes
    are left out, every other operation gets its security, permissions, implied error answers and
    examples.
    """
    document: dict[str, Any] = api.spec.to_dict()
    document["info"].update(_INFO)
    document["servers"] = [{"url": "/", "description": "This panel"}]
    for (rule, method), (plugin, access) in accesses.items():
        path = document_path(rule)
        operation = document["paths"].get(path, {}).get(method)
        if operation is None:
            continue
        if access.kind == "internal":
            del document["paths"][path][method]
            continue
        operation.setdefault("operationId", _operation_id(method, path))
        operation["x-plugin"] = plugin
        _describe_access(operation, access)
        _describe_name(document["paths"][path], access)
        _describe_failures(operation, access, "{" in path)
        _give_examples(operation, document["components"]["schemas"])
    document["paths"] = {
        path: item for path, item in sorted(document["paths"].items()) if set(item) - {"parameters"}
    }
    _tidy(document)
    # Through JSON once: what serves, validates and renders it then meets lists only, never a tuple.
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


def _tidy(document: dict[str, Any]) -> None:
    """Share the failures, and leave out what flask-smorest adds and nothing here uses."""
    components = document["components"]
    components["responses"] = {name: _failure(text, code) for name, text, code in _FAILURES.values()}
    components["schemas"].pop("PaginationMetadata", None)
    for schema in components["schemas"].values():
        # Later versions may answer more, and a refusal may bring details; neither may break a program.
        if schema.get("additionalProperties") is False:
            del schema["additionalProperties"]
    used = {tag for item in document["paths"].values() for op in _operations(item) for tag in op["tags"]}
    document["tags"] = [tag for tag in document["tags"] if tag["name"] in used]


def _operations(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for method, operation in item.items() if method != "parameters"]


def _give_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    asked = operation.get("requestBody", {}).get("content", {})
    answered = [
        response.get("content", {})
        for status, response in operation["responses"].items()
        if status.startswith("2")
    ]
    for content, sparse in ((asked, True), *((each, False) for each in answered)):
        media = content.get("application/json")
        if media is not None and not {"example", "examples"} & set(media):
            media["example"] = example_of(media.get("schema", {}), schemas, sparse=sparse)


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


def _describe_name(item: dict[str, Any], access: Access) -> None:
    """Tell of the path's `name` where a level is asked for on it: there it is a deployment's."""
    if access.level is None or access.deployment is not None:
        return
    for parameter in item.get("parameters", ()):
        if parameter["name"] == "name":
            parameter.setdefault("description", "The deployment")
            parameter.setdefault("example", "my-app")


def _describe_failures(operation: dict[str, Any], access: Access, has_parameters: bool) -> None:
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
        responses.setdefault(str(status), {"$ref": ""})
    for status, response in responses.items():
        # What flask-smorest gives names an answer of its own; the meaning is the status's.
        if "$ref" in response and status.isdigit() and int(status) in _FAILURES:
            responses[status] = {"$ref": f"#/components/responses/{_FAILURES[int(status)][0]}"}
    operation["responses"] = dict(sorted(responses.items()))


def _failure(description: str, code: str) -> dict[str, Any]:
    content = {
        "schema": {"$ref": "#/components/schemas/Error"},
        "example": {"error": description, "code": code},
    }
    return {"description": description, "content": {"application/json": content}}


def _operation_id(method: str, path: str) -> str:
    # `{name}` reads as "by name", which also keeps /a/{b} and /a/b apart.
    words = re.split(r"[^A-Za-z0-9]+", path.removeprefix("/api/").replace("{", "by_").rstrip("}"))
    return "_".join([method, *words])
