"""The API document: valid, complete, good to generate a client from; and the page made of it."""

import gzip
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
from flask import Flask
from flask.views import MethodView
from openapi_spec_validator import validate

from flatrun_core import HOOK_API, Blueprint, PluginInfo, hookimpl, public
from flatrun_core.api.docs_operation import curl_line, operations
from flatrun_core.api.examples import example_of, resolved
from flatrun_core.plugins import discover

CORE_ROUTES = {
    ("GET", "/api/health"),
    ("GET", "/api/settings"),
    ("PUT", "/api/settings"),
    ("GET", "/api/plugins"),
    ("GET", "/api/plugins/{}"),
}
PLUGIN_ROUTES = {
    "deployments": {
        ("GET", "/api/deployments"),
        ("GET", "/api/deployments/{}"),
        ("POST", "/api/deployments"),
        ("POST", "/api/deployments/{}/start"),
        ("POST", "/api/deployments/{}/stop"),
        ("POST", "/api/deployments/{}/restart"),
        ("DELETE", "/api/deployments/{}"),
        ("GET", "/api/deployments/{}/logs"),
        ("GET", "/api/deployments/{}/stats"),
        ("GET", "/api/containers"),
        ("POST", "/api/containers/{}/start"),
        ("POST", "/api/containers/{}/stop"),
        ("POST", "/api/containers/{}/restart"),
        ("DELETE", "/api/containers/{}"),
        ("GET", "/api/containers/{}/logs"),
        ("POST", "/api/plugins/{}/deployments"),
    },
    "certificates": {
        ("GET", "/api/certificates"),
        ("POST", "/api/certificates"),
        ("POST", "/api/certificates/renew"),
        ("GET", "/api/certificates/{}"),
        ("DELETE", "/api/certificates/{}"),
        ("POST", "/api/certificates/{}/renew"),
        ("PATCH", "/api/certificates/{}/auto-renew"),
        ("POST", "/api/deployments/{}/certificates/renew"),
    },
    "domains": {
        ("GET", "/api/deployments/{}/domains"),
        ("POST", "/api/deployments/{}/domains"),
        ("PUT", "/api/deployments/{}/domains/{}"),
        ("DELETE", "/api/deployments/{}/domains/{}"),
        ("POST", "/api/deployments/{}/ssl/disable"),
        ("GET", "/api/proxy/status/{}"),
        ("POST", "/api/proxy/setup/{}"),
        ("DELETE", "/api/proxy/{}"),
        ("GET", "/api/proxy/vhosts"),
        ("POST", "/api/proxy/sync"),
        ("GET", "/api/subdomain/generate"),
    },
    "templates": {
        ("GET", "/api/templates"),
        ("GET", "/api/templates/categories"),
        ("POST", "/api/templates/refresh"),
        ("GET", "/api/templates/{}/compose"),
    },
}
INSTALLED = sorted(record.slug for record in discover())
SETS = {"core": [], "all": INSTALLED}


