"""The HTTP side: who may do what, what bodies look like, and what the API document says of them."""

from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator

from flatrun_core import Level
from flatrun_core.ports.deployments import RECIPES, Recipe, Rendered

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"
LIST, ONE = "/api/deployments", "/api/deployments/blog"


def check(bench: Any, method: str, path: str, status: int, body: Any) -> None:
    """Hold an answer to the schema that the API document gives."""
    document = bench.app.extensions["flatrun"].document
    response = _inline(document["paths"][path][method]["responses"][str(status)], document)
    schema = response["content"]["application/json"]["schema"]
    OAS30Validator(schema).validate(body)
    _only_known(schema, body, path)


def _inline(schema: Any, document: dict[str, Any]) -> Any:
    if isinstance(schema, dict):
        if "$ref" in schema:
            found: Any = document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            return _inline(found, document)
        return {key: _inline(value, document) for key, value in schema.items()}
    return [_inline(item, document) for item in schema] if isinstance(schema, list) else schema


def _only_known(schema: dict[str, Any], body: Any, where: str) -> None:
    if isinstance(body, list):
        for item in body:
            _only_known(schema.get("items", {}), item, where + "[]")
    elif isinstance(body, dict) and "properties" in schema:
        assert set(body) <= set(schema["properties"]), f"{where}: {set(body) - set(schema['properties'])}"
        assert set(schema.get("required", ())) <= set(body), where
        for key, value in body.items():
            _only_known(schema["properties"][key], value, f"{where}.{key}")


def test_every_answer_is_what_the_document_says(bench: Any) -> None:
    check(bench, "post", LIST, 201, bench.create(auto_start=True, metadata={"networking": {"expose": True}}))
    check(bench, "get", LIST, 200, bench.client.get(LIST).get_json())
    check(bench, "get", LIST + "/{name}", 200, bench.client.get(ONE).get_json())
    for action in ("start", "stop", "restart"):
        answer = bench.client.post(f"{ONE}/{action}")
        check(bench, "post", f"{LIST}/{{name}}/{action}", 200, answer.get_json())
    (bench.root / "blog" / "service.yml").write_text("[")
    check(bench, "get", LIST + "/{name}", 200, bench.client.get(ONE).get_json())
    check(bench, "delete", LIST + "/{name}", 200, bench.client.delete(ONE).get_json())
    check(bench, "get", LIST + "/{name}", 404, bench.client.get(ONE).get_json())


def test_a_list_element_has_exactly_the_contracts_keys(bench: Any) -> None:
    bench.create(auto_start=True)
    (item,) = bench.client.get(LIST).get_json()
    assert list(item) == ["name", "path", "status", "created_at", "services"]
    assert item["path"] == str(bench.root / "blog")
    assert item["created_at"].endswith("Z")
    assert item["services"] == [{"name": "web", "status": "running", "health": "none"}]


def test_the_detail_has_exactly_the_contracts_keys(bench: Any) -> None:
    bench.create(auto_start=True)
    answer = bench.client.get(ONE).get_json()
    assert list(answer) == ["deployment", "compose_content", "compose_filename", "proxy_status"]
    assert list(answer["deployment"]) == [
        *("name", "path", "status", "created_at", "updated_at", "services", "metadata"),
    ]
    (service,) = answer["deployment"]["services"]
    assert list(service) == [
        *("name", "status", "health", "container_id", "image", "ports", "networks", "created_at"),
    ]
    assert answer["proxy_status"] is None
    assert answer["compose_filename"] == "docker-compose.yml"


def test_an_absent_service_yml_is_generated_and_not_written(bench: Any) -> None:
    bench.names()
    (bench.root / "blog").mkdir()
    (bench.root / "blog" / "compose.yml").write_text(COMPOSE)
    metadata = bench.client.get(ONE).get_json()["deployment"]["metadata"]
    assert metadata["networking"]["container_port"] == 80
    assert metadata["healthcheck"] == {"path": "/", "interval": "30s"}
    assert [path.name for path in (bench.root / "blog").iterdir()] == ["compose.yml"]


def test_backup_passwords_are_masked(bench: Any) -> None:
    bench.create(
        metadata={"backup": {"databases": [{"service": "web", "type": "mysql", "password": "hunter2"}]}}
    )
    answer = bench.client.get(ONE)
    assert "hunter2" not in answer.get_data(as_text=True)
    assert answer.get_json()["deployment"]["metadata"]["backup"]["databases"][0]["password"] == "********"


def test_infrastructure_is_not_in_the_list_but_reachable_by_name(bench: Any) -> None:
    bench.create(metadata={"type": "infrastructure"})
    assert bench.names() == []
    assert bench.client.get(ONE).status_code == 200
    assert [found.name for found in bench.deployments.list()] == ["blog"]


