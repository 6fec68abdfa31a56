"""The four routes, through the client."""

from typing import Any

import pytest

from flatrun_templates.permissions import PERMISSIONS
from flatrun_templates.schemas import CategoriesAnswer, ComposeAnswer, TemplatesAnswer
from flatrun_templates.sources import built_in

ROUTES = [
    ("GET", "/api/templates"),
    ("GET", "/api/templates/categories"),
    ("POST", "/api/templates/refresh"),
    ("GET", "/api/templates/static/compose"),
]


def test_the_list_is_the_contracts(bench: Any) -> None:
    bench.write(
        "shop",
        metadata="name: Shop\npriority: 500\ncategory: basic\ncontainer_port: 80\n"
        "mounts: [{id: d, container_path: /d, user: '1:2', subdirectories: [x]}]\n"
        "files: [{path: a, content: b}]\nenv: [{key: A, generate: true}]\n",
    )
    answer = bench.client.get("/api/templates")
    assert answer.status_code == 200
    assert TemplatesAnswer().validate(answer.get_json()) == {}
    assert answer.get_json()["templates"][0] == {
        "id": "shop",
        "name": "Shop",
        "description": "",
        "icon": "pi pi-box",
        "logo": "",
        "category": "basic",
        "priority": 500,
        "container_port": 80,
        "mounts": [
            {"id": "d", "name": "D", "container_path": "/d", "description": "", "type": "volume",
             "required": False, "user": "1:2", "subdirectories": ["x"]}
        ],
        "files": [{"path": "a", "content": "b"}],
        "content": "name: ${NAME}\nservices:\n  web:\n    image: busybox\n",
    }  # fmt: skip


def test_categories_count_and_include_empty_ones(bench: Any) -> None:
    bench.write("game", metadata="category: games\n")
    bench.write("plain")
    answer = bench.client.get("/api/templates/categories").get_json()
    assert CategoriesAnswer().validate(answer) == {}
    counts = {one["id"]: one["count"] for one in answer["categories"]}
    assert counts == {
        "application": 3, "framework": 3, "runtime": 2, "infrastructure": 2, "database": 3, "basic": 1,
        "games": 1, "general": 1,
    }  # fmt: skip
    assert list(counts)[:6] == ["application", "framework", "runtime", "infrastructure", "database", "basic"]
    assert sum(counts.values()) == len(built_in()) + 2


def test_refresh_answers_what_is_there_now(bench: Any) -> None:
    answer = bench.client.post("/api/templates/refresh")
    assert answer.status_code == 200
    assert answer.get_json() == {"message": "Templates refreshed", "count": 14}


def test_compose_fills_name_and_networks_and_leaves_the_rest(networked: Any) -> None:
    bench = networked("front", "sql")
    bench.write(
        "mine",
        "name: ${NAME}\nservices: {web: {image: busybox, networks: [proxy], ports: ['${PORT}:80']}}\n"
        "networks: {proxy: {external: true}}\n"
        "x-a: ['${DOMAIN}', '${PROXY_NETWORK}', '${DATABASE_NETWORK}', '${TZ}']\n",
    )
    answer = bench.client.get("/api/templates/mine/compose?name=blog").get_json()
    assert ComposeAnswer().validate(answer) == {}
    assert answer == {
        "template_id": "mine",
        "name": "blog",
        "content": "name: blog\nservices: {web: {image: busybox, networks: [front], ports: ['${PORT}:80']}}\n"
        "networks: {front: {external: true}}\nx-a: ['${DOMAIN}', 'front', 'sql', '${TZ}']\n",
    }


def test_the_name_is_my_app_unless_it_is_given(bench: Any) -> None:
    answer = bench.client.get("/api/templates/wordpress/compose").get_json()
    assert answer["name"] == "my-app"
    assert "name: my-app\n" in answer["content"]


@pytest.mark.parametrize("name", ["", "A", "a%0Ab", "..", "a/b", "-a", "a" * 64, "a%00", "%C3%A4", "a%20b"])
def test_a_bad_name_is_400(bench: Any, name: str) -> None:
    answer = bench.client.get(f"/api/templates/static/compose?name={name}")
    assert (answer.status_code, answer.get_json()["code"]) in [
        (400, "INVALID_NAME"),
        (400, "VALIDATION_ERROR"),
    ]


@pytest.mark.parametrize("template_id", ["nope", "Static", "..", "a.b", "x" * 300, "infra_mysql"])
def test_an_unknown_template_is_404(bench: Any, template_id: str) -> None:
    answer = bench.client.get(f"/api/templates/{template_id}/compose")
    assert answer.status_code == 404
    assert set(answer.get_json()) >= {"error", "code"}


def test_unknown_templates_have_their_code_and_a_bad_name_comes_first(bench: Any) -> None:
    assert bench.client.get("/api/templates/nope/compose").get_json()["code"] == "TEMPLATE_NOT_FOUND"
    assert bench.client.get("/api/templates/nope/compose?name=A").status_code == 400


def test_compose_text_that_is_no_yaml_is_shown_with_what_can_be_filled(bench: Any) -> None:
    bench.write("mine", "name: ${NAME}\nservices: [\n")
    assert (
        bench.client.get("/api/templates/mine/compose").get_json()["content"] == "name: my-app\nservices: [\n"
    )


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_each_route_wants_its_permission(bench: Any, flatrun_login: Any, method: str, path: str) -> None:
    own = "templates:write" if method == "POST" else "templates:read"
    other = "templates:read" if method == "POST" else "templates:write"
    assert flatrun_login(bench.app, [own]).open(method, path).status_code == 200
    assert flatrun_login(bench.app, [other]).open(method, path).status_code == 403


def test_who_holds_the_permissions(bench: Any) -> None:
    assert {one.name: tuple(one.roles) for one in PERMISSIONS} == {
        "templates:read": ("operator", "viewer"),
        "templates:write": (),
    }


def test_the_refresh_is_recorded_by_its_name(bench: Any) -> None:
    accesses = bench.app.extensions["flatrun"].accesses
    _, access = accesses["/api/templates/refresh", "post"]
    assert (access.action, access.resource) == ("templates.refresh", "template")