@pytest.fixture(params=SETS, ids=str)
def app(request: pytest.FixtureRequest, flatrun_app: Callable[..., Flask]) -> Flask:
    return flatrun_app(plugins=SETS[request.param])


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/api/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def each(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for operation in operations(document):
        yield f"{operation.method.upper()} {operation.path}", dict(operation.raw)


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_every_route_of_the_core_and_of_first_party_plugins_is_there(
    app: Flask, document: dict[str, Any]
) -> None:
    active = {record.slug for record in app.extensions["flatrun"].plugins if record.active}
    wanted = CORE_ROUTES.union(*(PLUGIN_ROUTES.get(slug, set()) for slug in active))
    found = {(o.method.upper(), re.sub(r"\{[^}]*\}", "{}", o.path)) for o in operations(document)}
    assert wanted <= found


def test_operation_ids_are_unique_names(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in each(document)]
    assert len(ids) == len(set(ids))
    assert all(name.isidentifier() for name in ids)


def test_every_operation_says_what_it_does_and_answers(document: dict[str, Any]) -> None:
    for name, operation in each(document):
        assert operation.get("summary"), name
        good = [response for status, response in operation["responses"].items() if status.startswith("2")]
        assert good, name
        for response in good:
            assert response["content"], name
            assert all(media.get("schema") for media in response["content"].values()), name


def test_every_answer_with_a_body_of_json_has_an_example_of_its_schema(document: dict[str, Any]) -> None:
    for name, operation in each(document):
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [r.get("content", {}) for s, r in operation["responses"].items() if s.startswith("2")]
        for content in contents:
            media = content.get("application/json")
            if media is not None:
                assert "example" in media, name
                check(media["example"], media["schema"], document)


def check(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Validate a value, with OpenAPI 3.0's `nullable` told in JSON Schema's own way."""

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(inner) for inner in node]
        if not isinstance(node, dict):
            return node
        inner = {key: plain(part) for key, part in node.items() if key not in ("nullable", "example")}
        return {"anyOf": [inner, {"type": "null"}]} if node.get("nullable") is True else inner

    jsonschema.validate(value, {**plain(schema), "components": plain(document["components"])})


def test_every_tag_is_described_and_every_operation_has_one(document: dict[str, Any]) -> None:
    described = {tag["name"] for tag in document["tags"] if tag.get("description")}
    used = {tag for _, operation in each(document) for tag in operation["tags"]}
    assert used == described
    assert all(operation["tags"] for _, operation in each(document))


def test_every_operation_tells_who_may_call_it(document: dict[str, Any]) -> None:
    for name, operation in each(document):
        assert operation["x-plugin"], name
        if operation["security"]:
            assert operation["security"] == [{"bearer": []}, {"apiKey": []}], name
            assert {"401", "403"} <= set(operation["responses"]), name
        else:
            assert "x-permissions" not in operation, name


def test_every_failure_has_the_one_body(document: dict[str, Any]) -> None:
    for operation in operations(document):
        for status in operation.raw["responses"]:
            if status.startswith(("4", "5")):
                schema = operation.response(status)["content"]["application/json"]["schema"]
                shape = resolved(schema, operation.schemas)
                assert {"error", "code"} <= set(shape["required"]), operation.id
                assert shape["properties"]["error"]["type"] == "string", operation.id
                # Details of a refusal may be added; a program must not stumble over them.
                assert shape.get("additionalProperties") is not False, operation.id


def test_every_component_is_used(document: dict[str, Any]) -> None:
    text = str(document)
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}'" in text, name


def test_internal_routes_are_not_published(app: Flask, document: dict[str, Any]) -> None:
    internal = {
        rule for (rule, _), (_, a) in app.extensions["flatrun"].accesses.items() if a.kind == "internal"
    }
    assert not internal & set(document["paths"])


# --- examples ---


def test_an_example_is_made_of_what_the_fields_say() -> None:
    schemas = {
        "Inner": {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}},
    }
    schema = {
        "type": "object",
        "required": ["name", "kind"],
        "properties": {
            "name": {"type": "string", "example": "Ada"},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "count": {"type": "integer", "minimum": 3},
            "inner": {"allOf": [{"$ref": "#/components/schemas/Inner"}], "nullable": True},
            "list": {"type": "array", "items": {"$ref": "#/components/schemas/Inner"}},
        },
    }
    inner = {"at": "2024-01-01T00:00:00Z"}
    assert example_of(schema, schemas) == {
        "name": "Ada",
        "kind": "a",
        "count": 3,
        "inner": inner,
        "list": [inner],
    }
    assert example_of(schema, schemas, sparse=True) == {"name": "Ada", "kind": "a"}
    assert resolved(schema["properties"]["inner"], schemas)["nullable"] is True


def test_a_schema_inside_itself_ends() -> None:
    schemas = {"Tree": {"type": "object", "properties": {"child": {"$ref": "#/components/schemas/Tree"}}}}
    assert "child" in example_of({"$ref": "#/components/schemas/Tree"}, schemas)


# --- the page ---


def test_the_page_shows_every_operation(app: Flask, document: dict[str, Any]) -> None:
    answer = app.test_client().get("/api/docs")
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    for operation in operations(document):
        assert f'<details class="op" id="{operation.id}"' in answer.text
        assert f'<a href="#{operation.id}">' in answer.text


def test_the_page_asks_for_nothing_from_elsewhere(app: Flask) -> None:
    text = app.test_client().get("/api/docs").text
    assert re.findall(r'\b(?:src|srcset|data-src|action|poster)\s*=\s*"', text) == []
    assert set(re.findall(r'<link [^>]*href="([^"]*)"', text)) == {"data:,"}
    assert "@import" not in text
    assert "url(" not in text
    assert re.findall(r'<[^>]*\son[a-z]+\s*=\s*["\']', text) == []
    assert " style=" not in text


def test_the_policy_names_exactly_the_style_and_the_script_of_the_page(app: Flask) -> None:
    import base64
    import hashlib

    answer = app.test_client().get("/api/docs")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for tag in ("style", "script"):
        blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        assert len(blocks) == 1
        digest = base64.b64encode(hashlib.sha256(blocks[0].encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"


def test_the_page_is_made_once_and_answers_unchanged(flatrun_app: Callable[..., Flask]) -> None:
    app = flatrun_app()
    client = app.test_client()
    first = client.get("/api/docs")
    made = app.extensions["flatrun_docs_page"]
    assert client.get("/api/docs").data == first.data
    assert app.extensions["flatrun_docs_page"] is made
    assert client.get("/api/docs", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_the_page_is_packed_for_who_takes_it(flatrun_app: Callable[..., Flask]) -> None:
    client = flatrun_app().test_client()
    plain = client.get("/api/docs")
    packed = client.get("/api/docs", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert client.get("/api/docs", headers={"Accept-Encoding": "gzip;q=0"}).data == plain.data
    assert "Accept-Encoding" in plain.headers["Vary"]


class Sly:
    """A plugin whose texts try to leave their place."""

    PLUGIN = PluginInfo(slug="sly", hook_api=HOOK_API, display_name="Sly")

    @hookimpl
    def flatrun_register_blueprints(self) -> list[Blueprint]:
        blp = Blueprint("sly", __name__, url_prefix="/api/sly", description="<script>alert(1)</script>")

        @blp.route("")
        class View(MethodView):
            @public()
            @blp.doc(responses={"200": {"description": "", "content": {"text/plain": {"schema": {}}}}})
            def get(self) -> str:
                """Say `<b onclick="x">` & "quote"."""
                return ""

        return [blp]


def test_texts_of_plugins_stay_texts(flatrun_app: Callable[..., Flask]) -> None:
    text = flatrun_app(plugins=[Sly()]).test_client().get("/api/docs").text
    assert "<script>alert" not in text
    assert "<b onclick" not in text
    assert "<code>&lt;b onclick=&#34;x&#34;&gt;</code> &amp; &#34;quote&#34;." in text


def test_a_curl_line_is_a_command(flatrun_app: Callable[..., Flask]) -> None:
    import shlex

    document = flatrun_app().extensions["flatrun"].document
    by_id = {operation.id: operation for operation in operations(document)}
    assert curl_line(by_id["get_health"]) == 'curl "$FLATRUN_URL/api/health"'
    words = shlex.split(curl_line(by_id["put_settings"]))
    assert words[:3] == ["curl", "-X", "PUT"]
    assert "Authorization: Bearer $FLATRUN_API_KEY" in words
    assert words[-1] == "$FLATRUN_URL/api/settings"