# --- who may ---


def test_lists_show_only_what_may_be_read(bench: Any, flatrun_login: Any) -> None:
    for name in ("one", "two"):
        bench.create(name=name)
    client = flatrun_login(bench.app, ["deployments:read"], {"two": Level.READ, "gone": Level.ADMIN})
    assert [item["name"] for item in client.get(LIST).get_json()] == ["two"]


@pytest.mark.parametrize(
    ("method", "path", "permission", "level"),
    [
        ("GET", ONE, "deployments:read", Level.READ),
        ("POST", f"{ONE}/start", "deployments:write", Level.WRITE),
        ("POST", f"{ONE}/stop", "deployments:write", Level.WRITE),
        ("POST", f"{ONE}/restart", "deployments:write", Level.WRITE),
        ("POST", f"{ONE}/restart", "deployments:restart", Level.WRITE),
        ("DELETE", ONE, "deployments:delete", Level.ADMIN),
    ],
)
def test_permission_and_level_are_both_needed_whether_or_not_it_exists(
    bench: Any, flatrun_login: Any, method: str, path: str, permission: str, level: Level
) -> None:
    others = {"deployments:read", "deployments:write", "deployments:delete"} - {permission}
    if path.endswith("/restart"):
        others -= {"deployments:write"}
    refused = flatrun_login(bench.app, others, {"blog": Level.ADMIN}).open(method, path)
    assert (refused.status_code, refused.get_json()["code"]) == (403, "PERMISSION_DENIED")
    below = {"blog": Level(level - 1)} if level > 1 else {}
    for exists in (False, True):
        if exists:
            bench.create()
        refused = flatrun_login(bench.app, [permission], below).open(method, path)
        assert refused.get_json() == {"error": "No access to this deployment", "code": "DEPLOYMENT_FORBIDDEN"}
    assert flatrun_login(bench.app, [permission], {"blog": level}).open(method, path).status_code == 200


def test_who_may_only_restart_does_nothing_else(bench: Any, flatrun_login: Any) -> None:
    bench.create()
    machine = flatrun_login(bench.app, ["deployments:restart"], {"blog": Level.ADMIN})
    assert machine.post(f"{ONE}/restart").status_code == 200
    others = (("GET", ONE), ("POST", f"{ONE}/start"), ("POST", f"{ONE}/stop"), ("DELETE", ONE), ("GET", LIST))
    assert {machine.open(method, path).status_code for method, path in others} == {403}


def test_creation_needs_its_permission(bench: Any, flatrun_login: Any) -> None:
    body = {"name": "blog", "compose": COMPOSE}
    assert flatrun_login(bench.app, ["deployments:read"]).post(LIST, json=body).status_code == 403
    assert flatrun_login(bench.app, ["deployments:write"]).post(LIST, json=body).status_code == 201


# --- bodies ---


@pytest.mark.parametrize(
    ("data", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "INVALID_BODY"),
        (b"{", "application/json", 400, "INVALID_BODY"),
        (b"[]", "application/json", 400, "INVALID_BODY"),
        (b"name=blog", "application/x-www-form-urlencoded", 400, "INVALID_BODY"),
        (b"{}", "application/json", 400, "VALIDATION_ERROR"),
        (
            b'{"name": "blog", "compose": "' + b"x" * (2 << 20) + b'"}',
            "application/json",
            413,
            "PAYLOAD_TOO_LARGE",
        ),
    ],
)
def test_bodies_that_cannot_be_used(bench: Any, data: bytes, kind: str, status: int, code: str) -> None:
    answer = bench.client.post(LIST, data=data, headers={"Content-Type": kind})
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)


def test_actions_need_no_body(bench: Any) -> None:
    bench.create()
    assert bench.client.post(f"{ONE}/start", json={"anything": 1}).status_code == 200


@pytest.mark.parametrize(
    "path", [LIST + "/", ONE + "/", "/api//deployments", f"{LIST}/a%2Fb", f"{LIST}/a/b/start"]
)
def test_other_spellings_of_an_address_are_unknown(bench: Any, path: str) -> None:
    assert bench.client.get(path).status_code == 404


@pytest.mark.parametrize("name", ["a%20b", "%2e%2e%2e", "a%0ab", "a" * 129, ".hidden", "%C3%A4"])
def test_a_name_that_is_none_is_400(bench: Any, name: str) -> None:
    answer = bench.client.get(f"{LIST}/{name}")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "INVALID_NAME")


# --- the document ---


def test_operations_document_their_errors_access_and_examples(bench: Any) -> None:
    paths = bench.app.extensions["flatrun"].document["paths"]
    create = paths[LIST]["post"]
    assert {"201", "400", "401", "403", "404", "409", "413", "500", "503"} <= set(create["responses"])
    assert create["x-permissions"] == ["deployments:write"]
    for action in ("start", "stop", "restart"):
        operation = paths[f"{LIST}/{{name}}/{action}"]["post"]
        assert {"200", "404", "409", "500", "503", "504"} <= set(operation["responses"])
        assert operation["x-level"] == "write"
    removal = paths[LIST + "/{name}"]["delete"]
    names = {parameter.get("name") for parameter in removal["parameters"]}
    assert {"remove_files", "remove_volumes", "delete_ssl", "delete_vhost", "delete_database"} <= names


# --- recipes ---

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string", "maxLength": 5}},
    "required": ["title"],
    "additionalProperties": False,
}


def render(name: str, config: Any) -> Rendered:
    return Rendered(
        compose=COMPOSE,
        files={"title.txt": config["title"]},
        env={"TITLE": config["title"]},
        metadata={"domains": [{"id": "primary", "domain": "a.example", "ssl": {"enabled": True}}]},
        credentials={"password": "generated"},
    )


@pytest.fixture
def recipes(make_bench: Any, new_neighbour: Any) -> Any:
    """Return a panel with a recipe of the plugin kitchen, and a plugin without one."""
    kitchen = new_neighbour("kitchen")
    kitchen.recipes.append(Recipe("kitchen", SCHEMA, render))
    return make_bench(kitchen, new_neighbour("bare"))


def test_a_recipe_makes_a_deployment_and_shows_its_credentials_once(recipes: Any) -> None:
    body = {"name": "blog", "config": {"title": "Hi"}, "auto_start": True}
    answer = recipes.client.post("/api/plugins/kitchen/deployments", json=body)
    assert answer.status_code == 201
    made = answer.get_json()["deployment"]
    assert made["path"] == str(recipes.root / "blog")
    assert made["credentials"] == {"password": "generated"}
    assert made["urls"] == ["https://a.example/"]
    assert len(made["containers"]) == 1
    check(recipes, "post", "/api/plugins/{name}/deployments", 201, answer.get_json())
    assert (recipes.root / "blog" / "title.txt").read_text() == "Hi"
    assert (recipes.root / "blog" / ".env.flatrun").read_text() == "TITLE=Hi\n"
    assert "generated" not in recipes.client.get(ONE).get_data(as_text=True)


@pytest.mark.parametrize(
    ("plugin", "config", "status", "code"),
    [
        ("nope", {}, 404, "PLUGIN_NOT_FOUND"),
        ("bare", {}, 400, "PLUGIN_NO_DEPLOYMENTS"),
        ("kitchen", {}, 400, "VALIDATION_ERROR"),
        ("kitchen", {"title": 5}, 400, "VALIDATION_ERROR"),
        ("kitchen", {"title": "too long"}, 400, "VALIDATION_ERROR"),
        ("kitchen", {"title": "ok", "more": 1}, 400, "VALIDATION_ERROR"),
    ],
)
def test_recipes_refuse_what_their_schema_does(
    recipes: Any, plugin: str, config: Any, status: int, code: str
) -> None:
    body = {"name": "blog", "config": config}
    answer = recipes.client.post(f"/api/plugins/{plugin}/deployments", json=body)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert recipes.tree() == {}


def test_a_recipe_for_a_name_that_is_taken_is_409(recipes: Any) -> None:
    recipes.create()
    body = {"name": "blog", "config": {"title": "Hi"}}
    answer = recipes.client.post("/api/plugins/kitchen/deployments", json=body)
    assert answer.get_json()["code"] == "DEPLOYMENT_EXISTS"


@pytest.mark.parametrize("missing", ["templates:write", "deployments:write"])
def test_recipes_need_both_permissions(recipes: Any, flatrun_login: Any, missing: str) -> None:
    held = {"templates:write", "deployments:write"} - {missing}
    body = {"name": "blog", "config": {"title": "Hi"}}
    assert (
        flatrun_login(recipes.app, held).post("/api/plugins/kitchen/deployments", json=body).status_code
        == 403
    )


def test_plugins_show_the_schema_of_their_recipe(recipes: Any) -> None:
    book = recipes.app.extensions["flatrun"].services.get(RECIPES)
    assert book.config_schema("kitchen") == SCHEMA
    assert book.config_schema("bare") is None
    shown = recipes.client.get("/api/plugins/kitchen").get_json()["plugin"]
    assert shown["config_schema"] == SCHEMA
